"""Control tokens in texts: where a template has put them, and how content is kept from having any.

A chat template makes one text of contents and control tokens. To tell the two apart afterwards, each place of a content
at which a control token could begin has a stand-in while the template runs: a character that is in no content, and that
becomes the right one again when the control tokens of the text, which now are all the template's, have been found.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import chain

# Characters that no text has (Unicode's noncharacters): they may stand for others while a template runs.
STAND_INS = tuple(map(chr, range(0xFDD0, 0xFDF0)))
# How the marks of chats look in the tokenizers of the Hub: <|user|>, <｜User｜>; <think>, <start_of_turn>, [INST].
_TURN = re.compile(r"<[|｜][^<>\s]*[|｜]>")
_OTHER = re.compile(r"</?[^\s<>/]+>|\[/?[A-Z_]+\]")
# Some tokenizers have a token for an HTML tag: that is text.
_HTML = re.compile(
    r"</?(a|b|blockquote|br|code|div|em|h[1-6]|i|img|li|ol|p|pre|span|strong|su[bp]|t[dhr]|u|ul|table|t(body|head))>"
)


def is_turn_mark(token: str) -> bool:
    """Whether a token looks like the mark of a turn, as <|user|> does."""
    return _TURN.fullmatch(token) is not None


def is_mark(token: str) -> bool:
    """Whether a token looks like a mark of any kind, as <think> does, and not like text."""
    other = _OTHER.fullmatch(token) is not None and not _HTML.fullmatch(token)
    return other or is_turn_mark(token)


class Marks:
    """The control tokens of one tokenizer, as the strings that they are in a text."""

    def __init__(self, tokens: Collection[str]) -> None:
        self._tokens = frozenset(tokens)
        self._lengths = sorted({len(token) for token in tokens}, reverse=True)
        first = "".join(re.escape(one) for one in sorted({token[0] for token in tokens}))
        self._first = re.compile(f"[{first}]" if first else "(?!)")
        self._beginnings = {token[:cut] for token in tokens for cut in range(1, len(token))}
        self._ends = {token[cut:] for token in tokens for cut in range(1, len(token))}

    def find(self, text: str) -> Iterator[tuple[int, str]]:
        """The tokens in a text with their places, as tokenizers find them: the leftmost, and of those the longest."""
        place = 0
        while (found := self._first.search(text, place)) is not None:
            place = found.start()
            token = self._at(text, place)
            if token:
                yield place, token
            place += len(token) or 1

    def _at(self, text: str, place: int) -> str:
        parts = (text[place : place + length] for length in self._lengths)
        return next((part for part in parts if part in self._tokens), "")

    def hidden(self, contents: Sequence[str], shown: Sequence[Collection[str]]) -> tuple[list[str], dict[int, str]]:
        """The contents with stand-ins, and the table for `str.translate` that takes these back. `shown` has for each
        content the tokens that are left in it."""
        used = set().union(*contents)
        free = (one for one in chain(STAND_INS, map(chr, range(0xF0000, 0x110000))) if one not in used)
        stand_ins: dict[str, str] = {}
        hidden = []
        for content, left in zip(contents, shown, strict=True):
            risky = self._risky(content, left)
            letters = list(content) if risky else [content]
            for place in risky:
                if content[place] not in stand_ins:
                    stand_ins[content[place]] = next(free)
                letters[place] = stand_ins[content[place]]
            hidden.append("".join(letters))
        return hidden, {ord(stand_in): one for one, stand_in in stand_ins.items()}

    def _risky(self, content: str, left: Collection[str]) -> set[int]:
        """Places where a token begins; and where one could begin or end with the help of what the template has beside
        the content, also where that trims it."""
        places = {found.start() for found in self._first.finditer(content)}
        longest = self._lengths[0] if self._lengths else 0
        ends = {len(content), len(content.rstrip())}
        risky = {place for place in places if self._at(content, place) not in {"", *left}}
        for end in ends:
            late = (place for place in places if end - longest < place < end)
            risky |= {place for place in late if content[place:end] in self._beginnings}
        for start in {0, len(content) - len(content.lstrip())}:
            if any(content[start : start + length] in self._ends for length in range(1, longest)):
                risky.add(start)
        return risky
