"""A table that follows its end until it is scrolled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from phitui.tui.charts.cells import MUTED, Row, fit, name

_WIDEST = 22

Cells = list[tuple[str, str]]  # text and role, one for each column


class Column(NamedTuple):
    """A width of 0 takes what is left."""

    title: str
    width: int
    right: bool = True


class Scroll:
    """Which of more rows than fit are shown: the last ones, until somebody scrolls up."""

    def __init__(self) -> None:
        self._first: int | None = None  # None: at the end
        self._count = self._room = 0

    def window(self, count: int, room: int) -> range:
        """The rows to show."""
        self._count, self._room = count, room
        last = max(count - room, 0)
        if self._first is not None and self._first >= last:
            self._first = None
        first = last if self._first is None else self._first
        return range(first, min(first + room, count))

    def move(self, by: int) -> None:
        """By so many rows, down where it is above 0."""
        last = max(self._count - self._room, 0)
        first = last if self._first is None else self._first
        wanted = min(max(first + by, 0), last)
        self._first = None if wanted == last else wanted


def table_rows(columns: Sequence[Column], lines: Sequence[Cells], scroll: Scroll, width: int, height: int) -> list[Row]:
    """Heads and lines in exactly `width` × `height` cells."""
    widths = _widths(columns, width)
    room = max(height - 1, 0)
    rows = [_row([(column.title, MUTED) for column in columns], columns, widths, width)]
    rows += [_row(lines[number], columns, widths, width) for number in scroll.window(len(lines), room)]
    return [*rows, *[fit([], width)] * (height - len(rows))][:height]


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    rest = width - len(columns) - sum(column.width for column in columns)
    return [column.width or max(min(rest, _WIDEST), 6) for column in columns]


def _row(cells: Cells, columns: Sequence[Column], widths: list[int], width: int) -> Row:
    row: Row = []
    for (text, role), column, size in zip(cells, columns, widths, strict=True):
        text = name(text, size)
        row.append((" " + (text.rjust(size) if column.right else text.ljust(size)), role))
    return fit(row, width)
