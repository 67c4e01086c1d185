"""A line that shows how far a long piece of work is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from phitui.core.ipc.messages import Progress
from phitui.core.text import one_line
from phitui.tui.terminal.display import displayable

if TYPE_CHECKING:
    from textual.widgets import ProgressBar


class ProgressLine(Horizontal):
    """Hidden while nothing is under way."""

    DEFAULT_CSS = """
    ProgressLine {
        height: 1;
        margin: 0 2;
        display: none;
        & > Static { width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; color: $text-muted; }
        ProgressBar { width: auto; Bar { width: 24; } }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._bar: ProgressBar | None = None

    def compose(self) -> ComposeResult:
        yield Static("", markup=False)

    def show(self, progress: Progress) -> None:
        """Show a step of the work; a total that is not known moves the bar to and fro."""
        from textual.widgets import ProgressBar  # not before the first frame: most starts have no long work

        self.display = True
        self.query_one(Static).update(Content(amount(progress)))
        if self._bar is None:
            self._bar = ProgressBar(show_eta=False, show_percentage=True)
            self.mount(self._bar)
        self._bar.update(total=progress.total or None, progress=progress.done)

    def done(self) -> None:
        """The work is over."""
        self.display = False


def amount(progress: Progress) -> str:
    """The work and how much of it is done, e.g. "fetching … · 12.0 of 92.9 MB"."""
    text = displayable(one_line(progress.text, 200))
    if not progress.total:
        return text
    if progress.unit == "bytes":
        return f"{text} · {progress.done / 1e6:.1f} of {progress.total / 1e6:.1f} MB"
    return f"{text} · {progress.done} of {progress.total} {progress.unit}"
