"""The tuner screen driven by keys, with the real engine on the tiny model."""

import asyncio
import csv
import re
from xml.etree import ElementTree

import pytest
from frozen_tuner import FrozenTuner, run_state_of
from test_console_screen import ready, texts, until
from test_models_screen import workers
from textual.command import CommandPalette
from textual.widgets import Input

from phitui.config.layers import load_config, user_config_file
from phitui.tui.app.app import PhituiApp
from phitui.tui.screens.monitor import MonitorScreen
from phitui.tui.screens.tuner import TunerScreen
from phitui.tui.widgets.dialogs import Ask, Confirm
from phitui.tui.widgets.tuning_form import CheckBox, TuningForm
from phitui.workbench.chat.chat import State
from phitui.workbench.lease import Use


def console(model="tiny-phi3"):
    settings = {"model": {"name": model}, "engine": {"threads": 1, "device": "cpu"}}
    return PhituiApp(load_config(overrides={**settings, "generation": {"max_tokens": 400}}))


def picture(app):
    return app.tuning.screen.canvas.text()


def notes(app):
    return [str(note.content) for note in app.console_screen.query(".note")]


async def opened(pilot):
    """The tuner screen over a console whose engine is there."""
    await until(pilot, lambda: pilot.app.workbench.engine.loaded is not None and pilot.app.workbench.models.rows)
    await until(pilot, lambda: not pilot.app.workbench.switching.busy)
    await pilot.press("f3")
    await until(pilot, lambda: isinstance(pilot.app.screen, TunerScreen))


async def form(pilot, **texts):
    """Open the form and fill fields."""
    await pilot.press("s")
    await until(pilot, lambda: isinstance(pilot.app.screen, TuningForm))
    for key, text in {"prompt": "120", "answer": "16", "limit": "200MB", "start": "4", **texts}.items():
        pilot.app.screen.query_one(f"#{key}", Input).value = text
    pilot.app.screen.query_one(CheckBox).value = False


async def begun(pilot, **texts):
    await form(pilot, **texts)
    await pilot.press("enter")
    await until(
        pilot, lambda: pilot.app.workbench.tuner.run_state is not None and pilot.app.workbench.tuner.run_state.running
    )


async def back(pilot):
    await until(pilot, lambda: not pilot.app.workbench.tuner.busy and pilot.app.workbench.engine.loaded is not None, 60)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
async def test_from_the_form_to_the_answer_and_its_application(home, size):
    app = console()
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        assert "no tuning has been kept yet" in picture(app)
        assert "Nothing has been tuned for this model yet." in picture(app)
        await begun(pilot, answer="200")  # long enough for a probe to be seen
        await until(pilot, lambda: re.search(r"Probe \d+: \d+ rows? × [\s\S]* runs", picture(app)))
        run_state = app.workbench.tuner.run_state
        await until(pilot, lambda: run_state.state == "done", 60)
        await back(pilot)
        answer = run_state.result.answer
        assert f"Use batch {answer.b_best}" in picture(app)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert f"engine.batch = {answer.b_best}" in texts(app, "#question")[0]
        await pilot.press("y")
        await until(pilot, lambda: "Written." in picture(app))
        await back(pilot)
        assert load_config().engine.batch == answer.b_best
        await pilot.press("e")
        await until(pilot, lambda: "tiny-phi3" in picture(app) and "valid" in picture(app))
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: "no tuning has been kept yet" in picture(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.console_screen)
        assert any(note.startswith(f"Tuned. Use batch {answer.b_best}") for note in notes(app))
        assert texts(app, "#model")[0].startswith("Tiny Phi-3")
        assert len(workers()) == 1


async def test_it_goes_on_behind_the_chat_which_takes_no_prompt(home):
    app = console()
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await begun(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.console_screen)
        await until(pilot, lambda: texts(app, "#model")[0].startswith("tuning: "))
        assert texts(app, "#model")[0].endswith("F3 shows it")
        await pilot.press(*"hello", "enter")
        await until(pilot, lambda: app._notifications)
        said = [notice.message for notice in app._notifications]
        assert said == ["a tuning is under way: the chat has no engine. Wait for it, or cancel it (F3, then c)."]
        assert app.console_screen.query_one("#prompt").text == "hello"
        assert app.workbench.computing_pid() == app.workbench.tuner.pid is not None
        await pilot.press("f8")
        await until(pilot, lambda: len(app._notifications) == 2)
        assert [note.message for note in app._notifications][1].startswith("a tuning is under way: the model cannot be")
        await pilot.press("f3")
        await until(pilot, lambda: isinstance(app.screen, TunerScreen))
        await pilot.press("c")
        await back(pilot)
        assert "The tuning was cancelled." in picture(app) and "The tuning was cancelled." in notes(app)
        assert app.workbench.computing_pid() == app.workbench.engine.pid
        await pilot.press("escape", "enter")
        await until(
            pilot, lambda: app.console_screen.chat.exchanges and app.console_screen.chat.exchanges[0].state.over
        )
        assert app.console_screen.chat.exchanges[0].state is State.DONE
        assert len(workers()) == 1


