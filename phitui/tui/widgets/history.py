"""Earlier prompts, to walk through with the arrow keys."""

from __future__ import annotations


class PromptHistory:
    """Entries, oldest first, and a place among them. Past the newest entry stands the draft."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: list[str] = []
        self._place = 0
        self._draft = ""

    def remember(self, older: list[str]) -> None:
        """Prompts of earlier starts, oldest first, before those of this one."""
        kept = older[max(len(older) + len(self._entries) - self._size, 0) :]
        self._entries[:0] = kept
        self._place += len(kept)

    def add(self, prompt: str) -> None:
        """Remember a prompt; one equal to the newest is not kept twice. The place goes back to the draft."""
        if not self._entries or self._entries[-1] != prompt:
            self._entries.append(prompt)
            del self._entries[: max(len(self._entries) - self._size, 0)]
        self._place = len(self._entries)
        self._draft = ""

    def older(self, current: str) -> str | None:
        """The entry before this place; None at the oldest. `current` is kept when it is the draft."""
        if self._place == 0:
            return None
        if self._place == len(self._entries):
            self._draft = current
        self._place -= 1
        return self._entries[self._place]

    def newer(self) -> str | None:
        """The entry after this place, in the end the draft; None at the draft."""
        if self._place == len(self._entries):
            return None
        self._place += 1
        return self._draft if self._place == len(self._entries) else self._entries[self._place]
