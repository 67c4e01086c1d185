"""Parameters through a resume, and the bytes of a copy, in the real console."""

import base64
import contextlib
import json
import re
import sqlite3

import pytest
from terminal import wait_until

pytestmark = pytest.mark.terminal

CTRL_Q, ENTER, ESCAPE, F7, F12, SHIFT_TAB, TAB = "\x11", "\r", "\x1b", "\x1b[18~", "\x1b[24~", "\x1b[Z", "\t"


def kept_texts(home):
    """The answers on disk; none while the file of a first session is not there, or being made."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{home / 'sessions.db'}?mode=ro", uri=True)) as connection:
            return [text for (text,) in connection.execute("SELECT text FROM turn ORDER BY id")]
    except sqlite3.OperationalError:
        return []


def test_parameters_survive_a_resume_and_a_new_console_begins_as_configured(open_console, home):
    console = open_console(columns=80, rows=24)
    console.wait_for("is ready on")
    console.send(F7)
    console.wait_for("System prompt · default")
    console.send("Answer with one word.")
    console.wait_for("System prompt · of this chat alone")
    console.send(TAB * 5 + "7")  # to the longest answer
    console.wait_for(r"max tokens +7 ")
    console.send(ESCAPE)
    console.wait_for("Ask something")
    console.send("Tell me a long story." + ENTER)
    console.wait_for(r" 7 tokens · [\d.]+ tok/s[\s\S]*token limit\s+reached")
    console.send(CTRL_Q)
    assert console.wait_ended() == 0
    connection = sqlite3.connect(f"file:{home / 'sessions.db'}?mode=ro", uri=True)
    ((system, parameters),) = connection.execute("SELECT system, parameters FROM session").fetchall()
    connection.close()
    assert system == "Answer with one word." and json.loads(parameters) == {"max_tokens": 7}
    for arguments, value in ((["--resume"], "7"), ([], "512")):
        again = open_console(*arguments, columns=80, rows=24)
        again.wait_for("is ready on")
        if arguments:
            again.wait_for("▌ Tell me a long story")
        again.send(F7)
        again.wait_for(rf"max tokens +{value} ")
        assert ("Answer with one word." in again.text()) == bool(arguments)
        again.send(CTRL_Q)


def test_a_copy_is_osc_52_and_the_mouse_goes_back_to_the_terminal(open_console, home):
    console = open_console(columns=80, rows=24)
    console.wait_for("is ready on")
    console.send("What is the capital of France?" + ENTER)
    console.wait_for(r"\d+ tokens · [\d.]+ tok/s")
    console.send(SHIFT_TAB)
    console.wait_for("y Copy")
    console.send("y")
    pattern = rb"\x1b\]52;c;([A-Za-z0-9+/=]+)\x07"
    assert wait_until(lambda: re.search(pattern, console.output), 60)
    copied = base64.b64decode(re.search(pattern, console.output)[1]).decode()
    assert wait_until(lambda: kept_texts(home) == [copied], 60)
    console.wait_for("The answer: copied")
    before = len(console.output)
    console.send(F12)
    assert wait_until(lambda: b"\x1b[?1003l" in console.output[before:], 60)
    console.send(F12)
    assert wait_until(lambda: b"\x1b[?1003h" in console.output[before:], 60)
    console.send(CTRL_Q)
    assert console.wait_ended() == 0
