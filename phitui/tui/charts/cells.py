"""Rows of cells: text with the role that its colour comes from. Everything here is measured in terminal cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from phitui.core.text import one_line
from phitui.tui.charts.memory_cells import LOOKS
from phitui.tui.terminal.display import displayable

# Roles; `canvas` has a colour for each, besides "graph0" to "graph4". The parts of a memory are roles by their kind.
PLAIN, MUTED, VALUE, TITLE, ACCENT = "plain", "muted", "value", "title", "accent"
LIGHT, OK, HEAVY = "light", "ok", "heavy"
WARN, BAD, TRACK, MARKED, HEAD, KEY = "warn", "bad", "track", "marked", "head", "key"
ROLES = (PLAIN, MUTED, VALUE, TITLE, ACCENT, LIGHT, OK, HEAVY, WARN, BAD, TRACK, MARKED, HEAD, KEY, *LOOKS)

NOTHING = "–"

Span = tuple[str, str]
Row = list[Span]


class KeyHint(NamedTuple):
    """A key as it is shown, what it does, and the name of the key that a click on it presses, "" for none."""

    shown: str
    does: str
    key: str = ""


def clickable(row: Sequence[Span], action: str) -> Row:
    """The row with a Textual action that a click on it runs: `canvas` takes it out of the role again. No outside text
    may be in it."""
    return [(text, f"{role}@{action}") for text, role in row]


def length(row: Sequence[Span]) -> int:
    """Cells that the row takes."""
    return sum(cell_len(text) for text, _ in row)


def fit(row: Sequence[Span], width: int, role: str = PLAIN) -> Row:
    """The row cut or padded to exactly `width` cells."""
    out: Row = []
    left = width
    for text, span_role in row:
        size = cell_len(text)
        if size > left:
            text, size = set_cell_size(text, left), left
        if text:
            out.append((text, span_role))
        left -= size
        if left <= 0:
            return out
    out.append((" " * left, role))
    return out


def apart(left: Row, right: Row, width: int) -> Row:
    """`left` at the left edge, `right` at the right one; where both do not fit, `left` is cut."""
    room = max(width - length(right), 0)
    return fit([*fit(left, room), *right], width)


def outside(text: str | None, width: int) -> str:
    """Outside text in exactly `width` cells, cut with "…"."""
    shown = NOTHING if text is None else displayable(one_line(text, 400))
    if cell_len(shown) > width > 0:
        shown = set_cell_size(shown, width - 1) + "…"
    return set_cell_size(shown, width)


def name(text: str, limit: int) -> str:
    """Outside text as a label of at most `limit` cells."""
    return outside(text, limit).rstrip()


def bar(parts: Sequence[tuple[float, str]], width: int) -> Row:
    """A bar of `width` cells: each part's share of full scale in its role, the last one to half a cell; the rest is
    track."""
    row: Row = []
    used, total = 0, 0.0
    for share, role in parts[:-1]:
        total = min(total + max(share, 0.0), 1.0)
        row.append(("━" * (round(total * width) - used), role))
        used = round(total * width)
    for share, role in parts[-1:]:
        halves = round(min(total + max(share, 0.0), 1.0) * width * 2)
        row.append(("━" * (halves // 2 - used) + "╸" * (halves % 2), role))
        used = (halves + 1) // 2
    return fit([*row, ("─" * (width - used), TRACK)], width)


def rule(text: str, width: int) -> Row:
    """A title with a line behind it."""
    row: Row = [("─ ", TRACK), (text, TITLE), (" ", PLAIN)]
    return fit([*row, ("─" * max(width - length(row), 0), TRACK)], width)


def key_line(keys: Sequence[KeyHint], width: int) -> Row:
    """Keys and what each does, as many as fit whole; a click presses the key."""
    row: Row = []
    for shown, does, key in keys:
        pair: Row = [(f" {shown}", KEY), (f" {does} ", HEAD)]
        if length(row) + length(pair) > width:
            break
        row += clickable(pair, f"app.simulate_key({key!r})") if key else pair
    return fit(row, width, HEAD)
