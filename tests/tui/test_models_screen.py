"""The model screen driven by keys, with the real engine, a real store and a Hub on the loopback."""

import asyncio
import os
import re
import shutil

import psutil
import pytest
from loopback import hub, serving
from support.resting import at_rest
from test_console_screen import ready, texts, until
from textual.command import CommandPalette
from textual.widgets import DataTable, Input, Select
from tiny_phi3 import make_tiny_phi3

from phitui.config.layers import load_config, user_config_file
from phitui.tui.app.app import PhituiApp
from phitui.tui.screens.models import ModelsScreen
from phitui.tui.widgets.dialogs import Confirm, PullDialog
from phitui.tui.widgets.model_facts import ModelFacts
from phitui.workbench.chat.chat import State

STORY = "Tell me a very long story about a lighthouse."


def console(model="tiny-phi3"):
    settings = {"model": {"name": model}, "engine": {"threads": 1}, "generation": {"max_tokens": 400}}
    return PhituiApp(load_config(overrides=settings))


@pytest.fixture
def store(home, tiny_folder):
    """The store with the two whole models, one whose weights are cut and one whose weights are nonsense."""
    models = home / "models"
    for name in ("cut", "nonsense"):
        shutil.copytree(tiny_folder, models / name)
    os.truncate(models / "cut" / "model.bin", 1000)
    weights = models / "nonsense" / "model.bin"
    weights.write_bytes(bytes(weights.stat().st_size))
    return models


async def opened(pilot):
    """The model screen, its rows read."""
    await pilot.press("f2")
    await until(pilot, lambda: isinstance(pilot.app.screen, ModelsScreen) and table(pilot).row_count > 3)
    return pilot.app.screen


async def loaded(pilot, name):
    await until(
        pilot,
        lambda: pilot.app.workbench.engine.loaded is not None and pilot.app.workbench.engine.folder.endswith(name),
    )
    await until(pilot, lambda: any(row.loaded and row.name == name for row in pilot.app.workbench.models.rows))


def table(pilot):
    return pilot.app.screen.query_one(DataTable)


def rows(pilot):
    found = [table(pilot).get_row_at(i) for i in range(table(pilot).row_count)]
    return {str(row[0]).strip("● "): [str(cell) for cell in row] for row in found}


async def choose(pilot, name):
    place = next(i for i, row in enumerate(pilot.app.workbench.models.rows) if row.name == name)
    table(pilot).move_cursor(row=place)
    await at_rest(pilot)


def about(pilot):
    """The lines about the chosen model, their words."""
    return " ".join(str(pilot.app.screen.query_one(ModelFacts).render()).split()).replace("- ", "-")


def said(pilot):
    return texts(pilot.app, "#said")[0]


def notes(app):
    return [str(note.content) for note in app.console_screen.query(".note")]


def workers():
    """The engine processes that hold or load a model."""
    running = []
    for child in psutil.Process().children():
        try:
            if "phitui.engine.worker.worker" in " ".join(child.cmdline()):
                running.append(child.pid)
        except psutil.Error:
            continue
    return running


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
async def test_what_is_here_and_what_is_not(store, size):
    app = console()
    async with app.run_test(size=size) as pilot:
        await loaded(pilot, "tiny-phi3")
        await opened(pilot)
        shown = rows(pilot)
        assert shown["tiny-phi3"] == ["● tiny-phi3", "Tiny Phi-3", "0.5 MB", "float32", "4,096"]
        assert shown["smollm2-135m"][2:] == ["0.14 GB", "int8", "8,192"]
        assert shown["phi-3-mini"][2:] == ["~7.64 GB", "not downloaded", "–"]
        assert shown["cut"][2:] == ["–", "damaged", "–"]
        assert "phi3, 2 layers Width 64, feed-forward 96" in about(pilot)  # the cursor begins on the loaded one
        assert "4 of 16, 2 for KV" in about(pilot)
        assert "<|endoftext|> <|end|>" in about(pilot)
        await choose(pilot, "cut")
        assert "1000 bytes" in about(pilot)
        assert "p pulls it again, d removes it" in about(pilot)
        await choose(pilot, "phi-4-mini")
        assert "microsoft/Phi-4-mini-instruct" in about(pilot)
        assert "Fits yes: " in about(pilot) or "Fits no" in about(pilot)  # this machine's memory
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PullDialog))
        assert app.screen.query_one("#wanted", Input).value == "phi-4-mini"
        assert any("about 7.67 GB" in line for line in texts(app, "#box Static"))
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.screen is app.console_screen)


