"""The prompts that were sent and the draft that was not, kept in files (0600) for the next start."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from phitui.core.files import open_private, put_aside, read_small, replace_file

HISTORY, DRAFT, LOCK = "prompts.jsonl", "draft.txt", ".prompts.lock"
# Far above any honest file.
_MOST_BYTES = 64_000_000


class PromptStore:
    """Two consoles may use it at once: what both send is in the history, and of two drafts the later stays. Raises
    OSError."""

    def __init__(self, folder: Path, size: int) -> None:
        """At most `size` prompts are kept."""
        self._folder = folder
        self._size = size

    def history(self) -> list[str]:
        """The prompts, oldest first. Lines that are none are passed over."""
        return self._cut(self._lines()[0])

    def add(self, prompts: list[str]) -> Path | None:
        """Add prompts behind what is there by now. A file that has lines which are no prompts is put aside, and this
        returns where; None where all are."""
        with self._locked():
            kept, is_whole = self._lines()
            for prompt in prompts:
                if not kept or kept[-1] != prompt:
                    kept.append(prompt)
            lines = b"".join(msgspec.json.encode(_text(prompt)) + b"\n" for prompt in self._cut(kept))
            aside = None if is_whole else put_aside(self._folder / HISTORY)
            replace_file(self._folder / HISTORY, lines)
        return aside

    def _lines(self) -> tuple[list[str], bool]:
        """All that are prompts, and whether all are."""
        data = _read(self._folder / HISTORY)
        found, is_whole = [], len(data) < _MOST_BYTES
        for line in data.splitlines():
            try:
                found.append(msgspec.json.decode(line, type=str))
            except (msgspec.DecodeError, UnicodeDecodeError):
                is_whole = False
        return found, is_whole

    def _cut(self, prompts: list[str]) -> list[str]:
        return prompts[max(len(prompts) - self._size, 0) :] if self._size else []

    def draft(self) -> str:
        """The draft that was written last, "" where there is none."""
        return _read(self._folder / DRAFT).decode("utf-8", "replace")

    def keep_draft(self, text: str) -> None:
        """Keep a draft in the place of the one before; an empty one is none."""
        path = self._folder / DRAFT
        if text.strip():
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_file(path, _text(text).encode("utf-8"))
        else:
            path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = open_private(self._folder / LOCK, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _text(text: str) -> str:
    """Lone surrogates are no UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _read(path: Path) -> bytes:
    try:
        return read_small(path, _MOST_BYTES)
    except FileNotFoundError:
        return b""
