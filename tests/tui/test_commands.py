"""Slash commands, completion, attached files, find, drafts: the console driven by keys."""

import asyncio

import pytest
from frozen_console import FrozenConsole
from support.resting import at_rest
from support.waiting import until_shown as until

from phitui.core.errors import UsageError
from phitui.engine.protocol.api import Counted
from phitui.tui.commands.paths import paths
from phitui.tui.commands.registry import Commands, fitting, is_command, nothing, plain
from phitui.tui.screens.help import HelpScreen
from phitui.tui.screens.monitor import MonitorScreen
from phitui.tui.terminal.external_editor import editor_command
from phitui.tui.widgets.attachment_line import AttachmentLine
from phitui.tui.widgets.completion import Completion
from phitui.tui.widgets.find_bar import FindBar
from phitui.tui.widgets.prompt import Prompt
from phitui.tui.widgets.transcript import Transcript


def prompt_of(app):
    return app.console_screen.query_one(Prompt)


def popup_of(app):
    return app.console_screen.query_one(Completion)


def notes(app):
    return " | ".join(str(one.message) for one in app._notifications)


@pytest.mark.parametrize(
    ("text", "command"),
    [("/help", True), ("/model x y", True), ("/usr/bin", False), ("//help", False), ("/ x", False), ("/", False),
     ("a /help", False), ("  /help ", True), ("/1", False)],
)  # fmt: skip
def test_what_is_a_command(text, command):
    assert is_command(text) is command


def test_a_double_slash_is_text():
    assert plain("//etc is a folder") == "/etc is a folder"
    assert plain("1 // 2") == "1 // 2"


def test_the_registry():
    ran = []
    commands = Commands()
    commands.register("theme", "colours", fitting([("nord", ""), ("gruvbox", "")]), ran.append, "[NAME]")
    commands.register("tune", "tune", None, ran.append)
    commands.register("find", "find", nothing, ran.append, "TEXT")
    commands.run("/theme  nord ")
    commands.run("/FIND two words")
    commands.run("/fi x")  # the only one that begins so
    assert ran == ["nord", "two words", "x"]
    assert [one.text for one in commands.names("/t")] == ["/theme", "/tune"]
    assert [one.text for one in commands.arguments("/theme r")] == ["/theme nord", "/theme gruvbox"]
    assert [one.text for one in commands.arguments("/theme n")] == ["/theme nord"]
    for line, said in (("/t", "/theme or /tune"), ("/thme", "Did you mean /theme"), ("/tune x", "takes no argument")):
        with pytest.raises(UsageError, match=said):
            commands.run(line)