async def test_a_switch_restarts_the_engine_keeps_the_chat_and_is_kept(store):
    app = console()
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, "tiny-phi3")
        first = app.console_screen.chat.submit("hello")
        await until(pilot, lambda: first.state.over)
        await opened(pilot)
        await choose(pilot, "smollm2-135m")
        old = workers()
        await pilot.press("enter")
        most = 0
        while not (app.workbench.engine.loaded and app.workbench.engine.loaded.name == "smollm2-135m"):
            most = max(most, len(workers()))
            await pilot.pause(0.005)
        assert most == 1 == len(old)
        assert workers() != old
        assert app.screen is app.console_screen
        await until(pilot, lambda: any("Later starts" in note for note in notes(app)))
        assert any(note.startswith("From here on another model answers. SmolLM2") for note in notes(app))
        assert texts(app, "#context")[0].startswith("context – of 8,192")
        assert len(texts(app, ".asked")) == 1
        assert load_config().model.name == "smollm2-135m"
        second = app.console_screen.chat.submit("What is the capital of France?")
        assert "hello" in [turn.content for turn in app.console_screen.chat.turns("x")]
        await until(pilot, lambda: second.state.over)
        assert second.usage.prompt_tokens > first.usage.prompt_tokens


async def test_a_switch_in_mid_answer_is_asked_for_and_queued_prompts_go_to_the_other_model(store):
    app = console("smollm2-135m")
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot, "smollm2-135m")
        chat = app.console_screen.chat
        first, second = chat.submit(STORY), chat.submit("hello")
        await until(pilot, lambda: first.tokens >= 5)
        await opened(pilot)
        await choose(pilot, "tiny-phi3")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen))
        assert first.state is State.ANSWERING and app.workbench.engine.loaded.name == "smollm2-135m"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await loaded(pilot, "tiny-phi3")
        assert (first.state, first.reason) == (State.DONE, "cancelled")
        assert first.text and first.usage.completion_tokens >= 5
        await until(pilot, lambda: second.state.over)
        assert second.state is State.DONE


async def test_a_model_that_cannot_be_loaded_leaves_the_one_before(store):
    app = console()
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, "tiny-phi3")
        queued = None
        await opened(pilot)
        await choose(pilot, "nonsense")
        await pilot.press("enter")
        queued = app.console_screen.chat.submit("given meanwhile")
        await until(pilot, lambda: any("Going back to tiny-phi3" in note for note in notes(app)))
        await until(pilot, lambda: queued.state.over)
        assert queued.state is State.DONE
        assert app.workbench.engine.folder.endswith("tiny-phi3")
        assert any(re.match(r"nonsense cannot be used: cannot load .*\w\. Going back", note) for note in notes(app))
        assert any(note.startswith("The engine is back") for note in notes(app))
        assert not user_config_file().exists()
        assert len(workers()) == 1


async def test_with_no_engine_a_switch_brings_one(store):
    app = console("phi-3-mini")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: texts(app, "#model") == ["no engine"])
        await opened(pilot)
        await choose(pilot, "nonsense")
        await pilot.press("enter")
        await until(pilot, lambda: any("cannot load" in note for note in notes(app)))
        assert texts(app, "#model") == ["no engine"]
        await opened(pilot)
        assert not any(cells[0].startswith("●") for cells in rows(pilot).values())
        await choose(pilot, "tiny-phi3")
        await pilot.press("enter")
        await loaded(pilot, "tiny-phi3")
        exchange = app.console_screen.chat.submit("hello")
        await until(pilot, lambda: exchange.state.over)
        assert exchange.state is State.DONE


async def test_the_last_of_hasty_wishes_holds_and_there_is_one_engine(store):
    app = console()
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: app.workbench.models.rows)
        models = {row.name: row for row in app.workbench.models.rows}
        for name in ("smollm2-135m", "nonsense", "tiny-phi3", "smollm2-135m"):
            app.workbench.models.switch(models[name])
            await asyncio.sleep(0.1)
            assert len(workers()) <= 1
        await loaded(pilot, "smollm2-135m")
        await until(pilot, lambda: not app.workbench.switching.busy)
        await at_rest(pilot)
        assert app.workbench.engine.loaded.name == "smollm2-135m"
        assert len(workers()) == 1


