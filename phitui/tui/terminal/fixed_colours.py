"""256 colours, which is what SSH leaves of a terminal's: each colour becomes the fixed one that looks most like it.

Rich downgrades red, green and blue each by itself to the nearest step, which makes teal or navy of a bluish grey. Its
palettes' `match` weighs the three as the eye does ("redmean", T. Riemersma, compuphase.com/cmetric.htm).
"""

from __future__ import annotations

from functools import lru_cache

from rich.color import Color as RichColor
from rich.color import ColorType
from rich.palette import Palette
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

# xterm's colours from 16 on. Those before are the terminal's own: nobody knows how they look.
_FIRST = 16
_FIXED = Palette([RichColor.from_ansi(number).get_truecolor() for number in range(_FIRST, 256)])


class FixedColours(LineFilter):
    """Textual's way to change lines after they were drawn."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        del background
        return [Segment(text, style and _fixed(style), control) for text, style, control in segments]


@lru_cache(maxsize=4096)
def _fixed(style: Style) -> Style:
    return style + Style(color=_own(style.color), bgcolor=_own(style.bgcolor))


def _own(colour: RichColor | None) -> RichColor | None:
    """The terminal's own colours, as the theme `terminal` has them, stay."""
    if colour is None or colour.type is not ColorType.TRUECOLOR:
        return colour
    return nearest(*colour.get_truecolor())


def nearest(red: int, green: int, blue: int) -> RichColor:
    """The fixed colour that looks most like this one."""
    return RichColor.from_ansi(_FIRST + _FIXED.match((red, green, blue)))
