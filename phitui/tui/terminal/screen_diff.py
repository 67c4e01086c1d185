"""Partial repaints in few bytes: over a slow SSH link they are what a screen costs.

Textual writes a changed piece of a row from the left edge of its widget on, and opens and closes the whole style for
each segment (about 40 bytes in true colour). Here only cells that look different from what is shown are written, and of
the style what is different from the cells written before.
"""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING

from rich.color import ColorSystem
from textual._compositor import ChopsUpdate, CompositorUpdate

from phitui.tui.terminal.shown_cells import PLAIN, Look, ShownCells

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.segment import Segment
    from rich.style import Style
    from textual.strip import Strip


_SYSTEMS = {"standard": ColorSystem.STANDARD, "256": ColorSystem.EIGHT_BIT}


class DiffUpdate(CompositorUpdate):
    """Stands for `update` and is written in fewer bytes; shows the same. `shown` is what the terminal shows so far."""

    def __init__(self, update: ChopsUpdate, shown: ShownCells) -> None:
        self._update = update
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._update.__rich_console__(console, options)

    def render_segments(self, console: Console) -> str:
        """The terminal sequences. They begin and end in the plain style.

        Where each piece stands is known, so they can be written in any order: those of one style together.
        """
        out: list[str] = []
        look, row, column = PLAIN, -1, -1
        for wanted, y, x, segment in sorted(self._pieces(console.color_system), key=itemgetter(0, 1, 2)):
            if not wanted.link and self._shown.certain(segment.text):
                for place, text in self._shown.changed(wanted, y, x, segment.text):
                    out += [_move(row, column, place, y), _change(look, wanted), text]
                    look, row, column = wanted, y, place + len(text)
                continue
            self._shown.doubt(y)
            out += [_move(row, column, x, y), _change(look, wanted)]
            if wanted.link and segment.style:
                out.append(segment.style.render(segment.text))  # with its own sequences around the text
                look = PLAIN
            else:
                out.append(segment.text)
                look = wanted
            row = column = -1  # how far the terminal has gone is not certain
        self._shown.settle()
        return "".join([*out, _change(look, PLAIN)])

    def _pieces(self, colors: str | None) -> Iterator[tuple[Look, int, int, Segment]]:
        update = self._update
        for y, x1, x2 in update.spans:
            for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if strip is not None and x < x2 and end > x1:
                    for column, segment in _within(strip, x, x1, min(x2, end)):
                        yield _seen(segment.style, colors) if segment.style else PLAIN, y, column, segment


def _within(strip: Strip, x: int, start: int, end: int) -> Iterator[tuple[int, Segment]]:
    """The segments of a strip that begins at `x`, as far as they lie from `start` to before `end`."""
    for segment in strip:
        size = segment.cell_length
        if x >= end:
            return
        if x + size > start:
            at, piece = x, segment
            if x < start:
                at, piece = start, segment.split_cells(start - x)[1]
            if x + size > end:
                piece = piece.split_cells(end - at)[0]
            yield at, piece
        x += size


def _move(row: int, column: int, x: int, y: int) -> str:
    if y == row and x == column:
        return ""
    if y == row and x > column:
        return f"\x1b[{x - column}C"
    return f"\x1b[{y + 1};{x + 1}H"


def _change(old: Look, new: Look) -> str:
    """From one look to the other: only what differs, unless something has to be switched off."""
    if old == new:
        return ""
    if new == PLAIN or new.link:
        return "\x1b[0m" if old != PLAIN else ""
    ends = old.attributes != new.attributes or (old.foreground and not new.foreground)
    if ends or (old.background and not new.background):
        codes = ["0" if old != PLAIN else "", *new]
    else:
        codes = [part for part, before in zip(new, old, strict=True) if part != before]
    return f"\x1b[{';'.join(code for code in codes if code)}m"


def _seen(style: Style, colors: str | None) -> Look:
    """What is noted beside a style, such as where in a text it stands, is not seen: the same look for every line."""
    return _look(style.clear_meta_and_links() if style._meta and not style.link else style, colors)


@lru_cache(maxsize=1024)
def _look(style: Style, colors: str | None) -> Look:
    """The parts of `style`; those of a link are left to Rich."""
    if style.link:
        return Look(link=style.link)
    system = _SYSTEMS.get(colors or "", ColorSystem.TRUECOLOR)
    foreground = style.color.downgrade(system).get_ansi_codes(foreground=True) if style.color else ()
    background = style.bgcolor.downgrade(system).get_ansi_codes(foreground=False) if style.bgcolor else ()
    whole = style.render("x", color_system=system)
    codes = whole[2 : whole.index("m")].split(";") if whole.startswith("\x1b[") else []
    attributes = codes[: len(codes) - len(foreground) - len(background)]
    return Look(";".join(attributes), ";".join(background), ";".join(foreground))
