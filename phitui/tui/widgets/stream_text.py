"""Plain text that grows at its end. Only lines that change are painted, and only the last paragraph is wrapped anew.

A Static repaints all of its lines at every update: for an answer of a screenful, streamed at 12 Hz, that was 40 kB/s
to the terminal and a third of a core.
"""

from __future__ import annotations

from rich.segment import Segment
from textual.content import Content
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget


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
        # The text up to the last line end, and how many lines it makes: they do not change while text is added.
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
            kept = [*kept, *_wrap(new[:-1], width)]
            self._settled, self._settled_lines = self._text[:end], len(kept)
        return [*kept, *_wrap(self._text[end:], width)]


def _wrap(text: str, width: int) -> list[str]:
    lines = Content(text.expandtabs(4)).wrap(max(width, 1))
    return [line.plain for line in lines] or [""]
