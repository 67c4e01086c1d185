"""Tables for a terminal: Markdown that can be read as it stands, and plain columns."""

from __future__ import annotations

from collections.abc import Container, Sequence

from phitui.core.text import one_line

_WIDEST = 120


def table(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """A table with its heading first: `left` columns to the left, the others, figures, to the right. Outside text in
    the cells can neither end a cell nor reach the terminal as a sequence."""
    cells = [[one_line(cell, _WIDEST).replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(cells[0]))]
    rule = ["-" * width if column < left else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    figures = range(left, len(widths))
    return [f"| {' | '.join(_padded(row, widths, figures))} |" for row in (cells[0], rule, *cells[1:])]


def columns(rows: Sequence[Sequence[str]], right: Container[int] = ()) -> list[str]:
    """Lines with the cells of a column below each other; in the columns `right`, figures, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_padded(row, widths, right)).rstrip() for row in rows]


def _padded(row: Sequence[str], widths: Sequence[int], right: Container[int]) -> list[str]:
    cells = zip(row, widths, strict=True)
    return [cell.rjust(width) if at in right else cell.ljust(width) for at, (cell, width) in enumerate(cells)]
