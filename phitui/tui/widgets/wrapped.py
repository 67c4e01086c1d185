"""From the rows of a wrapped text back to the text: what is selected on the screen is copied as it was written."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import get_character_cell_size

TAB = 4
_JOINER = "\u200d"


def place_of(text: str, rows: Sequence[str], row: int, column: int) -> int:
    """Where in `text` the character `column` of a row stands. Wrapping makes spaces of tabs, and drops the spaces
    between two rows of a paragraph."""
    if row >= len(rows):
        return len(text)
    place = _Place(text)
    for line in rows[:row]:
        place.over(line)
        place.to_next_row()
    place.over(rows[row][:column])
    return place.at


def boundary(line: str, column: int) -> int:
    """The nearest place at or before `column` where a line can be cut: not before what joins or has no width."""
    column = min(column, len(line))
    while 0 < column < len(line) and (line[column - 1] == _JOINER or not get_character_cell_size(line[column])):
        column -= 1
    return column


class _Place:
    """A place in a text, `column` characters behind the last line end with tabs as spaces."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0
        self._column = 0
        self._in_tab = 0  # spaces of a tab that are behind

    def over(self, shown: str) -> None:
        """Past what is shown of a row."""
        for character in shown:
            here = self._text[self.at : self.at + 1]
            if here == "\t" and character == " ":
                self._in_tab += 1
                if self._in_tab == TAB - self._column % TAB:
                    self._step()
            elif here == character:
                self._step()

    def to_next_row(self) -> None:
        """Past the line end, or the spaces that were dropped where a paragraph was broken."""
        while self._text[self.at : self.at + 1] in (" ", "\t"):
            self._step()
        if self._text[self.at : self.at + 1] == "\n":
            self.at, self._column, self._in_tab = self.at + 1, 0, 0

    def _step(self) -> None:
        self._column += TAB - self._column % TAB if self._text[self.at] == "\t" else 1
        self.at, self._in_tab = self.at + 1, 0