async def test_an_answer_on_its_way_is_warned_of(home):
    app = console("smollm2-135m")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.workbench.engine.loaded is not None)
        await until(pilot, lambda: not app.workbench.switching.busy)
        answer = app.console_screen.chat.submit("Tell me a very long story about a lighthouse.")
        await until(pilot, lambda: answer.tokens > 3)
        await pilot.press("f3", "s")
        await until(pilot, lambda: isinstance(app.screen, TuningForm))
        assert "An answer is being made: it stops" in texts(app, "#warning")[0]
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, TunerScreen))
        assert answer.state is State.ANSWERING and app.workbench.tuner.run_state is None
        app.console_screen.chat.cancel()


async def test_pause_holds_before_the_next_probe(home):
    app = console()
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await pilot.press("space")
        assert "nothing to pause" in picture(app)
        await begun(pilot, answer="200")
        await pilot.press("space")
        await until(pilot, lambda: " paused " in picture(app))
        assert "Space Go on" in picture(app)
        held = len(app.workbench.tuner.run_state.probes)
        await pilot.pause(0.5)
        assert len(app.workbench.tuner.run_state.probes) == held
        await pilot.press("space")
        await until(pilot, lambda: len(app.workbench.tuner.run_state.probes) > held)
        app.workbench.tuner.cancel()
        await back(pilot)


async def test_while_it_runs_no_model_is_switched_or_removed(home):
    app = console()
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await begun(pilot)
        rows = {row.name: row for row in app.workbench.models.rows}
        for deed in (app.workbench.models.check_switch, app.workbench.models.check_removal):
            with pytest.raises(Exception, match="a tuning is under way"):
                deed(rows["smollm2-135m"])
        for deed in (
            lambda: app.workbench.models.pull("phi3-mini"),
            lambda: app.workbench.models.verify(rows["smollm2-135m"]),
        ):
            with pytest.raises(Exception, match="a tuning is under way"):
                deed()
        await pilot.press("s")
        assert "a tuning is under way already. c cancels it." in picture(app)
        await pilot.press("f4")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, TunerScreen))
        app.workbench.tuner.cancel()
        await back(pilot)
        app.workbench.models.check_switch(rows["smollm2-135m"])


async def test_leaving_the_console_ends_the_tuning(home):
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await begun(pilot)
        await pilot.press("ctrl+q")
    await asyncio.sleep(0.1)
    assert workers() == []
    assert not user_config_file().exists()


@pytest.mark.parametrize(
    ("field", "text", "says"),
    [
        ("prompt", "0", "Prompt tokens: a number from 1"),
        ("answer", "many", "Answer tokens: a number from 1"),
        ("answer", "4095", "are above the context window, 4,096"),
        ("limit", "much", "Memory limit: a share from 0.01 to 1"),
        ("limit", "", "Memory limit: a share"),
        ("latency", "nan", "Latency limit: milliseconds above 0"),
        ("latency", "-3", "Latency limit: milliseconds above 0"),
        ("start", "1e3", "Start batch: a number from 1"),
        ("start", "٣", "Start batch: a number from 1"),
    ],
)
async def test_what_is_wrong_is_said_in_the_form(field, text, says):
    app = FrozenTuner(None)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await form(pilot, **{field: text})
        await pilot.press("enter")
        await until(pilot, lambda: texts(app, "#wrong") != [""])
        assert says in texts(app, "#wrong")[0]
        assert app.focused.id == field
        assert app.workbench.tuner.run_state is None


async def test_fast_keys_fill_the_fields_they_are_meant_for():
    app = FrozenTuner(None)
    begun = []
    app.workbench.tuner.start = lambda wish, title: begun.append(wish)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, TuningForm))
        await pilot.press("1", "2", "8", "tab", "6", "4", "down", "1", "g", "b", "tab", "5", "0", "tab", "up", "enter")
        await until(pilot, lambda: begun)
        goal = begun[0].goal
        assert (goal.prompt_tokens, goal.new_tokens, goal.slo_itl_s, goal.start) == (128, 64, 0.05, 26)
        assert begun[0].limit.of(10**12) == 10**9
        assert begun[0].vary_compute_type


