"""A memory's bar in cells: which part each of them shows, by a character of its own, and what stands in the legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from rich.cells import cell_len, set_cell_size

from phitui.core.text import one_line
from phitui.hardware.analysis.memory_parts import Kind, MemoryParts, Part
from phitui.tui.terminal.display import displayable

Shown = Kind | Literal["limit"]
Counts = Sequence[tuple[Kind, int]]

_CELLS_A_PART = 3
# A part keeps the cells that it has while they are wrong by no more than this: half a cell would come and go.
_KEPT_CELLS = 0.75


class PartLook(NamedTuple):
    """How a kind of part is drawn: character, character in ASCII, the theme's colour, its name in the legend."""

    block: str
    ascii: str
    style: str
    label: str


LOOKS: dict[Shown, PartLook] = {
    "weights": PartLook("█", "W", "$gauge-weights", "weights"),
    "kv": PartLook("▓", "K", "$gauge-kv", "KV"),
    "work": PartLook("▒", "+", "$gauge-work", "work"),
    "others": PartLook("░", "o", "$gauge-others", "others"),
    "unknown": PartLook("╱", "?", "$gauge-others", "not told apart"),
    "reserve": PartLook("×", "x", "$text-muted", "driver"),
    "free": PartLook("─", ".", "$gauge-free", "free"),
    "limit": PartLook("┃", "|", "$foreground", "limit"),
}
# The legend names the same entries whether or not a part is there now: a row that comes and goes moves all below it.
_ENGINE: tuple[Kind, ...] = ("weights", "kv", "work", "others")


class LegendEntry(NamedTuple):
    """A line of the legend. `name` is whose the part is, or what is not known of it; "" where its kind says it all."""

    kind: Shown
    bytes: int
    name: str = ""


def cells(memory: MemoryParts, width: int, before: Counts = ()) -> Counts:
    """How many of `width` cells each part takes: its share, rounded so that they add up. At least one, unless the bar
    is so short that this would make it false. What was drawn `before` stays where it is hardly less true."""
    total = memory.total_bytes or 1
    shares = [part.bytes * width / total for part in memory.parts]
    least = 1 if width >= _CELLS_A_PART * len(shares) else 0
    counts = [max(least, int(share)) for share in shares]
    places = range(len(counts))
    while places and sum(counts) < width:
        counts[max(places, key=lambda i: shares[i] - counts[i])] += 1
    while sum(counts) > width and max(counts) > 1:
        counts[max(places, key=lambda i: (counts[i] > 1, counts[i] - shares[i]))] -= 1
    made = [(part.kind, count) for part, count in zip(memory.parts, counts, strict=True)]
    return before if _holds(before, made, shares) else made


def _holds(before: Counts, made: Counts, shares: Sequence[float]) -> bool:
    if [kind for kind, _ in before] != [kind for kind, _ in made] or sum(n for _, n in before) != sum(
        n for _, n in made
    ):
        return False
    wrong = (abs(kept - new) for (_, kept), new in zip(before, shares, strict=True))
    allowed = (max(abs(new - share), _KEPT_CELLS) for (_, new), share in zip(made, shares, strict=True))
    return all(one <= most for one, most in zip(wrong, allowed, strict=True))


def bar_cells(memory: MemoryParts, counts: Counts, *, mark: bool = True) -> list[Shown]:
    """What each cell shows, with the `mark` where the limit is, or beside a part's only cell there; of a memory that is
    not known there is no cell."""
    row: list[Shown] = [kind for kind, count in counts for _ in range(count)]
    width = len(row)
    if row and mark and memory.limit_bytes is not None and memory.total_bytes:
        place = min(memory.limit_bytes * width // memory.total_bytes, width - 1)
        near = [at for at in (place, place + 1, place - 1) if 0 <= at < width and row.count(row[at]) > 1]
        row[near[0] if near else place] = "limit"
    return row


def entries(memory: MemoryParts) -> list[LegendEntry]:
    """The legend's lines: the parts from left to right, and the limit."""
    there = {part.kind: part for part in memory.parts}
    kinds: list[Kind] = [part.kind for part in memory.parts if part.kind != "free"]
    if "weights" in there and "unknown" not in there:
        kinds = [*_ENGINE, *(kind for kind in kinds if kind not in _ENGINE)]
    found = [_entry(there.get(kind, Part(kind, 0))) for kind in (*kinds, "free")]
    return found if memory.limit_bytes is None else [*found, LegendEntry("limit", memory.limit_bytes)]


def shortened(name: str, width: int) -> str:
    """Whose a part is in at most `width` cells: "a long name +2" with its end."""
    who, plus, more = name.rpartition(" +")
    if not more.isdigit():
        who, plus, more = name, "", ""
    room = max(width - len(plus + more), 1)
    return (who if cell_len(who) <= room else f"{set_cell_size(who, room - 1)}…") + plus + more


def _entry(part: Part) -> LegendEntry:
    return LegendEntry(part.kind, part.bytes, displayable(one_line(part.name, 40)))
