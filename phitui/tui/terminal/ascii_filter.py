"""All screens in ASCII alone, for a terminal that takes nothing else: each cell is translated on its way out."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.segment import Segment
from textual.filter import LineFilter

if TYPE_CHECKING:
    from textual.color import Color

# What phitui and Textual's widgets draw with. Whatever is not here becomes its letter without accents, else "?".
_SIGNS = {
    **dict.fromkeys("─━╌┄┈═╸╺╴╶▔▁⎯▂", "-"),
    **dict.fromkeys("│┃║▌▐▎▏▕▊▋▍▉⎸⎹╷╵╹╻", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯╔╗╚╝╠╣╦╩╬┏┓┗┛┣┫┳┻╋▛▜▙▟▖▗▘▝", "+"),
    **dict.fromkeys("█▇▆▅▄▀■▮", "#"),
    **dict.fromkeys("░▒▓", ":"),
    **dict.fromkeys("•●∙○◦⭘", "*"),
    **dict.fromkeys("▸▶→›»⏵", ">"),
    **dict.fromkeys("◂◀←‹«", "<"),
    **dict.fromkeys("↑▲⏶", "^"),
    **dict.fromkeys("↓▼⏷▾", "v"),
    **dict.fromkeys("–—−", "-"),
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("‘’‚", "'"),
    "·": "|", "…": "~", "×": "x", "≈": "~", "≤": "<", "≥": ">", "°": "'", "φ": "o", "✓": "v", "✗": "x", "⏎": "<",
}  # fmt: skip


@lru_cache(maxsize=4096)
def to_ascii(text: str) -> str:
    """`text` in ASCII, as many cells wide as before."""
    if text.isascii():
        return text
    width = cell_len(text)
    line = "".join(map(_sign, text))
    return line if len(line) == width else line[:width].ljust(width, "?")


def _sign(character: str) -> str:
    if character.isascii():
        return character
    if character in _SIGNS:
        return _SIGNS[character]
    if 0x2800 < ord(character) <= 0x28FF:  # dots of a graph
        return ":"
    letter = unicodedata.normalize("NFKD", character)[0]
    cells = cell_len(character)
    return letter if letter.isascii() and letter.isprintable() and cells == 1 else "?" * cells


class AsciiFilter(LineFilter):
    """Textual's way to change lines after they were drawn."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        del background
        return [Segment(to_ascii(text), style, control) for text, style, control in segments]
