"""The memory as one bar of segments with a legend: told apart by their characters, with or without colour."""

from __future__ import annotations

from textual.content import Content

from phitui.hardware.analysis.memory_parts import MemoryParts
from phitui.tui.charts.memory_cells import LOOKS, LegendEntry, bar_cells, cells, entries

_GIB = 1024**3


def memory_bar(memory: MemoryParts, width: int, *, ascii_only: bool, mark: bool = True) -> Content:
    """The bar in `width` cells, with a mark where the limit is."""
    looks = [LOOKS[shown] for shown in bar_cells(memory, cells(memory, width), mark=mark)]
    return Content.assemble(*((look.ascii if ascii_only else look.block, look.style) for look in looks))


def legend(memory: MemoryParts, width: int, *, ascii_only: bool) -> list[Content]:
    """What the characters mean, in GiB, two entries to a row where they fit."""
    half = width // 2
    left = [_entry(entry, half - 1, ascii_only) for entry in entries(memory)]
    rows: list[Content] = []
    while left:
        row = left.pop(0)
        if left and row.cell_length < half and left[0].cell_length <= width - half:
            row = row.pad_right(half - row.cell_length) + left.pop(0)
        rows.append(row)
    return rows


def _entry(entry: LegendEntry, width: int, ascii_only: bool) -> Content:
    """Symbol and name, and the size to the right of `width` cells: the unknown by what it covers. Others have no name
    here: the figure is that of all of them."""
    look = LOOKS[entry.kind]
    label = look.label if entry.kind == "others" else entry.name or look.label
    name = Content.assemble((look.ascii if ascii_only else look.block, look.style), (f" {label}", "$text-muted"))
    amount = f"{entry.bytes / _GIB:.{1 if entry.bytes >= 10 * _GIB else 2}f}"  # four characters, up to 99.9
    return name.pad_right(max(width - name.cell_length - len(amount), 1)) + Content(amount)
