"""A terminal may send anything: the console goes on, and what was typed is there."""

import time

import pytest

pytestmark = pytest.mark.terminal

CTRL_Q = "\x11"
# Each by itself as it came out of a terminal, or out of one that was cut off in the middle.
ODD = {
    "a key of Latin-1": b"\xe9",
    "a mouse report of 1986": b"\x1b[M \xe1\xf2",
    "a mouse report that is cut off": b"\x1b[M\xff",
    "half a character": b"\xf0\x9f",
    "bytes that are never UTF-8": b"\xfe\xff\xc0\x80",
    "a key beyond Unicode": b"\x1b[1114112u",
    "a key with a number that is too large": b"\x1b[99999999999999999999u",
    "half of a surrogate pair": b"\x1b[55296u",
    "a place with letters": b"\x1b[48;:1;2~\x1b[1;2:1;2R",
    "a device's answer to no question": b"\x1b[?64;1;9c\x1bP>|odd\x1b\\",
}


def test_whatever_the_terminal_sends(open_console):
    console = open_console(columns=100, rows=30)
    console.wait_for("is ready on")
    for number, (what, data) in enumerate(ODD.items()):
        console.send(data)
        time.sleep(0.5)  # nobody types as fast as a terminal sends: what comes with a damaged sequence is lost with it
        console.send(f"xxxxxx word{number} ")  # what was cut off may take some of what follows
        assert console.wait_for(f"word{number}"), what
    console.send(CTRL_Q)
    assert console.wait_ended() == 0
    assert "Traceback" not in console.text()
