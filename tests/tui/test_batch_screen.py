"""The batch screen driven by keys, with the real engine and a tiny model."""

import json
import os
import shutil
import signal

import pytest
from batch_runs import questions
from test_batch_poison import POISON, broken_vocabulary
from test_console_screen import ready, texts, until
from textual.widgets import DataTable, Input

from phitui.config.layers import load_config
from phitui.tui.app.app import PhituiApp
from phitui.tui.screens.batches import BatchScreen
from phitui.tui.screens.console import ConsoleScreen
from phitui.tui.widgets.batch_dialog import BatchDialog
from phitui.workbench.chat.chat import State


def console(name="tiny-phi3", restart_limit=3):
    settings = {
        "model": {"name": name},
        "engine": {"threads": 1, "compute_type": "float32", "restart_limit": restart_limit},
        "generation": {"max_tokens": 20, "temperature": 0.0},
    }
    return PhituiApp(load_config(overrides=settings))


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def long_rows(count):
    return [{**row, "id": f"long {place}", "max_tokens": 3000} for place, row in enumerate(questions(count))]


async def add(pilot, typed):
    """Add a file by keys."""
    if not isinstance(pilot.app.screen, BatchScreen):
        await pilot.press("f5")
    await until(pilot, lambda: isinstance(pilot.app.screen, BatchScreen))
    await pilot.press("a")
    await until(pilot, lambda: isinstance(pilot.app.screen, BatchDialog))
    pilot.app.screen.query_one("#source", Input).value = str(typed)
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, BatchScreen))


def table(pilot):
    found = pilot.app.screen.query_one(DataTable)
    return [[str(cell) for cell in found.get_row_at(place)] for place in range(found.row_count)]


def entry(pilot, place=0):
    return pilot.app.workbench.batches.entries[place]


def answers(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_the_command_with_a_file_opens_the_screen_and_runs_it(home, tmp_path):
    """From a fresh start: the file begins before the screen has anything to show it on."""
    source = write(tmp_path / "in.jsonl", questions(12))
    async with console().run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: pilot.app.workbench.engine.loaded is not None)
        await pilot.press(*f"/batch {source}", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, BatchScreen))
        await until(pilot, lambda: entry(pilot).state == "complete")
        await until(pilot, lambda: table(pilot) and table(pilot)[0][2] == "12/12")


async def test_files_run_one_after_the_other_and_say_what_failed(home, tmp_path):
    first = write(tmp_path / "first.jsonl", [*questions(12), {"prompt": ""}])
    second = write(tmp_path / "second.jsonl", questions(5, seed=3))
    async with console().run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await add(pilot, first)
        await add(pilot, second)
        await until(pilot, lambda: [row[1] for row in table(pilot)] == ["complete", "complete"])
        assert [row[2:4] for row in table(pilot)] == [["13/13", "1"], ["5/5", "0"]]
        await until(pilot, lambda: "second-answers.jsonl" in texts(pilot.app, "#about")[0])  # the new one is chosen
        await pilot.press("up")
        await until(pilot, lambda: "line 13: the prompt is empty" in texts(pilot.app, "#about")[0])
    assert len(answers(tmp_path / "first-answers.jsonl")) == 13
    assert len(answers(tmp_path / "second-answers.jsonl")) == 5


async def test_it_goes_on_when_the_screen_is_left_and_a_prompt_goes_ahead(home, tmp_path):
    source = write(tmp_path / "in.jsonl", long_rows(60))
    async with console().run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await add(pilot, source)
        await until(pilot, lambda: entry(pilot).progress.tokens > 0)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConsoleScreen))
        await pilot.press(*"hi", "enter")
        chat = pilot.app.console_screen.chat
        await until(pilot, lambda: chat.exchanges and chat.exchanges[-1].state is State.DONE)
        assert entry(pilot).state == "running"
        before = entry(pilot).progress.tokens
        await until(pilot, lambda: entry(pilot).progress.tokens > before)


async def test_what_is_cancelled_can_be_gone_on_with(home, tmp_path):
    lengths = [{**row, "max_tokens": 30 + 25 * place} for place, row in enumerate(questions(20))]
    lengths += long_rows(20)  # which keep it from its end, however late the keys come
    source = write(tmp_path / "in.jsonl", lengths)
    async with console().run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await add(pilot, source)
        await until(pilot, lambda: entry(pilot).progress.done > 3)
        await pilot.press("c")
        await until(pilot, lambda: entry(pilot).state == "stopped")
        done = entry(pilot).progress.done
        assert 3 < done < 40
        assert len(answers(tmp_path / "in-answers.jsonl")) == done
        await pilot.press("r")
        await until(pilot, lambda: entry(pilot).progress.before == done and entry(pilot).state == "running")
        assert f"{done} rows done" in entry(pilot).note
    left = answers(tmp_path / "in-answers.jsonl")  # leaving the console has stopped it once more
    assert len({line["line"] for line in left}) == len(left) >= done
    assert (tmp_path / "in-answers.jsonl.journal").exists()


async def test_an_engine_that_is_killed_comes_back_and_so_does_the_batch(home, tmp_path):
    source = write(tmp_path / "in.jsonl", questions(60))
    async with console().run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await add(pilot, source)
        await until(pilot, lambda: entry(pilot).progress.tokens > 0)
        os.kill(pilot.app.workbench.engine.pid, signal.SIGKILL)
        await until(pilot, lambda: entry(pilot).state == "complete")
    assert sorted(line["line"] for line in answers(tmp_path / "in-answers.jsonl")) == list(range(1, 61))


async def test_a_row_that_the_engine_dies_of_costs_neither_the_file_nor_the_chat(home, tmp_path):
    """It dies more often than the chat alone would have it started again."""
    folder = home / "models" / "altered"
    shutil.copytree((home / "models" / "tiny-phi3").resolve(), folder)
    broken_vocabulary(folder)
    rows = [{**row, "temperature": 0} for row in questions(6)]
    rows[4]["prompt"] = f"The quick {POISON} fox"
    app = console(name="altered", restart_limit=1)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await add(pilot, write(tmp_path / "in.jsonl", rows))
        await until(pilot, lambda: entry(pilot).state in ("complete", "failed"), 300)
        assert (entry(pilot).state, entry(pilot).error, entry(pilot).progress.failed) == ("complete", "", 1)
        assert entry(pilot).progress.deaths > 2
        await until(pilot, lambda: pilot.app.workbench.engine.loaded is not None)
    lines = {line["line"]: line["error"] for line in answers(tmp_path / "in-answers.jsonl")}
    assert "died twice while it had nothing but this row" in lines.pop(5)
    assert lines == dict.fromkeys((1, 2, 3, 4, 6))


@pytest.mark.parametrize(("typed", "words"), [("no-such.jsonl", "no such file"), ("/", "is a folder")])
async def test_what_cannot_be_added_says_why(home, typed, words):
    async with console().run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await add(pilot, typed)
        assert words in texts(pilot.app, "#said")[0]
        assert table(pilot) == []


async def test_paths_are_completed(home, tmp_path):
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "questions.jsonl", questions(1))
    async with console().run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await pilot.press("f5", "a")
        await until(pilot, lambda: isinstance(pilot.app.screen, BatchDialog))
        field = pilot.app.screen.query_one("#source", Input)
        field.value = f"{tmp_path}/fol"
        field.cursor_position = len(field.value)
        await until(pilot, lambda: field._suggestion.endswith("folder/"))
        await pilot.press("right")
        await pilot.press("q")
        await until(pilot, lambda: field._suggestion.endswith("folder/questions.jsonl"))