def test_paths_are_completed(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("file.txt", ".hidden", "bad\x1bname"):
        (tmp_path / name).write_text("x")
    assert [one.text for one in paths(f"{tmp_path}/f")] == [f"{tmp_path}/folder/", f"{tmp_path}/file.txt"]
    assert [one.text for one in paths(f"{tmp_path}/.h")] == [f"{tmp_path}/.hidden"]
    assert list(paths(f"{tmp_path}/none/")) == [] and list(paths(f"{tmp_path}/bad")) == []


async def test_completion_offers_takes_and_closes():
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("slash", "m", "o")
        await until(pilot, lambda: popup_of(app).shown)
        assert popup_of(app).chosen.text == "/model"
        await pilot.press("down", "tab")
        assert prompt_of(app).text == "/monitor "
        await pilot.press(*["backspace"] * 8, "t")
        await until(pilot, lambda: popup_of(app).shown)
        await pilot.press("escape")
        assert not popup_of(app).shown and prompt_of(app).text == "/t"
        await pilot.press(*"heme gru")
        await until(pilot, lambda: popup_of(app).shown and popup_of(app).chosen.text == "/theme gruvbox")
        await pilot.press("backspace", "backspace", "backspace", *["backspace"] * 7, "tab")
        assert app.console_screen.focused is not prompt_of(app)  # nothing offered: on to the next pane


async def test_commands_run_and_what_is_wrong_comes_back():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.load()
        await pilot.press(*"/monitr", "enter")
        await pilot.pause()
        assert "Did you mean /monitor?" in notes(app)
        assert prompt_of(app).text == "/monitr"
        await pilot.press("backspace", *"or", "enter")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        await pilot.press("alt+p", *"/help", "enter")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.press("escape", *"//usr is a folder", "enter")
        await until(pilot, lambda: app.console_screen.chat.exchanges)
        assert app.console_screen.chat.exchanges[0].prompt == "/usr is a folder"


async def test_every_command_can_be_typed_where_there_is_no_chat_yet():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        for command in app.console_screen.prompting.commands.all():
            await pilot.press("ctrl+u", *f"/{command.name} 3")
            await at_rest(pilot)
            assert prompt_of(app).text == f"/{command.name} 3"
        await pilot.press("ctrl+u", *"/copy 3", "enter")
        await until(pilot, lambda: "there is no answer yet" in notes(app))


async def test_a_file_is_attached_counted_removed_and_sent(tmp_path):
    (tmp_path / "a.txt").write_text("alpha " * 20)
    (tmp_path / "b.bin").write_bytes(b"a\x00")
    (tmp_path / "long.txt").write_text("word " * 20_000)
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.load()
        prompting = app.console_screen.prompting
        prompting.send(f"/file {tmp_path}/a.txt")
        await until(pilot, lambda: prompting.attachments)
        line = app.console_screen.query_one(AttachmentLine)
        await until(pilot, lambda: "a.txt · 120 bytes · 31 tokens · ^r removes it" in str(line.content))
        prompting.send(f"/file {tmp_path}/b.bin")
        await until(pilot, lambda: "binary" in notes(app))
        prompt_of(app).clear()
        prompting.send(f"/file {tmp_path}/long.txt")
        await until(pilot, lambda: "25,001 tokens, and 4,065 of the context window are left" in notes(app))
        prompt_of(app).clear()
        prompting.send(f"/file {tmp_path}/a.txt")
        await until(pilot, lambda: len(prompting.attachments) == 2)
        await pilot.press("ctrl+r")
        assert len(prompting.attachments) == 1
        await pilot.press(*"what?", "enter")
        await until(pilot, lambda: app.console_screen.chat.exchanges)
        assert app.console_screen.chat.exchanges[0].prompt.startswith("a.txt:\n```txt\nalpha alpha")
        assert app.console_screen.chat.exchanges[0].prompt.endswith("```\n\nwhat?")
        await until(pilot, lambda: not line.display)


async def test_a_prompt_that_does_not_fit_is_not_sent_and_comes_back():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.load()
        long = "word " * 10_000
        prompt_of(app).text = long
        await pilot.press("enter")
        await until(pilot, lambda: "12,501 tokens with the chat so far, the context window has 4,096" in notes(app))
        await pilot.pause()
        assert not app.console_screen.chat.exchanges and prompt_of(app).text == long


async def test_where_the_engine_only_estimates_it_decides_itself(tmp_path):
    (tmp_path / "long.txt").write_text("word " * 20_000)
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.load()

        async def count(turns, text=""):
            return Counted(0, 25_000, exact=False)

        app.workbench.engine.count = count
        app.console_screen.prompting.send(f"/file {tmp_path}/long.txt")
        line = app.console_screen.query_one(AttachmentLine)
        await until(pilot, lambda: "≈ 25,000 tokens (bytes / 4" in str(line.content))


async def test_find_goes_from_match_to_match_and_ends():
    app = FrozenConsole()
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        app.load()
        for number in range(12):
            app.answer(
                f"question {number}", "plain text\n" * 10 + ("the needle is here\n" if number in (2, 7) else "end\n")
            )
        await at_rest(pilot)
        await pilot.press("alt+c", "slash", *"NEEDLE")
        bar, transcript = app.console_screen.query_one(FindBar), app.console_screen.query_one(Transcript)
        assert bar.active
        await pilot.press("enter")
        await until(pilot, lambda: transcript.has_focus and "2/2" in str(bar.query_one("#found").content))
        await until(pilot, lambda: transcript.marked is not None and transcript.marked.prompt == "question 7")
        await pilot.press("n")
        await until(pilot, lambda: "1/2" in str(bar.query_one("#found").content))
        await until(pilot, lambda: transcript.marked.prompt == "question 2")
        await until(pilot, lambda: transcript.marked in transcript.items_in_view())
        await pilot.press("N")
        assert transcript.marked.prompt == "question 7"
        await pilot.press("escape")
        assert not bar.active and transcript.has_focus
        await pilot.press("n")  # without a find it does nothing, and makes no answers
        assert len(app.console_screen.chat.exchanges) == 12


async def test_motion_in_the_transcript():
    app = FrozenConsole()
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        app.load()
        app.console_screen.query_one(Transcript)._markdown = False  # which would make one paragraph of the lines
        for number in range(6):
            app.answer(f"question {number}", "line\n" * 30)
        transcript = app.console_screen.query_one(Transcript)
        await until(pilot, lambda: transcript.max_scroll_y > 100 and transcript.scroll_y == transcript.max_scroll_y)
        await pilot.press("alt+c")
        height = transcript.scrollable_content_region.height
        for key, move in (("ctrl+u", -height / 2), ("ctrl+b", -height), ("k", -1), ("j", 1), ("ctrl+d", height / 2)):
            before = transcript.scroll_y
            await pilot.press(key)
            await until(pilot, lambda b=before, m=move: abs(transcript.scroll_y - b - m) <= 1)
        marked = transcript.marked
        await pilot.press("left_square_bracket")
        assert transcript.marked is not marked


def test_which_editor(tmp_path):
    tool = tmp_path / "ed it"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o700)
    path = {"PATH": str(tmp_path)}
    assert editor_command({"VISUAL": f"'{tool}' --wait", "EDITOR": "x", **path}) == [str(tool), "--wait"]
    for environ, said in (
        ({"EDITOR": "no-such-editor -x"}, "no program no-such-editor"),
        ({"EDITOR": "a 'b"}, "not a command"),
        ({}, "there is no editor"),
    ):
        with pytest.raises(UsageError, match=said):
            editor_command({**environ, **path})
    (tmp_path / "vi").write_text("#!/bin/sh\n")
    (tmp_path / "vi").chmod(0o700)
    assert editor_command(path) == ["vi"]


async def test_arguments_are_completed_off_the_loop_and_the_late_are_dropped():
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        prompting = app.console_screen.prompting
        release = asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(typed):
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result(20)
            return fitting([("one", "")])(typed)

        prompting.commands.register("slow", "slow", slow, lambda argument: None)
        prompting.complete("/slow o")
        prompting.complete("text")
        release.set()
        await at_rest(pilot)
        assert not popup_of(app).shown
