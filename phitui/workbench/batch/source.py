"""The rows of a batch's input that are still to be run, in the order of the file."""

from __future__ import annotations

import hashlib
from array import array
from collections import deque

from phitui.storage.journal import LineSet
from phitui.workbench.batch.lines import Line, LineReader
from phitui.workbench.batch.request import Defaults, Form, Id, Refusal, Request, parse_line, parse_text_line

# How many rows are handed over at once.
_AT_ONCE = 256
_MULTIPLIER = 0x9E3779B97F4A7C15  # Fibonacci hashing
_MASK = (1 << 64) - 1


class IdSet:
    """A set of ids in 16 to 32 bytes each, by their 64-bit hashes: that any two of 10 million different ones count as
    equal has a probability of 3 in a million. A million take 17 MB so; in Python's own set they take 82 MB, and half of
    the 5 µs each."""

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * 1024))
        self._count = 0

    def add(self, name: str | int) -> bool:
        """Whether it was not there."""
        digest = hashlib.blake2b(f"{type(name).__name__}{name}".encode(), digest_size=8).digest()
        if not self._put(int.from_bytes(digest, "little") or 1):
            return False
        self._count += 1
        if 2 * self._count > len(self._table):
            self._grow()
        return True

    def _put(self, value: int) -> bool:
        table, mask = self._table, len(self._table) - 1
        place = (value * _MULTIPLIER & _MASK) >> 32 & mask
        while table[place]:
            if table[place] == value:
                return False
            place = place + 1 & mask
        table[place] = value
        return True

    def _grow(self) -> None:
        old = self._table
        self._table = array("Q", bytes(16 * len(old)))
        for value in old:
            if value:
                self._put(value)


class RowSource:
    """Reads and judges rows. `done` are lines that are in the output already; `is_text`: a line that is no row is a
    prompt."""

    def __init__(self, reader: LineReader, defaults: Defaults, done: LineSet, is_text: bool = False) -> None:
        self._reader = reader
        self._parse = parse_text_line if is_text else parse_line
        self._defaults = defaults
        self._done = done
        self._lines: deque[Line] = deque()
        self._ids = IdSet()
        self._form: Form = "plain"
        self.unused: set[str] = set()

    def next(self) -> list[Request | Refusal]:
        """The next rows that are not done; none at the end. Not for the event loop. Raises PhituiError where the input
        cannot be read."""
        found: list[Request | Refusal] = []
        while not found:
            if not self._lines:
                self._lines.extend(self._reader.next())
            if not self._lines:
                return []
            while self._lines and len(found) < _AT_ONCE:
                row = self._judged(self._lines.popleft())
                if row.line not in self._done:
                    found.append(row)
        return found

    def _judged(self, line: Line) -> Request | Refusal:
        row = self._parse(line, self._defaults, self._form)
        self._form = row.form
        if isinstance(row, Request):
            self.unused |= row.unused
        if row.id is not None and not self._ids.add(row.id):
            return Refusal(row.line, row.id, row.form, f"the id {_shown(row.id)} was there before")
        return row


def _shown(name: Id) -> str:
    return repr(name)[:80]
