"""Sessions in the real console: kept through a kill, shared by two consoles, found and resumed by keys."""

import contextlib
import sqlite3
import stat
import subprocess

import pytest
from terminal import command, environment, wait_until

pytestmark = pytest.mark.terminal

CTRL_N, CTRL_Q, ENTER, F6, SHIFT_TAB = "\x0e", "\x11", "\r", "\x1b[17~", "\x1b[Z"
STORY = "Tell me a very long story about a lighthouse."


def kept(home):
    """The turns on disk; none while the file of a first session is not there, or being made."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{home / 'sessions.db'}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT prompt, text, state, tokens FROM turn ORDER BY id").fetchall()
    except sqlite3.OperationalError:
        return []


def test_a_killed_console_loses_at_most_a_second_of_text(open_console, home):
    console = open_console()
    console.wait_for("is ready on")
    console.send(STORY + ENTER)
    console.wait_for(r"answering · \d{2,} tokens")
    tokens_before = int(console.wait_for(r"answering · (\d+) tokens")[1])
    # Within a second, where the machine has the time: test_session_library.py has that.
    assert wait_until(lambda: [row for row in kept(home) if (row[3] or 0) >= tokens_before], 60)
    console.process.kill()
    console.process.wait()
    ((prompt, text, state, tokens),) = kept(home)
    assert prompt == STORY and state == "answering" and text
    assert tokens >= tokens_before  # what the screen has shown
    assert {stat.S_IMODE(file.stat().st_mode) for file in home.glob("sessions.db*")} == {0o600}
    again = open_console("--resume", columns=80, rows=24)
    again.wait_for("▌ Tell me a very long story")
    again.wait_for(r"cut off: phitui ended during this answer · \d+ tokens\s+kept")
    again.wait_for("is ready on")
    again.send("What is the capital of France?" + ENTER)
    again.wait_for(r"capital of France[\s\S]*\d+ tokens · [\d.]+ tok/s")
    again.send(CTRL_Q)
    assert again.wait_ended() == 0
    assert [row[0] for row in kept(home)] == [STORY, "What is the capital of France?"]
    assert kept(home)[1][2] == "done"


def test_two_consoles_write_at_once_and_see_each_other(open_console, home):
    one, two = open_console(), open_console()
    for console in (one, two):
        console.wait_for("is ready on")
    for console, name in ((one, "first"), (two, "second")):
        console.send(f"Write one sentence about the {name} day." + ENTER)
    for console in (one, two):
        console.wait_for(r"\d+ tokens · [\d.]+ tok/s", 60)
        assert "not being saved" not in console.text()
    assert wait_until(lambda: [row[2] for row in kept(home)] == ["done", "done"], 60)
    one.send(F6)
    one.wait_for("Write one sentence about the second")
    for console in (one, two):
        console.send(CTRL_Q)
        assert console.wait_ended() == 0
    rows = kept(home)
    assert sorted(row[0].split()[-2] for row in rows) == ["first", "second"]
    assert {row[2] for row in rows} == {"done"}


def test_search_resume_edit_and_the_command_line(open_console, home):
    console = open_console(columns=80, rows=24)
    console.wait_for("is ready on")
    console.send("What is the capital of France?" + ENTER)
    console.wait_for(r"\d+ tokens · [\d.]+ tok/s")
    console.send(CTRL_N)
    console.send("Say hello." + ENTER)
    console.wait_for(r"▌ Say hello[\s\S]*\d+ tokens · [\d.]+ tok/s")
    console.send(F6)
    console.wait_for(r"Sessions · 2")
    console.send("/capital")
    console.wait_for(r"Sessions · 1 of 2 found")
    console.send(ENTER)
    console.wait_for(r"▌ What is the capital of France\?[\s\S]*Ask something")  # the list's preview has the first, too
    console.send(SHIFT_TAB)
    console.wait_for("e Edit")
    console.send("e")
    console.wait_for(r"editing an earlier prompt[\s\S]*│ What is the capital of France\?")
    console.send(" And of Italy?" + ENTER)
    console.wait_for(r"‹ 2/2 › \d+ tokens · [\d.]+ tok/s")
    console.send(CTRL_Q)
    assert console.wait_ended() == 0

    def phitui(*words, code=0):
        done = subprocess.run(command(*words), env=environment(home), capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    lines = phitui("session", "list").splitlines()
    assert [line.split("\t")[-1] for line in lines] == ["What is the capital of France?", "Say hello."]
    number = lines[0].split("\t")[0]
    assert phitui("session", "search", "capital").count("\n") == 2
    assert "## Prompt\n\nWhat is the capital of France? And of Italy?" in phitui("session", "show", number)
    file = home / "out.json"
    phitui("session", "export", number, "--json", "-o", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    new = phitui("session", "import", str(file)).strip()
    assert phitui("session", "export", new, "--json").count('"prompt"') == 2
    phitui("session", "rm", new)
    assert "there is no session" in phitui("session", "rm", new, code=2)
    assert "is there already" in phitui("session", "export", number, "-o", str(file), code=2)
