"""Finds words within a chat: where they stand, and what stands around them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from phitui.tui.terminal.display import displayable
from phitui.workbench.chat.exchanges import Exchange

# Of what stands before and after a match in the line that tells of it.
AROUND_CHARS = 40
# So many places are enough, and so many characters are looked through in a few milliseconds.
MOST = 5_000
STEP_CHARS = 200_000


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
        """What stands before it from a word's beginning on, itself, and what stands after it, each on one line."""
        text, start = self.text, max(self.start - AROUND_CHARS, 0)
        before, after = text[start : self.start], text[self.end : self.end + AROUND_CHARS]
        if start and not text[start - 1].isspace():  # in the middle of a word, which in some scripts is all there is
            before = re.sub(r"^\S+\s+", "", before)
        return _flat(before), _flat(text[self.start : self.end]), _flat(after)


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


class Search:
    """The places with some words in a chat, whatever their case. What has been looked through is not looked through
    again until it changes."""

    def __init__(self, words: str) -> None:
        self.words = words
        self.searched_chars = 0
        self._pattern = re.compile(re.escape(words), re.IGNORECASE) if words.strip() else None
        self._found: dict[Exchange, tuple[int, list[Match]]] = {}  # with how long the answer was then
        self._count = 0

    def narrowed(self, words: str) -> Search:
        """The search for other words. Where these go on, what has nothing of the shorter ones need not be looked at."""
        search = Search(words)
        if self._pattern is not None and words.startswith(self.words):
            search._found = {one: found for one, found in self._found.items() if not found[1]}
        return search

    def work(self, exchanges: Sequence[Exchange]) -> Iterator[int]:
        """Look through what is new, from the end of the chat on, until `MOST` places are found. Stops for whoever has
        something else to do after each `STEP_CHARS` or a little more."""
        step = 0
        for exchange in reversed(exchanges):
            size, before = self._found.get(exchange, (-1, []))
            if size == len(exchange.text) or self._pattern is None:
                continue
            if self.full:
                return
            if step >= STEP_CHARS:
                yield step
                step = 0
            found = list(self._matches(self._pattern, exchange))
            self._found[exchange] = (len(exchange.text), found)
            self._count += len(found) - len(before)
            step += len(exchange.prompt) + len(exchange.text)
            self.searched_chars += len(exchange.prompt) + len(exchange.text)

    @property
    def full(self) -> bool:
        """Whether there are so many places that the rest of the chat is not looked through."""
        return self._count >= MOST

    def matches(self, exchanges: Sequence[Exchange]) -> list[Match]:
        """All that were found, in the order of the chat."""
        return [match for one in exchanges if one in self._found for match in self._found[one][1]]

    def _matches(self, pattern: re.Pattern[str], exchange: Exchange) -> Iterator[Match]:
        for in_answer, text in ((False, exchange.prompt), (True, exchange.text)):
            for found in islice(pattern.finditer(displayable(text)), MOST):
                yield Match(exchange, in_answer, found.start(), found.end())


def line_of(text: str, place: int, width: int) -> int:
    """About how many lines of `width` cells stand before a place in a text."""
    before = text[:place].split("\n")
    return sum(len(line) // max(width, 1) + 1 for line in before[:-1]) + len(before[-1]) // max(width, 1)
