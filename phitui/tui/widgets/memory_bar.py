"""The memory as one bar of segments with a legend: told apart by their characters, with or without colour."""

from __future__ import annotations

from typing import NamedTuple

from textual.content import Content

from phitui.hardware.memory_parts import Kind, MemoryParts, Part
from phitui.text import one_line
from phitui.tui.display import displayable

_GIB = 1024**3
_NAME_CELLS = 7
_CELLS_A_PART = 3


class _Look(NamedTuple):
    """How a kind of part is drawn: character, character in ASCII, the theme's colour, its name in the legend."""

    block: str
    ascii: str
    style: str
    label: str


_LOOKS: dict[Kind, _Look] = {
    "weights": _Look("█", "W", "$gauge-weights", "weights"),
    "kv": _Look("▓", "K", "$gauge-kv", "KV"),
    "work": _Look("▒", "+", "$gauge-work", "work"),
    "others": _Look("░", "o", "$gauge-others", "others"),
    "unknown": _Look("╱", "?", "$gauge-others", "not told apart"),
    "reserve": _Look("×", "x", "$text-muted", "driver"),
    "free": _Look("─", ".", "$gauge-free", "free"),
}
_LIMIT = _Look("┃", "|", "$foreground", "limit")
# The legend names the same entries whether or not a part is there now: a row that comes and goes moves all below it.
_ENGINE: tuple[Kind, ...] = ("weights", "kv", "work", "others")


def cells(memory: MemoryParts, width: int) -> list[tuple[Kind, int]]:
    """How many of `width` cells each part takes: its share, rounded so that they add up. At least one, unless the bar
    is so short that this would make it false."""
    total = memory.total_bytes or 1
    shares = [part.bytes * width / total for part in memory.parts]
    least = 1 if width >= _CELLS_A_PART * len(shares) else 0
    counts = [max(least, int(share)) for share in shares]
    places = range(len(counts))
    while places and sum(counts) < width:
        counts[max(places, key=lambda i: shares[i] - counts[i])] += 1
    while sum(counts) > width and max(counts) > 1:
        counts[max(places, key=lambda i: (counts[i] > 1, counts[i] - shares[i]))] -= 1
    return [(part.kind, count) for part, count in zip(memory.parts, counts, strict=True)]


def memory_bar(memory: MemoryParts, width: int, *, ascii_only: bool, mark: bool = True) -> Content:
    """The bar in `width` cells, with a mark where the limit is."""
    row: list[tuple[str, str]] = []
    for kind, count in cells(memory, width):
        look = _LOOKS[kind]
        row += [(look.ascii if ascii_only else look.block, look.style)] * count
    if mark and memory.limit_bytes is not None and memory.total_bytes:
        place = min(memory.limit_bytes * width // memory.total_bytes, width - 1)
        row[place : place + 1] = [(_LIMIT.ascii if ascii_only else _LIMIT.block, _LIMIT.style)]
    return Content.assemble(*row[:width])


def legend(memory: MemoryParts, width: int, *, ascii_only: bool) -> list[Content]:
    """What the characters mean, in GiB, two entries to a row where they fit."""
    half = width // 2
    entries = [_entry(look, size, half - 1, ascii_only) for look, size in _entries(memory)]
    rows: list[Content] = []
    while entries:
        row = entries.pop(0)
        if entries and row.cell_length < half and entries[0].cell_length <= width - half:
            row = row.pad_right(half - row.cell_length) + entries.pop(0)
        rows.append(row)
    return rows


def _entries(memory: MemoryParts) -> list[tuple[_Look, int]]:
    there = {part.kind: part for part in memory.parts}
    kinds: list[Kind] = [part.kind for part in memory.parts if part.kind != "free"]
    if "weights" in there and "unknown" not in there:
        kinds = [*_ENGINE, *(kind for kind in kinds if kind not in _ENGINE)]
    kinds.append("free")
    found = [(_named(kind, there.get(kind)), there[kind].bytes if kind in there else 0) for kind in kinds]
    return found if memory.limit_bytes is None else [*found, (_LIMIT, memory.limit_bytes)]


def _named(kind: Kind, part: Part | None) -> _Look:
    """Others by the largest one's name, the unknown by what it covers."""
    look = _LOOKS[kind]
    name = displayable(one_line(part.name, 40)) if part is not None else ""
    if not name:
        return look
    return look._replace(label=name if kind == "unknown" else Content(name).truncate(_NAME_CELLS, ellipsis=True).plain)


def _entry(look: _Look, size: int, width: int, ascii_only: bool) -> Content:
    """Symbol and name, and the size to the right of `width` cells."""
    symbol = look.ascii if ascii_only else look.block
    name = Content.assemble((symbol, look.style), (f" {look.label}", "$text-muted"))
    amount = f"{size / _GIB:.{1 if size >= 10 * _GIB else 2}f}"  # four characters, up to 99.9
    return name.pad_right(max(width - name.cell_length - len(amount), 1)) + Content(amount)
