"""A text area for text from anywhere.

It would write to the terminal whatever it holds. So controls are taken out of what comes in; all other characters are
held as they were sent, and those that show nothing are drawn as others that do neither.
"""

from __future__ import annotations

from rich.text import Text
from textual.widgets import TextArea
from textual.widgets.text_area import Edit, EditResult

from phitui.core.text import without_controls
from phitui.tui.terminal.display import drawn


class PlainArea(TextArea):
    """What is set with `text` or `load_text` has to be without controls already."""

    def edit(self, edit: Edit) -> EditResult:
        """Every insertion passes here, whether typed, pasted or completed."""
        edit.text = without_controls(edit.text)
        return super().edit(edit)

    def get_line(self, line_index: int) -> Text:
        """A line as it is drawn."""
        return Text(drawn(self.document.get_line(line_index)), end="", no_wrap=True)
