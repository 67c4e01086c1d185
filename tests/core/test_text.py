"""Untrusted text: nothing that a terminal obeys gets through; cutting the text anywhere changes nothing."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phitui.core.text import STRING_LIMIT_CHARS, StreamSanitizer, one_line, sanitize

# Pieces that make sequences likely, whole, cut off and nested, among ordinary text.
# fmt: off
PIECES = st.sampled_from([
    "\x1b", "\x1b[", "\x1b]", "\x1b]8;;", "\x1bP", "\x1b_", "\x1b^", "\x1bX", "\x1b\\", "\x9b", "\x9d", "\x90",
    "\x9c", "\x07", "\x18", "\x1a", "\r", "\n", "\r\n", "\t", " ", "(", "B", "[", "]", "\\", "31;1", "m", "K",
    "0", "?25l", "\u202e", "\u2066", "\u200d", "\ufe0f", "\ud800", "\udfff", "\u2028", "\x00", "\x7f", "\x85",
    "é", "日本", "👩‍👩‍👧", "x" * 63, "1;" * 40, " " * 17, "y" * STRING_LIMIT_CHARS,
])
# fmt: on
ROUGH = st.lists(st.one_of(PIECES, st.text(max_size=4)), max_size=30).map("".join)


def chunked(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in pairwise(places)]


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("plain ünïcode 日本 👩‍👩‍👧", "plain ünïcode 日本 👩‍👩‍👧"),
        ("a\x1b[31mred\x1b[0m", "ared"),
        ("a\x1b[38;2;1;2;3mx\x1b[?25ly\x1b[2 qz", "axyz"),
        ("a\x9b31mb", "ab"),
        ("title\x1b]0;pwned\x07 end", "title end"),
        ("clip\x1b]52;c;cm0gLXJm\x1b\\ end", "clip end"),
        ("link \x1b]8;;http://x\x1b\\text\x1b]8;;\x1b\\!", "link text!"),
        ("8-bit\x9d0;pwned\x9c end", "8-bit end"),
        ('dcs \x1bP$q"p\x1b\\ apc \x1b_Gi=1\x1b\\ pm \x1b^x\x1b\\ sos \x1bXy\x1b\\.', "dcs  apc  pm  sos ."),
        ("a\x1b(Bb\x1b#8c\x1bcd\x1b7e\x1b=f", "abcdef"),
        ("open \x1b]0;never ends\nnext line", "open \nnext line"),
        ("broken off \x1b]0;x\x18y \x1b]0;x\x1b[1my", "broken off y y"),
        ("end \x1b[12;", "end "),
        ("end \x1b", "end "),
        ("\x1b\x1b[31mx", "x"),
        ("a\x00\x01\x07\x08\x0b\x0c\x0e\x1f\x7fb\x85c\tz\n", "a\n\nb\nc\tz\n"),
        ("a\r\nb\rc\r\r\nd", "a\nb\nc\n\nd"),
        ("a\u2028b\u2029c", "a\nb\nc"),
        ("bad \ud83d and \udc00", "bad \ufffd and \ufffd"),
        ("access\u202e\u2066txt\u2069.exe\u202c", "accesstxt.exe"),
        ("tag\U000e0068\U000e0069 zw\u200bsp \ufeffbom so\u00adft", "tag zwsp bom soft"),
        ("می\u200cخواهم ❤\ufe0f \u200fשלום", "می\u200cخواهم ❤\ufe0f \u200fשלום"),
        ("markup [red]stays[/red] \\n", "markup [red]stays[/red] \\n"),
    ],
)
def test_what_goes_and_what_stays(raw: str, clean: str) -> None:
    assert sanitize(raw) == clean


def test_a_string_that_never_ends_takes_only_so_much() -> None:
    text = "z" * (STRING_LIMIT_CHARS + 500)
    assert sanitize(f"a\x1b]0;{text}") == "a" + "z" * 502  # "0;" counts


@given(ROUGH)
def test_nothing_a_terminal_obeys_gets_through(text: str) -> None:
    clean = sanitize(text)
    for character in clean:
        assert character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs"), repr(character)
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", clean)
    assert sanitize(clean) == clean


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert sanitize(text) == text


@given(ROUGH, st.lists(st.integers(0, 10_000), max_size=12))
def test_cutting_the_stream_changes_nothing(text: str, cuts: list[int]) -> None:
    stream = StreamSanitizer()
    parts = [stream.feed(chunk) for chunk in chunked(text, cuts)]
    assert "".join(parts) + stream.flush() == sanitize(text)
    assert stream.flush() == ""


@given(ROUGH)
def test_character_by_character_changes_nothing(text: str) -> None:
    stream = StreamSanitizer()
    assert "".join(map(stream.feed, text)) + stream.flush() == sanitize(text)


@given(ROUGH)
def test_what_is_held_back_is_bounded(text: str) -> None:
    stream = StreamSanitizer()
    shown = ""
    for done, character in enumerate(text, 1):
        shown += stream.feed(character)
        # Whatever comes next, only the end of what came so far may still be missing.
        certain = sanitize(text[: max(done - STRING_LIMIT_CHARS - 4, 0)])
        assert shown.startswith(certain[:-1])


def test_ordinary_chunks_come_back_at_once() -> None:
    stream = StreamSanitizer()
    assert [
        stream.feed("Hel"),
        stream.feed("lo\n"),
        stream.feed("\x1b[1mx"),
        stream.feed("y\x1b["),
        stream.feed("mz"),
    ] == [
        "Hel",
        "lo\n",
        "x",
        "y",
        "z",
    ]


@pytest.mark.parametrize(
    ("raw", "limit", "clean"),
    [
        ("GeForce  RTX\t4090\n", 20, "GeForce RTX 4090"),
        ("\x1b[2Jevil\x07", 20, "evil"),
        ("0123456789", 10, "0123456789"),
        ("0123456789a", 10, "012345678…"),
        ("", 5, ""),
    ],
)
def test_one_line(raw: str, limit: int, clean: str) -> None:
    assert one_line(raw, limit) == clean


@given(ROUGH, st.integers(1, 40))
def test_one_line_is_one_line_and_fits(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