async def test_the_table_is_scrolled_and_the_charts_are_switched():
    app = FrozenTuner(run_state_of())
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        assert "Decode tok/s" in app.text and "─ Probes" in app.text
        await pilot.press("v")
        assert "Memory in GB" in app.text
        await pilot.press("tab")
        assert "─ Answer for 256 + 256 tokens" in app.text
        before = app.text
        await pilot.press("pagedown")
        assert app.text != before
        await pilot.press("tab", "down")
        assert "▶ 2026-02-11 " in app.text
        assert "stale: the driver changed" in app.text


async def test_applying_a_stale_one_says_so():
    app = FrozenTuner(None)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await pilot.press("down", "a")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert texts(app, "#question")[0].startswith("It is stale: the driver changed. Write to ")
        await pilot.press("n")
        await until(pilot, lambda: app.screen is app.tuner)
        await pilot.press("e", "a")
        assert "there is no answer to apply yet" in app.text
        await pilot.press("d")
        assert "e shows the earlier tunings" in app.text


async def test_what_starts_the_engine_anew_says_what_it_stops_and_asks_again_where_that_is_more_by_then():
    app = FrozenTuner(None)
    leases, tuner = app.workbench.leases, app.workbench.tuner
    tuner.restarts = lambda chosen: True
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        first = app.screen
        assert "is running" not in texts(app, "#question")[0]
        leases.claim(Use.ROWS, "in.jsonl is running")  # it has begun since
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, Confirm) and app.screen is not first)
        assert "in.jsonl is running: it stops, what is done is kept" in texts(app, "#question")[0]
        await pilot.press("n")
        await until(pilot, lambda: app.screen is app.tuner)
        assert not user_config_file().exists()


@pytest.mark.parametrize("run_state", [run_state_of(), None], ids=["of-now", "earlier"])
async def test_picture_and_probes_are_written_where_the_user_says(tmp_path, monkeypatch, run_state):
    monkeypatch.chdir(tmp_path)
    app = FrozenTuner(run_state)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        for again in (False, True):
            await pilot.press("x")
            await until(pilot, lambda: isinstance(app.screen, Ask))
            field = app.screen.query_one(Input)
            assert re.fullmatch(rf"{tmp_path}/phitui-tuning-[\w-]+-\d{{8}}-\d{{4}}", field.value)  # told before
            field.value = str(tmp_path / "phi-3.5.svg")
            await pilot.press("enter")
            if again:
                await until(pilot, lambda: isinstance(app.screen, Confirm))
                assert "There already: " in texts(app, "#question")[0]
                await pilot.press("y")
            await until(pilot, lambda: app.screen is app.tuner and "Written: " in app.tuner.picture.said)
            app.tuner.picture.said = ""
    picture, table = tmp_path / "phi-3.5.svg", tmp_path / "phi-3.5.csv"
    assert {file.stat().st_mode & 0o777 for file in (picture, table)} == {0o600}
    root = ElementTree.fromstring(picture.read_text())
    shown = " ".join("".join(root.itertext()).replace("\xa0", " ").split())
    assert "Decode tok/s against rows" in shown and "Memory in GB against rows" in shown  # both, at 80 columns too
    assert ("Use batch 80" in shown) is (run_state is not None) and ("Earlier tuning" in shown) is (run_state is None)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["rows"]) for row in rows] == [one.verdict.probe.size for one in run_state_of().probes]
    assert float(rows[0]["decode step (ms)"]) > 0 and int(rows[0]["measured memory (bytes)"]) > 10**9


async def test_with_nothing_measured_there_is_nothing_to_export():
    app = FrozenTuner(None, kept=[])
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("x")
        await until(pilot, lambda: "There is nothing to export yet" in app.text)
        assert " x Export" not in app.text


async def test_ascii_is_ascii():
    app = FrozenTuner(run_state_of(5), ascii_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        for key in ("tab", "tab", "tab"):
            assert app.text.isascii() and "?" not in app.text
            await pilot.press(key)


async def test_the_palette_has_the_screens_commands(home):
    app = console()
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        app.screen.query_one(Input).value = "Earlier tunings"
        await until(pilot, lambda: "Earlier" in str(app.screen.query_one("CommandList").highlighted_option))
        await pilot.press("enter")
        await until(pilot, lambda: app.tuning.screen.picture.pane == "probes")  # it was there: now it is not
        titles = [command.title for command in app.get_system_commands(app.console_screen)]
        assert any(title.startswith("Tuner: ") for title in titles) and "Start tuning" not in titles
