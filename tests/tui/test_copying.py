"""Copying and saving, the mouse, and what is said of them."""

import os
import stat

import pytest
from frozen_console import ANSWER, FrozenConsole
from support.resting import at_rest, painted_first
from support.waiting import until_shown as until

from phitui.core.errors import PhituiError, UsageError
from phitui.tui.app import interrupting
from phitui.tui.console.copying import save
from phitui.tui.terminal import clipboard
from phitui.tui.widgets.code_blocks import CodeBlock, code_blocks
from phitui.tui.widgets.dialogs import Ask, Confirm
from phitui.tui.widgets.part_list import PartList
from phitui.tui.widgets.prompt import Prompt
from phitui.tui.widgets.transcript import Transcript
from phitui.workbench.lease import Use

TWO = "Run:\n\n```sh\nls -l\n```\n\n- and\n\n  ```python\n  print('\x1b[2J')\n  ```\n\n> ```\n> open"


async def begun(pilot, app, text=TWO):
    await painted_first(pilot)
    app.load()
    app.answer("List the files", text)
    app.console_screen.query_one(Transcript).focus()
    await at_rest(pilot)


def notes(app):
    return " | ".join(str(one.message) for one in app._notifications)


def shown(app):
    return "\n".join(row.text.rstrip() for row in app.screen._compositor.render_strips())


def test_code_blocks_in_order_also_in_lists_quotes_and_without_an_end():
    assert code_blocks(TWO.replace("\x1b[2J", "")) == [
        CodeBlock("sh", "ls -l\n"), CodeBlock("python", "print('')\n"), CodeBlock("", "open")
    ]  # fmt: skip
    assert code_blocks(ANSWER)[0].language == "python"
    assert code_blocks("no code, `but` ticks\n\n```\n\n```") == []


async def test_the_answer_and_its_blocks_go_to_the_clipboard_without_controls():
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot, app)
        await pilot.press("y")
        clean = TWO.replace("\x1b[2J", "")
        await until(pilot, lambda: app.clipboard == clean)
        assert any("if the terminal takes it" in note.message for note in app._notifications)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, PartList) and "1  sh" in shown(app))
        assert "1  sh · 1 line · ls -l" in shown(app) and "3  code · 1 line · open" in shown(app)
        await pilot.press("2")
        await until(pilot, lambda: app.clipboard == "print('')\n")
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, PartList) and app.screen.focused is not None)
        await pilot.press("enter")  # the first block is marked
        await until(pilot, lambda: app.clipboard == "ls -l\n")


async def test_a_file_is_saved_and_never_overwritten_unasked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot, app, "The files.")
        file = tmp_path / "list-the-files.md"
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.focused is not None)
        await pilot.press("enter")
        await until(pilot, file.exists)
        assert file.read_text() == "The files.\n" and stat.S_IMODE(file.stat().st_mode) == 0o600
        file.write_text("mine")
        for key, left in (("escape", "mine"), ("y", "The files.\n")):
            await until(pilot, lambda: app.screen is app.console_screen)
            await pilot.press("s")
            await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.focused is not None)
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            await pilot.press(key)
            await until(pilot, lambda wanted=left: file.read_text() == wanted)
        assert os.listdir(tmp_path) == ["list-the-files.md"] or "home" in os.listdir(tmp_path)


def test_what_cannot_be_saved_is_told_and_leaves_nothing(tmp_path):
    (tmp_path / "there").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        save(tmp_path / "there", "x", False)
    with pytest.raises(UsageError, match="is not a file"):
        save(tmp_path, "x", True)
    with pytest.raises(PhituiError, match="cannot be written: No such file"):
        save(tmp_path / "no" / "folder", "x", False)
    assert (tmp_path / "there").read_text() == "mine" and os.listdir(tmp_path) == ["there"]


def test_what_is_said_of_a_copy_is_what_is_known():
    said = clipboard.told("It", 5, {})
    assert said == "It: copied, 5 bytes, if the terminal takes it (OSC 52). s saves to a file."
    assert "set-clipboard on" in clipboard.told("It", 5, {"TMUX": "/tmp/x,1,0"})
    assert "GNU screen does not" in clipboard.told("It", 5, {"STY": "1.x"})
    assert "at most 74,994 bytes" in clipboard.told("It", 80_000, {})
    app = FrozenConsole()
    assert clipboard.send(app, "x" * 800_000, "It").startswith("Not sent: It has 800,000 bytes")
    assert app.clipboard == ""


async def test_ctrl_c_copies_a_selection_and_leaves_without_one_when_it_is_said_twice():
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot, app)
        prompt = app.console_screen.query_one(Prompt)
        prompt.focus()
        await pilot.press(*"copy me", *["shift+left"] * 2)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: app.clipboard == "me")
        assert not app._leaving and prompt.selected_text == ""
        app.console_screen.query_one(Transcript).focus()
        await pilot.press("y")
        await pilot.press("ctrl+c")
        await until(pilot, lambda: "again quits" in notes(app))
        assert not app._leaving
        await pilot.press("ctrl+c")
        await until(pilot, lambda: app._leaving)


async def test_ctrl_c_stops_first_and_asks_where_a_batch_would_stop():
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot, app)
        app.begin("Tell me a story", "Once upon a time")
        app.workbench.leases.claim(Use.ROWS, "prompts.jsonl is running")
        await pilot.press("ctrl+c")
        await until(pilot, lambda: "Stopped. " in notes(app))
        await pilot.press("ctrl+c")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "prompts.jsonl is running: it stops" in str(app.screen.query_one("#question").content)
        await pilot.press("n", "ctrl+c")
        assert not app._leaving
        await pilot.press("ctrl+c", "y")
        await until(pilot, lambda: app._leaving)


async def test_two_times_ctrl_c_with_much_time_between_do_not_leave(monkeypatch):
    monkeypatch.setattr(interrupting, "_TWICE_S", 0.0)
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot, app)
        await pilot.press("ctrl+c", "ctrl+c", "ctrl+c")
        assert not app._leaving
