"""256 colours, which is what SSH leaves of a terminal's: each colour becomes the fixed one that looks most like it.

Rich takes the nearest step of red, green and blue each by itself, which makes teal or navy of a bluish grey. Here what
is nearest is measured in OKLab, where equal distances look equal (B. Ottosson, "A perceptual color space for image
processing", 2020).
"""

from __future__ import annotations

from functools import lru_cache

from rich.color import Color as RichColor
from rich.color import ColorType
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

_Lab = tuple[float, float, float]
_STEPS = (0, 95, 135, 175, 215, 255)
# xterm's colours 16 to 231 and its greys 232 to 255. The 16 before are the terminal's own: nobody knows how they look.
_FIXED = [(r, g, b) for r in _STEPS for g in _STEPS for b in _STEPS] + [(8 + 10 * n,) * 3 for n in range(24)]
# A wrong hue is worse than a wrong brightness: so a grey stays one.
_HUE_WEIGHT = 2.0


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


@lru_cache(maxsize=4096)
def nearest(red: int, green: int, blue: int) -> RichColor:
    """The fixed colour that looks most like this one."""
    lightness, a, b = _lab((red, green, blue))

    def distance(lab: _Lab) -> float:
        return (lab[0] - lightness) ** 2 + _HUE_WEIGHT * ((lab[1] - a) ** 2 + (lab[2] - b) ** 2)

    labs = _labs()
    return RichColor.from_ansi(16 + min(range(len(labs)), key=lambda place: distance(labs[place])))


@lru_cache(maxsize=1)
def _labs() -> list[_Lab]:
    return [_lab(colour) for colour in _FIXED]


def _lab(colour: tuple[int, ...]) -> _Lab:
    """OKLab of sRGB, by the matrices of its author."""
    r, g, b = ((c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4) for c in (part / 255 for part in colour))
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    middle = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )
