"""Paints rows of cells, and of a new picture only the cells that are different."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import chain
from typing import ClassVar

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style
from textual.color import Color
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from phitui.tui.charts.cells import PLAIN, ROLES, Row, length
from phitui.tui.charts.graph import SHADES
from phitui.tui.charts.memory_cells import LOOKS

# Cells between two changes that are cheaper to write again than to jump over.
_GAP = 4
_TO_THE_END = 10_000
_TO_ASCII = str.maketrans("–…━╸─│·°×≤↑↓●▶φ▲▼⏸−←→┤┬└┊○◆█▓▒░╱┃≈╵", "-~=--|| x<^v*> ^v=-<>+++:o@WK+o?|~'")


class Canvas(Widget):
    """A picture of exactly as many rows as it is high, made by `draw(width, height)`; `show` makes the next one. What
    is `clickable` in it runs its action."""

    ALLOW_SELECT = False  # two clicks would select all of it
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"canvas--{role}" for role in (*ROLES, "low", "high")}
    DEFAULT_CSS = """
    Canvas {
        width: 1fr;
        height: 1fr;
        .canvas--plain { color: $foreground; }
        .canvas--muted { color: $text-muted; }
        .canvas--value { color: $foreground; }
        .canvas--title { color: $primary; text-style: bold; }
        .canvas--accent { color: $accent; }
        .canvas--light { color: $gauge-light; }
        .canvas--heavy { color: $gauge-heavy; }
        .canvas--ok { color: $gauge-ok; }
        .canvas--warn { color: $gauge-warn; }
        .canvas--bad { color: $gauge-bad; }
        .canvas--track { color: $gauge-track; }
        .canvas--marked { color: $background; background: $primary; }
        .canvas--head { color: $foreground; background: $panel; }
        .canvas--key { color: $accent; background: $panel; text-style: bold; }
        .canvas--low { color: $secondary; }
        .canvas--high { color: $primary; }
    """
    DEFAULT_CSS += "".join(f".canvas--{kind} {{ color: {look.style}; }}\n" for kind, look in LOOKS.items()) + "}\n"

    def __init__(self, draw: Callable[[int, int], list[Row]], ascii_only: bool = False) -> None:
        super().__init__()
        self._draw = draw
        self._ascii = ascii_only
        self._rows: list[Row] = []
        self._drawn_for = Size(0, 0)
        self._styles: dict[str, Style] = {}

    def show(self) -> None:
        """The next picture. What is the same as before is not painted: a monitor of one CPU sends 0.2 kB/s so, and
        19 kB/s where all of it is painted."""
        before, drawn_for = self._rows, self._drawn_for
        self._update()
        if drawn_for != self._drawn_for:
            self.refresh()
            return
        regions = [
            Region(start, y, end - start, 1)
            for y, (old, new) in enumerate(zip(before, self._rows, strict=True))
            if old != new
            for start, end in changed(old, new)
        ]
        if regions:
            self.refresh(*regions)

    def _update(self) -> None:
        self._drawn_for = self.size
        rows = self._draw(self.size.width, self.size.height)
        if self._ascii:
            rows = [[(_plain_ascii(text), role) for text, role in row] for row in rows]
        self._rows = rows

    def text(self) -> str:
        """The picture without colours."""
        return "\n".join("".join(text for text, _ in row).rstrip() for row in self._rows)

    def svg(self, rows: list[Row], title: str) -> str:
        """Other rows than those that are shown, as a picture in the colours of the theme."""
        width = max(map(length, rows), default=1)
        paper = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
        lines = [[*(Segment(text, self._style(role)) for text, role in row), Segment.line()] for row in rows]
        paper.print(Segments(chain.from_iterable(lines)))
        return paper.export_svg(title=title)

    def render_line(self, y: int) -> Strip:
        if self._drawn_for != self.size:  # the first frame, and each that a new size makes, are whole at once
            self._update()
        if y >= len(self._rows):
            return Strip.blank(self.size.width, self._style(PLAIN))
        segments = [Segment(text, self._style(role)) for text, role in self._rows[y]]
        return Strip(segments).adjust_cell_length(self.size.width, self._style(PLAIN))

    def notify_style_update(self) -> None:
        """The theme has changed."""
        super().notify_style_update()
        self._styles.clear()

    def _style(self, role: str) -> Style:
        style = self._styles.get(role)
        if style is None:
            name, _, action = role.partition("@")
            style = self._shade(name) or self.get_component_rich_style(f"canvas--{name}")
            style = self._styles[role] = style + Style.from_meta({"@click": action}) if action else style
        return style

    def _shade(self, role: str) -> Style | None:
        """The colour of a graph's row: between that of low values and that of high ones."""
        if not role.startswith("graph"):
            return None
        low = self.get_component_styles("canvas--low")
        high = self.get_component_styles("canvas--high")
        share = int(role[5:]) / (SHADES - 1)
        if low.color.ansi is not None or high.color.ansi is not None:  # the terminal's own colours cannot be mixed
            return self.get_component_rich_style("canvas--low" if share < 0.5 else "canvas--high")
        ground: Style = self.get_component_rich_style("canvas--low")
        mixed: Color = low.color.blend(high.color, share)
        return ground + Style(color=mixed.rich_color)


def changed(old: Row, new: Row) -> list[tuple[int, int]]:
    """The cells in which two rows differ, as start and end; changes that lie close together are one."""
    if not all(_single(text) for row in (old, new) for text, _ in row):
        return [(0, _TO_THE_END)]  # characters of two cells, or of none: places cannot be counted
    if [len(text) for text, _ in old] != [len(text) for text, _ in new]:  # as where a bar has grown: cell by cell
        old, new = _by_cell(old), _by_cell(new)
    spans: list[tuple[int, int]] = []
    x = 0
    for (before, old_role), (after, role) in zip(old, new, strict=False):
        if before != after or old_role != role:
            for at, (one, other) in enumerate(zip(before, after, strict=True), x):
                if one == other and old_role == role:
                    continue
                if spans and at - spans[-1][1] <= _GAP:
                    spans[-1] = (spans[-1][0], at + 1)
                else:
                    spans.append((at, at + 1))
        x += len(after)
    return spans


def _by_cell(row: Row) -> Row:
    return [(character, role) for text, role in row for character in text]


def _single(text: str) -> bool:
    """Whether each character takes one cell."""
    return text.isascii() or cell_len(text) == len(text)


def _plain_ascii(text: str) -> str:
    if text.isascii():
        return text
    size = cell_len(text)  # of some characters two cells, of marks none
    return text.translate(_TO_ASCII).encode("ascii", "replace").decode().ljust(size)[:size]
