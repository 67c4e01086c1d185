"""Pictures of the console at the sizes that must work, in a dark and a light theme."""

import time

import frozen_models
import pytest
from frozen_console import ANSWER, WITH_CARD, WITHOUT_CARD, FrozenConsole
from pictured import each_look, each_size
from support.resting import at_rest, painted_first
from support.waiting import until_shown as until

from phitui.hardware.host.copy_rate import MemoryRate
from phitui.storage.sessions.session_types import KeptTurn
from phitui.storage.sessions.sessions import SessionStore


async def settle(pilot):
    await painted_first(pilot)
    await at_rest(pilot)  # one tick of the transcript, and the Markdown after it
    await pilot.wait_for_scheduled_animations()


@each_look
def test_answer_with_markdown_beside_the_gauges(snap_compare, size, theme):
    async def fill(pilot):
        await painted_first(pilot)
        pilot.app.load()
        pilot.app.answer("What is a KV cache?", ANSWER)
        await settle(pilot)

    assert snap_compare(FrozenConsole(theme, WITH_CARD), run_before=fill, terminal_size=size)


@each_look
def test_an_empty_chat(snap_compare, size, theme):
    async def fill(pilot):
        await painted_first(pilot)
        pilot.app.load(title="SmolLM2 135M Instruct", name="smollm2-135m")
        await settle(pilot)

    assert snap_compare(FrozenConsole(theme, WITH_CARD), run_before=fill, terminal_size=size)


def test_two_hundred_columns(snap_compare):
    async def fill(pilot):
        await painted_first(pilot)
        pilot.app.load()
        pilot.app.answer("What is a KV cache?", ANSWER)
        await settle(pilot)

    assert snap_compare(FrozenConsole(snapshot=WITH_CARD), run_before=fill, terminal_size=(200, 50))


@pytest.mark.parametrize("theme", ["phitui-dark", "terminal"])
@each_size
def test_gauges_while_it_decodes(snap_compare, size, theme):
    async def fill(pilot):
        await painted_first(pilot)
        pilot.app.load()
        pilot.app.begin("Tell me a story", "Once upon a time")
        pilot.app.decode(steps=168, context_tokens=40.0)
        await settle(pilot)

    assert snap_compare(FrozenConsole(theme, WITH_CARD), run_before=fill, terminal_size=size)


def test_gauges_of_a_cpu_while_it_decodes(snap_compare):
    async def fill(pilot):
        await painted_first(pilot)
        pilot.app.load(device="cpu", threads=2, compute_type="int8_float32")
        pilot.app.workbench.telemetry.performance.memory_rate = MemoryRate(24.5, 20.0)
        pilot.app.begin("Tell me a story", "Once upon a time")
        pilot.app.decode(steps=4, context_tokens=40.0)
        await settle(pilot)

    assert snap_compare(FrozenConsole(snapshot=WITHOUT_CARD), run_before=fill, terminal_size=(120, 40))


@each_size
def test_without_a_card_the_host_is_shown_and_the_reason(snap_compare, size):
    async def fill(pilot):
        await painted_first(pilot)
        pilot.app.load()
        pilot.app.begin("Stream, please", "words as they come, [bold]not markup[/bold], **not yet Markdown**")
        await settle(pilot)

    assert snap_compare(FrozenConsole(snapshot=WITHOUT_CARD), run_before=fill, terminal_size=size)


def test_an_engine_that_died(snap_compare):
    async def fill(pilot):
        await painted_first(pilot)
        pilot.app.load()
        pilot.app.begin("Tell me a story", "Once upon a time")
        pilot.app.die()
        await settle(pilot)

    assert snap_compare(FrozenConsole(), run_before=fill, terminal_size=(80, 24))


def test_a_terminal_that_is_too_small(snap_compare):
    assert snap_compare(FrozenConsole(), run_before=settle, terminal_size=(20, 5))


@each_look
def test_the_model_screen_with_a_pull_on_its_way(snap_compare, size, theme):
    async def fill(pilot):
        await painted_first(pilot)
        pilot.app.load()
        frozen_models.fill(pilot.app, frozen_models.PULLING)
        await pilot.press("f2")
        await at_rest(pilot)

    assert snap_compare(FrozenConsole(theme), run_before=fill, terminal_size=size)


@each_size
def test_a_damaged_model_and_the_question_what_to_pull(snap_compare, size):
    async def fill(pilot):
        await painted_first(pilot)
        pilot.app.load()
        frozen_models.fill(pilot.app)
        await pilot.press("f2", "down", "enter")
        if size == (80, 24):
            await pilot.press("p")
        await at_rest(pilot)

    assert snap_compare(FrozenConsole(), run_before=fill, terminal_size=size)


@each_look
@pytest.mark.parametrize("wanted", ["", "cache"], ids=["all", "found"])
def test_the_sessions_and_a_search(snap_compare, tmp_path, monkeypatch, size, wanted, theme):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    store = SessionStore(tmp_path / "home" / "sessions.db")
    for number, title in enumerate(("Rivers of Africa", "What is a KV cache?", "A story about a lighthouse keeper")):
        turns = [
            KeptTurn(id=-1, prompt=title, text=ANSWER, model="phi-3-mini", reason="stop"),
            KeptTurn(
                id=-2, parent=-1, prompt="And in one line?", text=f"The cache, said {number} times.", model="phi-3-mini"
            ),
        ]
        store.insert(title, "", 1.7e9, turns, -2)
    store._connection.execute("UPDATE session SET changed = 1.5e9 + 90000 * id")
    store.close()

    async def fill(pilot):
        await painted_first(pilot)
        pilot.app.sessions.start()
        await at_rest(pilot)
        await pilot.press("f6")
        app = pilot.app
        await until(pilot, lambda: app.screen.query("DataTable") and app.screen.query_one("DataTable").row_count == 3)
        if wanted:
            await pilot.press("slash", *wanted)
        await at_rest(pilot)

    assert snap_compare(FrozenConsole(theme), run_before=fill, terminal_size=size)


@each_look
def test_a_marked_exchange_with_siblings_and_an_edit(snap_compare, size, theme):
    async def fill(pilot):
        await painted_first(pilot)
        pilot.app.load()
        pilot.app.answer("What is a KV cache?", "Keys and values that attention needs again.")
        pilot.app.console_screen.chat.instead(pilot.app.console_screen.chat.roots[0], "What is a KV cache, in short?")
        pilot.app.console_screen.chat.show_path(pilot.app.console_screen.chat.roots[0])
        pilot.app.console_screen.show_chat()
        await settle(pilot)
        await pilot.press("shift+tab", "e")
        await at_rest(pilot)
        await pilot.press("shift+tab")
        await settle(pilot)

    assert snap_compare(FrozenConsole(theme), run_before=fill, terminal_size=size)
