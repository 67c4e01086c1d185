"""Lists of things: a table where a person looks at it, tab-separated lines in a pipe, or a JSON array."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from typing import Any

from phitui.cli.output import columns_of, styled, write
from phitui.core.text import one_line

_LONGEST = 300
_LEAST_CELLS = 6
_GAP = "  "


def is_for_a_person() -> bool:
    """Whether stdout is a terminal, where `write_table` is for; else `write_lines`."""
    return sys.stdout is not None and sys.stdout.isatty()


def write_json(rows: Sequence[dict[str, Any]]) -> None:
    """One array on one line, with the texts as they are; on a terminal in ASCII, so that none of them is obeyed."""
    write(json.dumps(rows, ensure_ascii=is_for_a_person()) + "\n")


def write_lines(rows: Sequence[Sequence[str]]) -> None:
    """A line for each row, its fields between tabs: other people's text in one can draw no column of its own."""
    write("".join("\t".join(one_line(field, _LONGEST) for field in row) + "\n" for row in rows))


def write_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> None:
    """Columns as wide as what is in them, cut where the terminal ends; those in `right`, figures, to the right.
    Nothing where there are no rows."""
    if rows:
        head, *lines = _table([header, *rows], right, columns_of(sys.stdout))
        write("".join(line + "\n" for line in (styled(head, "bold"), *lines)))


def _table(rows: Sequence[Sequence[str]], right: Collection[int], width: int) -> list[str]:
    from rich.cells import cell_len, set_cell_size  # 15 ms that a pipe does without

    def cell(text: str, cells: int, at: int) -> str:
        if cell_len(text) > cells:
            text = set_cell_size(text, cells - 1).rstrip() + "…"
        padding = " " * (cells - cell_len(text))
        return padding + text if at in right else text + padding

    clean = [[one_line(field, _LONGEST) for field in row] for row in rows]
    widths = _fitted([max(map(cell_len, column)) for column in zip(*clean, strict=True)], width)
    return [_GAP.join(cell(text, widths[at], at) for at, text in enumerate(row)).rstrip() for row in clean]


def _fitted(widths: list[int], most: int) -> list[int]:
    """These widths, the widest ones made narrower until all fit into `most` cells, or none is worth looking at."""
    widths = list(widths)
    while sum(widths) + len(_GAP) * (len(widths) - 1) > most and max(widths) > _LEAST_CELLS:
        widths[widths.index(max(widths))] -= 1
    return widths
