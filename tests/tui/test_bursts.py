"""Letters that come faster than anyone types."""

import string

import pytest
from textual import events

from phitui.tui.terminal.driver import _Parser, gathered

TEXT = string.ascii_letters + " 漢字 ž+-"


def parsed(data):
    return list(_Parser().feed(data))


def told(found):
    return [event.text if isinstance(event, events.Paste) else event.key for event in found]


def test_a_burst_is_one_paste_and_enter_stays_a_key():
    assert told(parsed(TEXT + "\r" + TEXT)) == [TEXT, "enter", TEXT]


@pytest.mark.parametrize("text", [TEXT[:31], "j" * 500, "jk" * 100])
def test_what_may_have_been_typed_or_held_stays_keys(text):
    assert [event.character for event in parsed(text)] == list(text)


def test_keys_with_modifiers_are_no_letters():
    assert told(parsed(TEXT + "\x01" + "\x1b[A" + "ab")) == [TEXT, "ctrl+a", "up", "a", "b"]


def test_what_came_before_a_damaged_sequence_arrives():
    def broken():
        yield from (events.Key(letter, letter) for letter in string.ascii_letters)
        raise ValueError("chr() arg not in range")

    found = gathered(broken())
    assert next(found).text == string.ascii_letters
    with pytest.raises(ValueError, match="not in range"):
        next(found)
