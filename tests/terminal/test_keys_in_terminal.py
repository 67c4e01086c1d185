"""Keys, drafts and the editor in the real console, in a pseudo-terminal."""

import stat
import time

import pytest
from terminal import wait_until

pytestmark = pytest.mark.terminal

ALT_C, ALT_M, ALT_P, CTRL_O, CTRL_Q, ENTER, ESC = "\x1bc", "\x1bm", "\x1bp", "\x0f", "\x11", "\r", "\x1b"


def test_a_draft_outlives_a_kill_and_prompts_a_restart(open_console, home):
    console = open_console()
    console.wait_for("is ready on")
    console.send("Say hello." + ENTER)
    console.wait_for(r"▌ Say hello")
    console.send("half a thought")
    console.wait_for("half a thought")
    wait_until(lambda: (home / "draft.txt").exists() and (home / "draft.txt").read_text() == "half a thought", 60)
    console.process.kill()
    console.process.wait()
    again = open_console(columns=80, rows=24)
    again.wait_for("half a thought")
    again.send("\x1b[A")
    again.wait_for(r"│ Say hello\.")
    again.send(CTRL_Q)
    assert again.wait_ended() == 0
    assert stat.S_IMODE((home / "prompts.jsonl").stat().st_mode) == 0o600


def test_the_editor_has_the_terminal_and_gives_it_back(open_console, home):
    editor = home / "editor"
    editor.write_text(
        f'#!/bin/sh\nstat -c "%a %n" "$1" "$(dirname "$1")" > {home}/modes\necho THE EDITOR\n'
        f'[ -e {home}/fail ] && exit 3\nsleep 0.5; echo "second line" >> "$1"\n'
    )
    editor.chmod(0o700)
    console = open_console(EDITOR=str(editor), VISUAL="")
    console.wait_for("is ready on")
    console.send("first line" + CTRL_O)
    console.wait_for("THE EDITOR")
    console.wait_for(r"first line[\s\S]*second line")
    console.wait_for("φ phitui")
    modes = (home / "modes").read_text().split()
    assert modes[0] == "600" and modes[2] == "700"
    wait_until(lambda: not any(home.joinpath(name).exists() for name in modes[1::2]), 60)
    (home / "fail").touch()
    console.send(CTRL_O)
    console.wait_for(r"ended with exit code 3")
    console.wait_for(r"first line[\s\S]*second line")
    console.send(CTRL_Q)
    assert console.wait_ended() == 0


def test_one_chord_to_each_pane_and_keys_of_ones_own(open_console, home):
    settings = home / "mine.toml"
    settings.write_text('[keys]\n"console.sessions" = "ctrl+g"\n"console.nonsense" = "f9"\n')
    console = open_console("--config", str(settings), columns=80, rows=24)
    console.wait_for("is ready on")
    console.wait_for("there is no action")
    console.send(ALT_M)
    console.wait_for("Filter")
    console.send(ALT_P)
    console.wait_for("Ask something")
    console.send("typed")
    console.wait_for("│ typed")
    console.send(ALT_C)
    time.sleep(0.3)
    console.send("/")
    console.wait_for("find in this chat")
    console.send(ESC)
    console.wait_for("│ typed")
    console.send("\x07")
    console.wait_for("Sessions")
    console.send(CTRL_Q)
    assert console.wait_ended() == 0
