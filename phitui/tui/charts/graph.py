"""A figure's history as an area of braille dots, or of ASCII.

Time runs to the right, up to the right edge. A column of cells is drawn when its time is over: the figure beside the
label is the newest. A graph that moves on is repainted whole, so the more cells one has the more columns it moves at a
time: it ends at the edge, or where it is large up to two cells before it.
"""

from __future__ import annotations

import math

from phitui.hardware.history import History
from phitui.tui.charts.cells import PLAIN, Row, Span

SHADES = 5
_ROWS_OF_DOTS = 4
# Dots of the left and the right column from the bottom up (Unicode, Braille Patterns).
_LEFT = (0, 0x40, 0x44, 0x46, 0x47)
_RIGHT = (0, 0x80, 0xA0, 0xB0, 0xB8)
_BRAILLE = [[chr(0x2800 + left + right) if left + right else " " for right in _RIGHT] for left in _LEFT]
_ASCII = " .:|#"
# For so many cells a graph moves by a further column at a time, up to the most.
_CELLS_FOR_A_STEP = 250
_LONGEST_STEP = 3
# Seconds between two marks of the axis, and the cells that a mark with its label takes at least.
_AXIS_STEPS = (5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600)
_CELLS_FOR_A_MARK = 10
_NOW = "now"


class Graph:
    """One figure of one device. Keeps what it has drawn, so that a reading costs one column."""

    def __init__(self, key: str, metric: str) -> None:
        self._key = key
        self._metric = metric
        self._means: dict[int, float] = {}
        self._period = 0.0
        self._seen = -math.inf
        self._first = self._ended = 0
        self._form: tuple[object, ...] = ()
        self._levels: list[int] = []
        self._rows: list[str] = []

    def rows(
        self, history: History, size: tuple[int, int], seconds: float, full_scale: float | None, ascii_only: bool
    ) -> list[Span]:
        """`size` is width and height in cells; `seconds` is what one column of dots stands for.

        Without a `full_scale` the largest value that is shown is full scale. One span for each row from the top.
        """
        width, height = size
        newest = history.newest
        if newest is None:
            return [(" " * width, PLAIN)] * height
        across = columns_in_a_cell(ascii_only)
        cells = math.floor(newest / (seconds * across))  # those that are over
        ended = cells * across
        first = page_start(cells, width, min(1 + width * height // _CELLS_FOR_A_STEP, _LONGEST_STEP)) * across
        since = self._update(history, first, ended, seconds, newest)
        scale = full_scale or max(self._means.values(), default=0.0)
        form = (size, first, seconds, scale, ascii_only)
        if form != self._form:
            self._form, since = form, first
            self._levels = [0] * width * across
            self._rows = [" " * width] * height
        for number in range(since, ended):
            self._levels[number - first] = _level(self._means.get(number), scale, height * _ROWS_OF_DOTS)
        for cell in range((since - first) // across, (ended - first) // across):
            self._draw(cell, self._levels[cell * across : (cell + 1) * across], height)
        return [(text, _shade(height - 1 - row, height)) for row, text in enumerate(self._rows)]

    def _update(self, history: History, first: int, ended: int, seconds: float, newest: float) -> int:
        """Work out the means of the periods before `ended` since the last time, of all on the page after a change of
        scale or a seek. Returns the first of them."""
        if seconds != self._period or newest < self._seen or first < self._first:
            self._means.clear()
            since = first
        else:
            since = max(first, self._ended)
            for number in [number for number in self._means if number < first]:
                del self._means[number]
        if since < ended:
            means = history.means(self._key, self._metric, since, seconds)
            self._means.update((number, mean) for number, mean in means.items() if number < ended)
        self._period, self._seen, self._first, self._ended = seconds, newest, first, ended
        return since

    def _draw(self, cell: int, levels: list[int], height: int) -> None:
        """Put the glyphs of one column of cells into the rows, where they are other ones."""
        for row in range(height):
            base = (height - 1 - row) * _ROWS_OF_DOTS
            dots = [min(max(level - base, 0), _ROWS_OF_DOTS) for level in levels]
            glyph = _ASCII[dots[0]] if len(dots) == 1 else _BRAILLE[dots[0]][dots[1]]
            text = self._rows[row]
            if text[cell] != glyph:
                self._rows[row] = text[:cell] + glyph + text[cell + 1 :]


def columns_in_a_cell(ascii_only: bool) -> int:
    """Braille has two columns of dots in a cell."""
    return 1 if ascii_only else 2


def page_start(over: int, width: int, step: int) -> int:
    """The first cell on a page of `width` with the newest that is over at its right edge; it moves by `step` cells at a
    time."""
    return -(-over // step) * step - width


def axis(width: int, cell_seconds: float) -> str:
    """The time below a graph in `width` cells of so many seconds each: marks at round times, the newest is now."""
    marks = [" "] * width
    marks[max(width - len(_NOW), 0) :] = _NOW[:width]
    step = next((step for step in _AXIS_STEPS if step / cell_seconds >= _CELLS_FOR_A_MARK), _AXIS_STEPS[-1])
    for at in range(step, int(width * cell_seconds) + 1, step):
        label = f"╵{_ago(at)}"
        start = width - round(at / cell_seconds)
        if start >= 0 and start + len(label) < width - len(_NOW):
            marks[start : start + len(label)] = label
    return "".join(marks)


def _ago(seconds: int) -> str:
    unit, size = next(pair for pair in (("h", 3600), ("min", 60), ("s", 1)) if seconds % pair[1] == 0)
    return f"{seconds // size} {unit}"


def _level(value: float | None, scale: float, dots: int) -> int:
    """Dots of a column; a value that is known has one at least, so that 0 is not taken for missing."""
    if value is None or not math.isfinite(value):
        return 0
    share = value / scale if scale > 0 else 0.0
    return min(max(round(min(share, 1.0) * dots), 1), dots)


def _shade(from_bottom: int, height: int) -> str:
    return f"graph{from_bottom * (SHADES - 1) // max(height - 1, 1)}"


def join(rows: list[list[Span]], gap: Span) -> list[Row]:
    """Graphs of the same height side by side, with `gap` between them."""
    out: list[Row] = []
    for spans in zip(*rows, strict=True):
        row: Row = []
        for span in spans:
            row += [gap, span] if row else [span]
        out.append(row)
    return out
