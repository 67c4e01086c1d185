"""What the terminal's cells show, so that only those are written that look different.

Text that scrolls, or a graph that moves on, repaints every cell of its region, and many of them are what they were:
spaces, lines, the same figures.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# Cells of the same look that are cheaper to write again than to pass over: a move takes four bytes and more.
_GAP = 5
# One cell each in every terminal: Latin, Greek, Cyrillic, dashes, arrows, mathematics, boxes, blocks, braille.
_CERTAIN = re.compile(
    r"[ -~\u00a0-\u00ac\u00ae-\u02ff\u0370-\u0482\u048a-\u052f\u2010-\u2027\u2030-\u205e"
    r"\u2190-\u22ff\u2500-\u25ff\u2800-\u28ff]*"
)
_Cell = tuple[str, ...]


class Look(NamedTuple):
    """A style as a terminal takes it (ECMA-48, SGR). The order is that of writing: what costs most to change first."""

    attributes: str = ""
    background: str = ""
    foreground: str = ""
    link: str = ""


PLAIN = Look()


class ShownCells:
    """By row and column what was written last. A row with text whose width a terminal may see otherwise (emoji, joined
    and wide characters) is not believed: it is written whole again."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[int, _Cell]] = {}
        self._doubtful: set[int] = set()

    def forget(self) -> None:
        """Something else was written, or the terminal has another size."""
        self._rows.clear()

    def certain(self, text: str) -> bool:
        """Whether each character of `text` takes one cell in every terminal."""
        return _CERTAIN.fullmatch(text) is not None

    def doubt(self, row: int) -> None:
        """Text of uncertain width is written there."""
        self._doubtful.add(row)

    def settle(self) -> None:
        """An update has been written."""
        for row in self._doubtful:
            self._rows.pop(row, None)
        self._doubtful.clear()

    def changed(self, look: Look, row: int, column: int, text: str) -> Iterator[tuple[int, str]]:
        """The pieces of `text`, to be written at `column` in this look, that the terminal does not show yet: column and
        text of each. They count as shown from now on."""
        cells = self._rows.setdefault(row, {})
        # The colour of a space is not seen, unless it is reversed or underlined.
        blank: _Cell = (*look, " ") if look.attributes else (look.background,)
        start = end = -1
        for place, character in enumerate(text):
            cell = blank if character == " " else (*look, character)
            if cells.get(column + place) == cell:
                continue
            cells[column + place] = cell
            if start >= 0 and place - end > _GAP:
                yield column + start, text[start:end]
                start = place
            elif start < 0:
                start = place
            end = place + 1
        if start >= 0:
            yield column + start, text[start:end]
