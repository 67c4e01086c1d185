"""A chart in cells: curves in braille dots or ASCII, marks over them, axes with a few round labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from phitui.tui.charts.cells import ACCENT, BAD, MUTED, PLAIN, TITLE, TRACK, Row, fit

# The role of a curve: its own colour, apart from those of marks.
CURVE = "high"
_FRAME_ROWS = 3  # title, axis, labels
_ROWS_FOR_A_LABEL = 2
_CELLS_FOR_A_LABEL = 9
# Bits of a braille cell's dots by column and by row from the bottom (Unicode, Braille Patterns).
_DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))


class Mark(NamedTuple):
    """A glyph of one cell at a point."""

    x: float
    y: float
    glyph: str
    role: str


class Guide(NamedTuple):
    """A straight line at `at` with its name on it."""

    at: float
    label: str


@dataclass(frozen=True)
class Plot:
    """What is drawn. `curve` gives y for an x, None while there is none; `level` is a horizontal line, `upright` a
    vertical one; `y_text` makes the label of a round value."""

    title: str
    x_most: float
    y_most: float
    y_text: Callable[[float], str]
    curve: Callable[[float], float] | None = None
    marks: tuple[Mark, ...] = ()
    level: Guide | None = None
    upright: Guide | None = None


class Grid:
    """Cells of a chart's inside, later ones over earlier ones. x and y run from 0 to their most."""

    def __init__(self, width: int, height: int, x_most: float, y_most: float) -> None:
        self.width, self.height = width, height
        self._x_most, self._y_most = x_most, y_most
        self._cells = [[(" ", PLAIN)] * width for _ in range(height)]

    def column(self, x: float, per_cell: int = 1) -> int:
        """The column of `x`, `per_cell` of them in a cell."""
        return _place(x / self._x_most, self.width * per_cell)

    def row(self, y: float, per_cell: int = 1) -> int:
        """The row of `y` from the bottom."""
        return _place(y / self._y_most, self.height * per_cell)

    def put(self, column: int, row_from_bottom: int, glyph: str, role: str) -> None:
        if 0 <= column < self.width and 0 <= row_from_bottom < self.height:
            self._cells[self.height - 1 - row_from_bottom][column] = (glyph, role)

    def write(self, column: int, row_from_bottom: int, text: str, role: str) -> None:
        """Text from a cell on, moved to the left where it would not fit."""
        start = max(min(column, self.width - len(text)), 0)
        for offset, character in enumerate(text):
            self.put(start + offset, row_from_bottom, character, role)

    def rows(self) -> list[Row]:
        """From the top, neighbours of one role together."""
        return [
            [("".join(glyph for glyph, _ in cells), role) for role, cells in groupby(line, key=lambda cell: cell[1])]
            for line in self._cells
        ]

    def curve(self, y_of: Callable[[float], float], ascii_only: bool) -> None:
        """Draw a function of x; what lies above the chart is cut."""
        across, up = (1, 1) if ascii_only else (2, 4)
        dots: dict[tuple[int, int], int] = {}
        before: int | None = None
        for column in range(self.width * across):
            y = y_of(self._x_most * (column + 0.5) / (self.width * across))
            if not math.isfinite(y) or y > self._y_most:
                before = None
                continue
            row = self.row(max(y, 0.0), up)
            # A steep piece is drawn through, so that no gaps are in it.
            for each in _between(before, row):
                cell = (column // across, each // up)
                dots[cell] = dots.get(cell, 0) | (_DOTS[column % across][each % up] if up > 1 else 1)
            before = row
        for (x, row), bits in dots.items():
            self.put(x, row, "." if ascii_only else chr(0x2800 + bits), CURVE)


def _place(share: float, count: int) -> int:
    return min(max(int(share * count), 0), count - 1)


def _between(before: int | None, row: int) -> range:
    if before is None or abs(row - before) <= 1:
        return range(row, row + 1)
    return range(before + 1, row + 1) if row > before else range(row, before)


def draw(plot: Plot, width: int, height: int, ascii_only: bool) -> list[Row]:
    """The chart in exactly `width` × `height` cells."""
    inside_rows = height - _FRAME_ROWS
    if inside_rows < 2 or width < 24:
        return [fit([(plot.title, TITLE)], width), *[fit([], width)] * (height - 1)][:height]
    steps = ticks(plot.y_most, max(inside_rows // _ROWS_FOR_A_LABEL, 1))
    texts = [plot.y_text(value) for value in steps]
    margin = max(map(len, texts))
    grid = Grid(width - margin - 2, inside_rows, plot.x_most, plot.y_most)
    _fill(grid, plot, ascii_only)
    at = {grid.row(value): text for value, text in zip(steps, texts, strict=True)}
    rows = [fit([(" " + plot.title, TITLE)], width)]
    for number, cells in enumerate(grid.rows()):
        text = at.get(inside_rows - 1 - number, "")
        rows.append(fit([(f"{text:>{margin}} ", MUTED), ("┤" if text else "│", TRACK), *cells], width))
    return [*rows, *_below(grid, plot, margin, width)]


def _fill(grid: Grid, plot: Plot, ascii_only: bool) -> None:
    if plot.upright is not None:
        for row in range(grid.height):
            grid.put(grid.column(plot.upright.at), row, "┊", ACCENT)
    if plot.level is not None:
        row = grid.row(plot.level.at)
        grid.write(0, row, "─" * grid.width, BAD)
    if plot.curve is not None:
        grid.curve(plot.curve, ascii_only)
    if plot.level is not None:
        grid.write(1, grid.row(plot.level.at), f" {plot.level.label} ", BAD)
    if plot.upright is not None:
        column = grid.column(plot.upright.at)
        text = plot.upright.label
        left = column + 1 + len(text) > grid.width
        start = column - len(text) if left else column + 1
        grid.write(start, _free_row(grid, plot, range(start, start + len(text))), text, ACCENT)
    for mark in plot.marks:
        if 0 <= mark.x <= plot.x_most:
            grid.put(grid.column(mark.x), grid.row(mark.y), mark.glyph, mark.role)


def _free_row(grid: Grid, plot: Plot, columns: range) -> int:
    """Where a label in these columns hides nothing; above the lowest row: there are the marks of what has no figure."""
    taken = {grid.row(mark.y) for mark in plot.marks if grid.column(mark.x) in columns}
    if plot.level is not None:
        taken.add(grid.row(plot.level.at))
    return next((row for row in range(1, grid.height) if row not in taken), 1)


def _below(grid: Grid, plot: Plot, margin: int, width: int) -> list[Row]:
    """The x axis and its labels."""
    line, labels = list("─" * grid.width), [" "] * (grid.width + 1)
    for value in ticks(plot.x_most, max(grid.width // _CELLS_FOR_A_LABEL, 1)):
        column, text = grid.column(value), f"{value:g}"
        line[column] = "┬"
        start = min(max(column + 1 - len(text) // 2, 0), len(labels) - len(text))
        if "".join(labels[max(start - 1, 0) : start + len(text) + 1]).strip() == "":
            labels[start : start + len(text)] = text
    return [
        fit([(" " * (margin + 1), MUTED), ("└" + "".join(line), TRACK)], width),
        fit([(" " * (margin + 1), MUTED), ("".join(labels), MUTED)], width),
    ]


def ticks(most: float, about: int) -> list[float]:
    """Round values from 0 to `most`, about so many steps of 1, 2 or 5 times a power of ten."""
    if not most > 0 or not math.isfinite(most):
        return [0.0]
    raw = most / max(about, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= raw * 0.999)
    return [number * step for number in range(int(most / step * 1.0001) + 1)]
