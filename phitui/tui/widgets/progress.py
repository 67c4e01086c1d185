"""A line that shows how far a long piece of work is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from phitui.core.ipc.messages import Progress
from phitui.core.text import one_line
from phitui.tui.terminal.display import displayable
from phitui.workbench.batch.progress import clock

if TYPE_CHECKING:
    from textual.widgets import ProgressBar

# Before that a rate says nothing.
_RATE_S = 1.5


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
        self._step = ""  # what is done now, since when, and how much was done by then
        self._since, self._from = 0.0, 0

    def compose(self) -> ComposeResult:
        yield Static("", markup=False)

    def show(self, progress: Progress) -> None:
        """Show a step of the work; a total that is not known moves the bar to and fro."""
        from textual.widgets import ProgressBar  # not before the first frame: most starts have no long work

        self.display = True
        self.query_one(Static).update(Content(amount(progress, self._left_s(progress))))
        if self._bar is None:
            self._bar = ProgressBar(show_eta=False, show_percentage=True)
            self.mount(self._bar)
        self._bar.update(total=progress.total or None, progress=progress.done)

    def _left_s(self, progress: Progress) -> float | None:
        """Seconds until this step is done, at the rate since it began; None where that is not known."""
        now = time.monotonic()
        if progress.text != self._step:
            self._step, self._since, self._from = progress.text, now, progress.done
        came, took = progress.done - self._from, now - self._since
        if not progress.total or progress.stage == "measure" or came <= 0 or took < _RATE_S:
            return None
        return (progress.total - progress.done) * took / came

    def done(self) -> None:
        """The work is over."""
        self.display = False


def amount(progress: Progress, left_s: float | None = None) -> str:
    """The work, how long it still takes, and how much of it is done, e.g. "fetching … · ~0:07 left · 12.0
    of 92.9 MB"."""
    text = displayable(one_line(progress.text, 200))
    if not progress.total:
        return text
    if left_s is not None:
        text += f" · ~{clock(left_s)} left"
    if progress.unit == "bytes":
        return f"{text} · {progress.done / 1e6:.1f} of {progress.total / 1e6:.1f} MB"
    return f"{text} · {progress.done} of {progress.total} {progress.unit}"
