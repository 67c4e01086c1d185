"""Of an earlier prompt a terminal gets no controls, and the model what it was."""

import json
import sqlite3
import subprocess

import pytest
from terminal import command, environment

pytestmark = pytest.mark.terminal

ENTER, ESC, CTRL_Q, SHIFT_TAB, UP = "\r", "\x1b", "\x11", "\x1b[Z", "\x1b[A"
RAW = "log \x1b[5;35;43mred\x1b[0m \x1b]0;owned\x07 \x1b[13;37Hend\u202e"
# None of these does Textual write by itself.
FORBIDDEN = (b"\x1b[5;35;43m", b"\x1b]0;owned", b"\x1b[13;37H", "\u202e".encode())
ANSWERED = r"\d+ tokens · [\d.]+ tok/s"


@pytest.fixture
def home(home):
    """Answers are short: the small model says the same for ever to such prompts."""
    settings = home / "config" / "phitui" / "config.toml"
    settings.write_text(settings.read_text() + "max_tokens = 16\n")
    return home


def assert_nothing_raw(console):
    with console._lock:
        assert not [one for one in FORBIDDEN if one in console.output]


def kept(home):
    connection = sqlite3.connect(f"file:{home / 'sessions.db'}?mode=ro", uri=True)
    rows = connection.execute("SELECT prompt FROM turn ORDER BY id").fetchall()
    connection.close()
    return [row[0] for row in rows]


def test_a_file_with_colours_that_is_edited(open_console, home):
    (home / "build.log").write_text(RAW)
    console = open_console(columns=80, rows=30)
    console.wait_for("is ready on")
    console.send(f"/file {home / 'build.log'}{ENTER}")
    console.wait_for(r"build\.log · 47 bytes · \d+ tokens")
    console.send(f"What is this?{ENTER}")
    console.wait_for(ANSWERED, 60)
    console.send(SHIFT_TAB)
    console.wait_for("e Edit")
    console.send("e")
    console.wait_for(r"editing an earlier prompt[\s\S]*│ log red")
    console.send(ENTER)  # not edited
    console.wait_for(rf"‹ 2/2 › {ANSWERED}", 60)
    console.send(SHIFT_TAB)
    console.wait_for("e Edit")
    console.send("e")
    console.wait_for(r"editing an earlier prompt[\s\S]*│ What is this")
    console.send(f" Again{ENTER}")
    console.wait_for(rf"‹ 3/3 › {ANSWERED}", 60)
    console.send(UP)
    console.wait_for(r"│ What is this\? Again")
    assert_nothing_raw(console)
    console.send(CTRL_Q)
    assert console.wait_ended() == 0
    first, same, other = kept(home)
    assert RAW in first and same == first
    assert "log red" in other and other.endswith("What is this? Again") and "\x1b" not in other


def bring_in(home):
    """A session of one turn from elsewhere."""
    turn = {"id": 1, "parent": None, "prompt": RAW, "text": "Fine.", "state": "done", "created": 1.0}
    file = home / "session.json"
    session = {"format": "phitui-session", "version": 1, "title": f"t {RAW}", "created": 1.0, "turns": [turn]}
    file.write_text(json.dumps(session))
    subprocess.run(command("session", "import", str(file)), env=environment(home), check=True, capture_output=True)


def test_a_prompt_of_an_imported_session_that_is_edited_and_lost(open_console, home):
    bring_in(home)
    console = open_console("--resume", columns=80, rows=30)
    console.wait_for("is ready on")
    console.send(SHIFT_TAB)
    console.wait_for("e Edit")
    console.send("e")
    console.wait_for(r"editing an earlier prompt[\s\S]*│ log red +end")
    console.send(ESC)
    console.wait_for("Ask something")
    console.send(SHIFT_TAB)
    console.wait_for("e Edit")
    worker = console.worker()
    worker.suspend()  # it dies before it has answered
    console.send("r")
    console.wait_for("‹ 2/2 ›")
    worker.kill()
    console.wait_for(r"│ log red +end")
    console.wait_for("The engine is back", 60)
    assert_nothing_raw(console)
    console.send(CTRL_Q)
    assert console.wait_ended() == 0
    again = open_console(columns=80, rows=30)  # with the draft
    again.wait_for(r"│ log red +end")
    again.wait_for("is ready on")
    again.send(ENTER)
    again.wait_for(ANSWERED, 60)
    again.send(UP)
    again.wait_for(r"│ log red +end")
    assert_nothing_raw(again)
    again.send(CTRL_Q)
    assert again.wait_ended() == 0
    assert kept(home) == [RAW, RAW, RAW]
