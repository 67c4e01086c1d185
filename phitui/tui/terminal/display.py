"""What a screen can take: outside text without what the libraries that draw it cannot stand, and which characters."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from typing import NamedTuple

from phitui.config.schema import ConsoleSettings
from phitui.core.text import sanitize

_REDUCED_HZ = 4

_JOINER = "\u200d"
_NOTHING = "\u200c"  # has no width, and joins nothing
_IN_PLACE = {"\u00ad": "-", "\n": "\n"}
_joiners = re.compile(f"{_JOINER}+")


def graphs_in_ascii(graphs: str, symbols: str) -> bool:
    """Whether to draw graphs in ASCII: by the setting monitor.symbols where it says so, else as all is drawn."""
    return wants_ascii(symbols) or (graphs != "auto" and wants_ascii(graphs))


def wants_ascii(symbols: str = "auto") -> bool:
    """Whether to draw in ASCII alone: by the setting console.symbols, or because the terminal takes no UTF-8."""
    if symbols != "auto":
        return symbols == "ascii"
    terminal = sys.__stdout__  # Textual puts another in the place of sys.stdout
    return terminal is not None and (terminal.encoding or "").lower().replace("-", "") != "utf8"


def reduced_motion(motion: str) -> bool:
    """Whether nothing moves but what is new: by the setting console.motion, or because the terminal is far away."""
    return motion == "reduced" or (motion == "auto" and "SSH_CONNECTION" in os.environ)


class Pace(NamedTuple):
    """How an answer that is being made is painted: so many times a second at most, and once it has filled its room it
    scrolls so many lines at once."""

    repaint_hz: float
    scroll_lines: int


def pace_of(console: ConsoleSettings) -> Pace:
    """By the settings, slower with reduced motion."""
    hz = min(console.repaint_hz, _REDUCED_HZ) if reduced_motion(console.motion) else console.repaint_hz
    return Pace(hz, console.scroll_lines)


def displayable(text: str) -> str:
    """`text` safe to draw: sanitized, with joiners only where they join.

    A zero width joiner makes one emoji of several, or shapes Indic letters. Rich (15.0, cells.py) counts cells in two
    ways that differ where a piece of text begins with one, and then reads past its end: an answer with a stray
    joiner would end the console.
    """
    text = sanitize(text)
    if _JOINER not in text:
        return text
    return _joiners.sub(_kept, text)


def drawn(line: str) -> str:
    """A line that is edited, safe to draw: each character that must not reach the terminal has one in its place, of
    the same width in Rich's tables, so that cursor and selection stand where they should."""
    if displayable(line) == line:
        return line
    shown = "".join(one if one == _JOINER or sanitize(one) == one else _IN_PLACE.get(one, _NOTHING) for one in line)
    return _joiners.sub(lambda match: _kept(match) or _NOTHING * len(match.group()), shown)


def _kept(match: re.Match[str]) -> str:
    text, start, end = match.string, match.start(), match.end()
    joins = start > 0 and end < len(text) and _before(text[start - 1]) and _after(text[end])
    return _JOINER if joins else ""


def _before(character: str) -> bool:
    """Whether a joiner may follow: a letter or its mark, an emoji, its skin tone or its variation selector."""
    return unicodedata.category(character)[0] in "LM" or unicodedata.category(character) in ("So", "Sk")


def _after(character: str) -> bool:
    return unicodedata.category(character)[0] == "L" or unicodedata.category(character) == "So"
