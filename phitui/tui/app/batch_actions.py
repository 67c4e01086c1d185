"""Between the console and the batches: opens the batch screen, and says when a file is through."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import App, SystemCommand

from phitui.config.layers import Config
from phitui.core.text import one_line
from phitui.engine.protocol.api import Event
from phitui.tui.screens.console import ConsoleScreen
from phitui.workbench.engines import Engines

if TYPE_CHECKING:
    from phitui.tui.screens.batches import BatchScreen
    from phitui.workbench.batch.queue import BatchDesk, Entry


class BatchFront:
    """What it is made of is imported when the screen is opened first: most starts never need it."""

    def __init__(
        self,
        app: App[None],
        console: ConsoleScreen,
        engine: Engines,
        config: Config,
        showing: Callable[[], bool],
    ) -> None:
        self._app = app
        self._console = console
        self._engine = engine
        self._config = config
        self._showing = showing
        self._held = ""
        self._desk: BatchDesk | None = None
        self._screen: BatchScreen | None = None

    @property
    def desk(self) -> BatchDesk:
        """The queue of files."""
        if self._desk is None:
            from phitui.workbench.batch.queue import BatchDesk

            self._desk = BatchDesk(self._engine, self._config, self._changed)
            self._desk.hold(self._held)
        return self._desk

    @property
    def running(self) -> bool:
        """Whether rows are being answered, or read."""
        return self._desk is not None and any(entry.busy for entry in self._desk.entries)

    def take(self, event: Event) -> None:
        """Look at an event of the engine."""
        if self._desk is not None:
            self._desk.take(event)

    def hold(self, reason: str) -> None:
        """Begin no file while there is a reason for it; "" ends that."""
        self._held = reason
        if self._desk is not None:
            self._desk.hold(reason)

    def configure(self, config: Config) -> None:
        """Other settings hold for the files that begin from here on."""
        self._config = config
        if self._desk is not None:
            self._desk.configure(config)

    async def close(self) -> None:
        """End what runs; it can be resumed."""
        if self._desk is not None:
            await self._desk.close()

    def open(self) -> None:
        """Open the batch screen on top of the console."""
        from phitui.tui.screens.batches import BatchScreen

        def closed(_: None) -> None:
            self._screen = None

        if self._console.to_front():
            self._screen = BatchScreen(self.desk)
            self._app.push_screen(self._screen, closed)

    def add(self, path: Path) -> None:
        """Queue a file of prompts; its answers go beside it. Raises UsageError."""
        self.desk.add(path)
        if self._screen is not None:
            self._screen.show()

    def commands(self) -> Iterable[SystemCommand]:
        """What the command palette offers."""
        yield SystemCommand("Batches", "Run files of prompts while the chat goes on", self.open)

    def _changed(self, entry: Entry) -> None:
        if not self._showing():
            return
        self._tell(entry)
        if self._screen is not None:
            self._screen.show()
        elif entry.state in ("complete", "failed"):
            bad = entry.state == "failed" or entry.progress.failed > 0
            text = entry.error or f"{entry.progress.done} rows, {entry.progress.failed} failed"
            said = f"{one_line(entry.name, 60)}: {entry.state}. {one_line(text, 200)}"
            self._app.notify(said, severity="warning" if bad else "information")

    def _tell(self, entry: Entry) -> None:
        """Of a file that took long a person hears elsewhere, too."""
        notices = self._console.notices
        if entry.busy:
            notices.begin(f"batch {id(entry)}")
        elif entry.state in ("complete", "failed"):
            notices.end(f"batch {id(entry)}", f"the batch {one_line(entry.name, 60)}: {entry.state}")
