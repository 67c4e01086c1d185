"""Finds words within a chat: where they stand, and what stands around them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from phitui.jobs.exchanges import Exchange
from phitui.tui.display import displayable

# Of what stands before and after a match in the line that tells of it.
AROUND_CHARS = 40


class Match(NamedTuple):
    """`start` counts characters of the prompt, or where `in_answer` of the answer, as they are displayed."""

    exchange: Exchange
    in_answer: bool
    start: int
    end: int

    @property
    def text(self) -> str:
        """The text that it stands in."""
        return displayable(self.exchange.text if self.in_answer else self.exchange.prompt)

    def around(self) -> tuple[str, str, str]:
        """What stands before it, itself, and what stands after it, each on one line."""
        text = self.text
        before, after = text[max(self.start - AROUND_CHARS, 0) : self.start], text[self.end : self.end + AROUND_CHARS]
        return _flat(before), _flat(text[self.start : self.end]), _flat(after)


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def matches(exchanges: Sequence[Exchange], words: str) -> list[Match]:
    """All places with `words`, in the order of the chat, whatever their case."""
    if not words.strip():
        return []
    pattern = re.compile(re.escape(words), re.IGNORECASE)
    return [
        Match(exchange, in_answer, found.start(), found.end())
        for exchange in exchanges
        for in_answer, text in ((False, exchange.prompt), (True, exchange.text))
        for found in pattern.finditer(displayable(text))
    ]


def line_of(text: str, place: int, width: int) -> int:
    """About how many lines of `width` cells stand before a place in a text."""
    before = text[:place].split("\n")
    return sum(len(line) // max(width, 1) + 1 for line in before[:-1]) + len(before[-1]) // max(width, 1)