def hub_settings(monkeypatch, url, tmp_path):
    for name, value in {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}.items():
        monkeypatch.setenv(name, value)


async def pull(pilot, name):
    await pilot.press("p")
    await until(pilot, lambda: isinstance(pilot.app.screen, PullDialog))
    pilot.app.screen.query_one("#wanted", Input).value = name
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, ModelsScreen))


async def test_a_pull_goes_on_beside_the_chat_and_its_model_can_be_switched_to(store, tmp_path, monkeypatch):
    make_tiny_phi3(tmp_path / "hub", shards=2)
    app = console()
    with serving(hub("someone/other", tmp_path / "hub")) as url:
        hub_settings(monkeypatch, url, tmp_path)
        async with app.run_test(size=(120, 40)) as pilot:
            await loaded(pilot, "tiny-phi3")
            screen = await opened(pilot)
            await pull(pilot, "someone/other")
            await until(pilot, lambda: screen.query_one("ProgressLine").display)
            await pilot.press("v")
            assert said(pilot) == "other is being worked on. Wait for it, or stop it first."
            await pilot.press("escape")
            await at_rest(pilot)
            assert texts(app, "ProgressLine Static")[0]
            exchange = app.console_screen.chat.submit("hello")
            await until(pilot, lambda: exchange.state.over)
            await until(pilot, lambda: "other is ready." in notes(app))
            await until(pilot, lambda: not app.screen.query_one("ProgressLine").display)
            await opened(pilot)
            await until(pilot, lambda: "other" in rows(pilot))
            assert rows(pilot)["other"][3] == "int8"
            await choose(pilot, "other")
            assert "mit" in about(pilot) and "someone/other at 0123456789ab" in about(pilot)
            await pilot.press("enter")
            await loaded(pilot, "other")


async def test_a_pull_at_another_precision_for_another_context(store, tmp_path, monkeypatch):
    make_tiny_phi3(tmp_path / "hub")
    app = console()
    with serving(hub("someone/other", tmp_path / "hub")) as url:
        hub_settings(monkeypatch, url, tmp_path)
        async with app.run_test(size=(80, 24)) as pilot:
            await loaded(pilot, "tiny-phi3")
            await opened(pilot)
            await pilot.press("p")
            await until(pilot, lambda: isinstance(pilot.app.screen, PullDialog))
            dialog = pilot.app.screen
            dialog.query_one("#wanted", Input).value = "someone/other"
            dialog.query_one("#precision", Select).value = "float32"
            dialog.query_one("#context", Input).value = "7"
            await pilot.press("enter")
            await at_rest(pilot)
            assert pilot.app.screen is dialog
            assert [notice.message for notice in app._notifications] == [
                "A context window has 16 to 2147483647 tokens."
            ]
            dialog.query_one("#context", Input).value = "1000"
            await pilot.press("enter")
            await until(pilot, lambda: "other" in rows(pilot) and rows(pilot)["other"][3] == "float32")
            assert rows(pilot)["other"][4] == "1,000"


async def test_a_pull_that_is_stopped_keeps_its_part_for_the_next(store, tmp_path, monkeypatch):
    files = make_tiny_phi3(tmp_path / "hub", shards=2)
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot, "tiny-phi3")
        await opened(pilot)
        with serving(hub("someone/other", files, cut_at=300_000)) as url:
            hub_settings(monkeypatch, url, tmp_path)
            await pull(pilot, "someone/other")
            await until(pilot, lambda: any(p.stat().st_size >= 1 << 18 for p in store.rglob("*.part")))
            await pilot.press("c")
            await until(pilot, lambda: not app.workbench.models.work.busy)
        assert said(pilot) == "The pull of other was stopped; p goes on with it."
        await until(pilot, lambda: "other" in rows(pilot))
        await choose(pilot, "other")
        assert "downloaded before the pull was stopped" in about(pilot)
        handler = hub("someone/other", files)
        with serving(handler) as url:
            hub_settings(monkeypatch, url, tmp_path)
            await pull(pilot, "someone/other")
            await until(pilot, lambda: said(pilot) == "other is ready.")
        assert f"bytes={1 << 18}-" in [byte_range for _, byte_range, _ in handler.asked]


