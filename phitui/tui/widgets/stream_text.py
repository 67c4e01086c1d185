"""Plain text that grows at its end. Only lines that change are painted, and only the last few are wrapped anew.

A Static repaints all of its lines at every update: for an answer of a screenful, streamed at 12 Hz, that was 40 kB/s
to the terminal and a third of a core.
"""

from __future__ import annotations

from itertools import zip_longest

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.content import Content
from textual.geometry import Region, Size
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from phitui.tui.widgets.wrapped import TAB, boundary, place_of

# A paragraph of more lines than this gives up its first ones: they do not change any more.
_OPEN_LINES = 8
# So many lines fit almost everywhere without scrolling.
_SHORT_LINES = 8


class StreamText(Widget):
    """Give it the whole text each time; it finds out what is new.

    While the text grows it takes lines in advance, `scroll_lines` at once: each time that it needs more, all that is
    above it moves, and all of that is laid out and painted anew."""

    DEFAULT_CSS = """
    StreamText { height: auto; }
    """

    def __init__(self, classes: str, scroll_lines: int = 1) -> None:
        super().__init__(classes=classes)
        self._scroll_lines = scroll_lines
        self._grows = False
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

    def show(self, text: str, grows: bool = False) -> None:
        """Show `text`, which is what was shown before and more; `grows` says that more is to come."""
        if (text, grows) == (self._text, self._grows):
            return
        before, room = self._lines, self._room
        self._text, self._grows = text, grows
        if not self._width:  # not laid out yet
            self.refresh(layout=True)
            return
        self._lines = self._wrapped(self._width)
        if self._room != room:
            self.refresh(layout=True)
            return
        pairs = zip_longest(before, self._lines)
        changed = [y for y, (old, new) in enumerate(pairs) if old != new]
        if changed:  # of the content: Textual adds the padding
            self.refresh(Region(0, changed[0], self._width, changed[-1] + 1 - changed[0]))

    @property
    def _room(self) -> int:
        """How many lines it takes. A short answer takes as many as it has, so that what follows stands right below."""
        lines, step = len(self._lines), self._scroll_lines
        return -(-lines // step) * step if self._grows and lines > _SHORT_LINES else lines

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        del container, viewport
        if width != self._width:
            self._width, self._settled = width, ""
        self._lines = self._wrapped(width)
        return self._room

    def render_line(self, y: int) -> Strip:
        style = self.rich_style
        line = set_cell_size(self._lines[y] if y < len(self._lines) else "", self._width)
        span = self.text_selection.get_span(y) if self.text_selection is not None else None
        if span is None:
            segments = [Segment(line, style)]
        else:
            start, end = boundary(line, span[0]), boundary(line, span[1] if span[1] >= 0 else len(line))
            marked = style + self.screen.get_component_rich_style("screen--selection")
            segments = [Segment(line[:start], style), Segment(line[start:end], marked), Segment(line[end:], style)]
        return Strip(segments, self._width).apply_offsets(0, y)

    def get_selection(self, selection: Selection) -> tuple[str, str]:
        """What is selected, as it was written: with its tabs, without the line ends that are the wrapping's."""
        start, end = selection
        first = place_of(self._text, self._lines, start.y, start.x) if start is not None else 0
        last = place_of(self._text, self._lines, end.y, end.x) if end is not None else len(self._text)
        return self._text[first:last], "\n"

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
    before = column % TAB
    expanded = (" " * before + text).expandtabs(TAB)[before:]
    return [line.plain for line in Content(expanded).wrap(max(width, 1))] or [""]
