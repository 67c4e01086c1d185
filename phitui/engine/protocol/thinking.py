"""What a reasoning model thinks before it answers, told from its answer in text as it comes. Pure.

Many models write it between tags at the beginning of what they say, and many servers pass that on as it is. Where the
chat template itself has opened the tag, only the closing one comes: what stood before it was thought, and `Split.moved`
says so. A tag anywhere else, as in an answer about such tags, is text.
"""

from __future__ import annotations

from typing import NamedTuple

# <think>: DeepSeek-R1, Qwen3, Phi-4-reasoning and most others; [THINK]: Magistral.
TAGS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
)
_OPENING, _UNOPENED = TAGS[0]


class Split(NamedTuple):
    """What more there is of both. `moved`: all text that came before this was thought."""

    thinking: str = ""
    text: str = ""
    moved: bool = False


class ThinkSplitter:
    """Takes an answer's text piece by piece. What may be the beginning of a tag is held back until it is known."""

    def __init__(self) -> None:
        self._held = ""
        self._closer = ""  # what ends the thinking, while there is some
        self._begun = False  # whether it is known how the answer begins
        self._blank = False  # blank lines between thinking and answer belong to neither
        self._settled = False  # whether no closing tag without an opening one may come any more
        self._line_start = True  # whether the text so far ends where a line begins

    def feed(self, piece: str) -> Split:
        """What is certain by now."""
        text, self._held = self._held + piece, ""
        if self._closer:
            return self._think(text)
        return self._say(text) if self._begun else self._begin(text)

    def flush(self) -> Split:
        """What was held back, at the end of the answer."""
        text, self._held = self._held, ""
        return Split(text, "") if self._closer else Split("", text)

    def _begin(self, text: str) -> Split:
        start = text.lstrip()
        for opener, closer in TAGS:
            if start.startswith(opener):
                self._begun = self._settled = True
                self._closer = closer
                return self._think(start[len(opener) :])
        if any(opener.startswith(start) for opener, _ in TAGS):
            self._held = text
            return Split()
        self._begun = True
        return self._say(text)

    def _think(self, text: str) -> Split:
        thinking, closed, rest = text.partition(self._closer)
        if not closed:
            return Split(self._without_half(text, self._closer))
        self._closer, self._blank = "", True
        return Split(thinking, self._say(rest).text)

    def _say(self, text: str) -> Split:
        if self._blank:
            text = text.lstrip()
            self._blank = not text
        if self._settled:
            return Split("", text)
        closed, opened = text.find(_UNOPENED), text.find(_OPENING)
        if closed < 0 and opened < 0:
            text = self._without_half(text, _UNOPENED, _OPENING)
            self._line_start = text.endswith("\n") if text else self._line_start
            return Split("", text)
        self._settled = True
        if 0 <= opened < closed or closed < 0 or not self._begins_line(text, closed):
            return Split("", text)
        rest = text[closed + len(_UNOPENED) :].lstrip()
        self._blank = not rest
        return Split(text[:closed], rest, moved=True)

    def _begins_line(self, text: str, at: int) -> bool:
        return text[:at].endswith("\n") or (at == 0 and self._line_start)

    def _without_half(self, text: str, *tags: str) -> str:
        """The text but for the beginning of a tag at its end, which is held back."""
        kept = max(_beginning(text, tag) for tag in tags)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def _beginning(text: str, tag: str) -> int:
    """How many characters at the end of `text` are the beginning of `tag`."""
    longest = min(len(text), len(tag) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(tag[:size])), 0)


def split_thinking(text: str) -> Split:
    """The thinking and the answer of a whole text."""
    splitter = ThinkSplitter()
    thinking = said = ""
    for part in (splitter.feed(text), splitter.flush()):
        if part.moved:
            thinking, said = thinking + said, ""
        thinking, said = thinking + part.thinking, said + part.text
    return Split(thinking, said)
