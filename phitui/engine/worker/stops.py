"""Stop strings in text that comes in pieces. Pure."""

from __future__ import annotations

from collections.abc import Sequence


class StopFinder:
    """Finds the first of some strings in text as it comes. They may begin in one piece and end in another: text is held
    back only as long as it could be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """The text that is certain to stand before any stop string. Nothing once one was found."""
        if self.found:
            return ""
        text = self._held + text
        begins = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if begins:
            self.found, self._held = True, ""
            return text[: min(begins)]
        kept = max((_beginning(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def flush(self) -> str:
        """What was held back, at the end of the answer."""
        text, self._held = self._held, ""
        return text


def _beginning(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
