"""Opens the batch screen, and says when a file is through."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import App

from phitui.core.text import one_line
from phitui.tui.screens.console import ConsoleScreen
from phitui.workbench.workbench import Workbench

if TYPE_CHECKING:
    from phitui.tui.screens.batches import BatchScreen
    from phitui.workbench.batch.queue import BatchEntry


class BatchActions:
    """What a batch is made of is imported when the screen is opened first: most starts never need it."""

    def __init__(self, app: App[None], console: ConsoleScreen, workbench: Workbench) -> None:
        self._app = app
        self._console = console
        self._workbench = workbench
        self._screen: BatchScreen | None = None

    def open(self) -> None:
        """Open the batch screen on top of the console."""
        from phitui.tui.screens.batches import BatchScreen

        def closed(_: None) -> None:
            self._screen = None

        if self._console.to_front():
            self._screen = BatchScreen(self._workbench.batches)
            self._app.push_screen(self._screen, closed)

    def add(self, path: Path) -> None:
        """Open the batch screen with another file queued; its answers go beside it. Raises UsageError."""
        self._workbench.batches.add(path)
        self.open()

    def show(self, entry: BatchEntry) -> None:
        """A file is in another state."""
        self._tell(entry)
        if self._screen is not None:
            self._screen.show()
        elif entry.state in ("complete", "failed"):
            bad = entry.state == "failed" or entry.progress.failed > 0
            text = entry.error or f"{entry.progress.done} rows, {entry.progress.failed} failed"
            said = f"{one_line(entry.name, 60)}: {entry.state}. {one_line(text, 200)}"
            self._app.notify(said, severity="warning" if bad else "information")

    def _tell(self, entry: BatchEntry) -> None:
        """Of a file that took long a person hears elsewhere, too."""
        notices = self._console.notices
        if entry.busy:
            notices.begin(f"batch {id(entry)}")
        elif entry.state in ("complete", "failed"):
            notices.end(f"batch {id(entry)}", f"the batch {one_line(entry.name, 60)}: {entry.state}")
