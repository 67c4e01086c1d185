"""Plain text that grows at its end. Only lines that change are painted, and only the last few are wrapped anew.

A Static repaints all of its lines at every update: for an answer of a screenful, streamed at 12 Hz, that was 40 kB/s
to the terminal and a third of a core.
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.content import Content
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

# A paragraph of more lines than this gives up its first ones: they do not change any more.
_OPEN_LINES = 8
_TAB = 4


class StreamText(Widget):
    """Give it the whole text each time; it finds out what is new."""

    DEFAULT_CSS = """
    StreamText { height: auto; }
    """

    def __init__(self, classes: str) -> None:
        super().__init__(classes=classes)
        self._text = ""
        self._width = 0
        self._lines: list[str] = []
        # The text whose lines do not change while text is added, and how many lines it makes.
        self._settled = ""
        self._settled_lines = 0

    @property
    def text(self) -> str:
        """All that is shown."""
        return self._text

    def show(self, text: str) -> None:
        """Show `text`, which is what was shown before and more."""
        if text == self._text:
            return
        before, self._text = self._lines, text
        if not self._width:  # not laid out yet
            self.refresh(layout=True)
            return
        self._lines = self._wrapped(self._width)
        if len(self._lines) != len(before):
            self.refresh(layout=True)
            return
        same = next((y for y, pair in enumerate(zip(before, self._lines, strict=True)) if pair[0] != pair[1]), 0)
        gutter = self.gutter
        self.refresh(Region(gutter.left, gutter.top + same, self._width, len(self._lines) - same))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        del container, viewport
        if width != self._width:
            self._width, self._settled = width, ""
        self._lines = self._wrapped(width)
        return len(self._lines)

    def render_line(self, y: int) -> Strip:
        style = self.rich_style
        line = self._lines[y] if y < len(self._lines) else ""
        return Strip([Segment(line, style)]).adjust_cell_length(self._width, style)

    def _wrapped(self, width: int) -> list[str]:
        if not self._settled or not self._text.startswith(self._settled):
            self._settled, self._settled_lines = "", 0
        kept = self._lines[: self._settled_lines]
        end = self._text.rfind("\n") + 1
        new = self._text[len(self._settled) : end]
        if new:
            kept = [*kept, *_wrap(new[:-1], width, self._column)]
            self._settled, self._settled_lines = self._text[:end], len(kept)
        start = max(end, len(self._settled))
        tail = self._text[start:]
        lines = _wrap(tail, width, self._column)
        if len(lines) > _OPEN_LINES:
            count, length = _certain(tail, lines[:-2], width)
            self._settled, self._settled_lines = self._text[: start + length], len(kept) + count
        return [*kept, *lines]

    @property
    def _column(self) -> int:
        """Where the open text begins, in characters since the last place where a tab stop is for certain."""
        return len(self._settled) - 1 - max(self._settled.rfind("\n"), self._settled.rfind("\t"))


def _certain(text: str, lines: list[str], width: int) -> tuple[int, int]:
    """How many of the lines that `text` begins with do not change whatever comes later, and how many characters they
    take with the space after them. A line ends for certain at a single space after a word that is in it as a whole."""
    count = place = 0
    sure = (0, 0)
    for line in lines:
        words = line.rstrip(" ")
        if "\t" in text or not words or words[0] == " " or not text.startswith(words, place):
            break
        whole = " " in words or place == sure[1]
        place, count = place + len(words), count + 1
        if text.startswith(" ", place) and not text.startswith("  ", place):
            place += 1
            if whole and cell_len(words.rpartition(" ")[2]) < width:
                sure = (count, place)
    return sure


def _wrap(text: str, width: int, column: int) -> list[str]:
    """The lines of `text`, whose first character stands `column` behind a tab stop."""
    before = column % _TAB
    expanded = (" " * before + text).expandtabs(_TAB)[before:]
    return [line.plain for line in Content(expanded).wrap(max(width, 1))] or [""]