@pytest.mark.parametrize(
    ("status", "code", "says"), [(404, "RepoNotFound", "has no model"), (403, "GatedRepo", "terms")]
)
async def test_a_pull_that_is_refused_is_one_line(store, tmp_path, monkeypatch, status, code, says):
    app = console()
    with serving(hub("someone/other", tmp_path, status, code)) as url:
        hub_settings(monkeypatch, url, tmp_path)
        async with app.run_test(size=(120, 40)) as pilot:
            await loaded(pilot, "tiny-phi3")
            await opened(pilot)
            await pull(pilot, "someone/other")
            await until(pilot, lambda: not app.workbench.models.work.busy)
            assert "someone/other" in said(pilot) and says in said(pilot)
            assert "bad" in app.screen.query_one("#said").classes
            await pull(pilot, "no name at all")
            await until(pilot, lambda: "organisation/model" in said(pilot))


async def test_verify_and_remove(store, tiny_folder):
    shutil.copytree(tiny_folder, store / "spare")
    app = console()
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, "tiny-phi3")
        await opened(pilot)
        await choose(pilot, "spare")
        await pilot.press("v")
        await until(pilot, lambda: said(pilot) == "spare: 4 files, complete and unchanged.")
        await choose(pilot, "nonsense")
        await pilot.press("v")
        await until(pilot, lambda: "its hash differs" in said(pilot))
        await choose(pilot, "tiny-phi3")
        await pilot.press("d")
        assert said(pilot) == "tiny-phi3 is loaded. Switch to another model first."
        await choose(pilot, "spare")
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("escape")
        await at_rest(pilot)
        assert (store / "spare").exists()
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("enter")
        await at_rest(pilot)
        assert isinstance(app.screen, Confirm)  # Enter may have been meant for something else
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen) and "spare" not in rows(pilot))
        assert said(pilot) == "spare has been removed."
        assert not (store / "spare").exists()


async def test_other_peoples_names_and_titles_are_shown_as_they_stand(store):
    evil = store / "x[b]\x1b[31mred"
    shutil.copytree(store / "nonsense", evil)
    manifest = evil / "phitui.json"
    manifest.write_text(manifest.read_text().replace("Tiny Phi-3", "T\\u001b]0;owned\\u0007[red]itle[/]"))
    app = console()
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, "tiny-phi3")
        await opened(pilot)
        assert rows(pilot)["x[b]red"][1] == "T[red]itle[/]"
        await choose(pilot, evil.name)
        assert about(pilot).startswith("T[red]itle[/] ")
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert "Switch to model: smollm2-135m" in titles
        assert not any("x[b]" in title or "tiny-phi3" in title for title in titles)


async def test_the_palette_opens_the_screen_and_switches_by_name(store):
    async def command(words):
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        app.screen.query_one(Input).value = words
        await until(pilot, lambda: words in str(app.screen.query_one("CommandList").highlighted_option))
        await pilot.press("enter")

    app = console()
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, "tiny-phi3")
        app.console_screen.chat.submit(STORY)
        await until(pilot, lambda: app.console_screen.chat.exchanges[0].state.over)
        await command("Switch to model: smollm2-135m")
        await loaded(pilot, "smollm2-135m")
        await command("Model at the start: automatic")
        await until(pilot, lambda: load_config().model.name == "auto")
        await command("Models")
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen))


async def test_a_restarted_engine_is_told_shortly(store):
    app = console()
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, "tiny-phi3")
        before = len(notes(app))
        psutil.Process(app.workbench.engine.pid).kill()
        await until(pilot, lambda: any(note.startswith("The engine is back") for note in notes(app)))
        assert len(notes(app)) == before + 2  # that it died, and that it is back


async def test_parking_shows_beside_the_gauges(store):
    app = console()
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, "tiny-phi3")
        await pilot.press("f8")
        await until(pilot, lambda: texts(app, "#parked") == ["Model parked (disk)"])
        assert "Model parked (disk)" in texts(app, "GaugeLine")[0]
        exchange = app.console_screen.chat.submit("hello")
        await until(pilot, lambda: exchange.state.over)
        await until(pilot, lambda: texts(app, "#parked") == [""])
        await until(pilot, lambda: "parked" not in texts(app, "GaugeLine")[0])
