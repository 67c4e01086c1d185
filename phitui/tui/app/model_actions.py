"""Between the console and the models: opens the model screen, asks before it switches, brings news to the chat."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from textual.app import App, SystemCommand

from phitui.config.layers import Config
from phitui.core.errors import PhituiError
from phitui.core.text import one_line
from phitui.engine.protocol.api import Event, Loaded
from phitui.engine.protocol.interface import Engine
from phitui.tui.screens.console import ConsoleScreen

if TYPE_CHECKING:
    from phitui.tui.screens.models import ModelsScreen
    from phitui.workbench.models.inventory import ModelRow
    from phitui.workbench.models.library import ModelDesk


class ModelFront:
    """`show_event` brings an event of the engine to the screen; `showing` tells whether there is still a screen to show
    anything on; `starting` is the console's own start, which a switch
    ends where it has not ended yet. What it is made of is imported when it is first needed, after the first frame."""

    def __init__(
        self,
        app: App[None],
        console: ConsoleScreen,
        engine: Engine,
        config: Config,
        show_event: Callable[[Event], None],
        showing: Callable[[], bool],
    ) -> None:
        self.starting: asyncio.Task[None] | None = None
        self._app = app
        self._console = console
        self._engine = engine
        self._config = config
        self._show_event = show_event
        self._showing = showing
        self._desk: ModelDesk | None = None
        self._screen: ModelsScreen | None = None

    @property
    def desk(self) -> ModelDesk:
        """The models and what is being done with them."""
        if self._desk is None:
            from phitui.workbench.models.library import ModelDesk

            self._desk = ModelDesk(
                self._engine, self._config, self._console.chat, self._on_change, self._show_event, self._say
            )
        return self._desk

    def take(self, event: Event) -> bool:
        """Look at an event of the engine; True for one that the screen is not to have."""
        if self._desk is None:
            return False
        if isinstance(event, Loaded):
            self._desk.refresh()
        return self._desk.switching.take(event)

    async def close(self) -> None:
        """End what is under way."""
        if self._desk is not None:
            await self._desk.close()

    def open(self) -> None:
        """Open the model screen on top of the console."""
        from phitui.tui.screens.models import ModelsScreen  # most starts never need it

        def closed(_: None) -> None:
            self._screen = None

        if self._console.to_front():
            self._screen = ModelsScreen(self.desk, self.switch)
            self._app.push_screen(self._screen, closed)

    def switch(self, row: ModelRow) -> None:
        """Have the engine load another model, after a question where that stops an answer. Raises UsageError where it
        cannot be loaded."""
        from phitui.tui.widgets.dialogs import Confirm

        self.desk.check_switch(row)
        if not self._console.chat.answering:
            self._begin(row)
            return

        def decided(yes: bool | None) -> None:
            if yes:
                self._try(self._begin, row)

        name = one_line(row.name, 60)
        question = f"An answer is being made. Switching to {name} stops it; the text so far stays."
        self._app.push_screen(Confirm(question, "stop it and switch"), decided)

    def commands(self) -> Iterable[SystemCommand]:
        """What the command palette offers. The models are as they were when the store was read last."""
        yield SystemCommand("Models", "See, switch, pull, verify and remove models", self.open)
        for row in self.desk.rows:
            if row.ready and not row.loaded:
                switch = partial(self._try, self.switch, row)
                yield SystemCommand(f"Switch to model: {row.name}", "Another model answers from here on", switch)
        yield SystemCommand(
            "Model at the start: automatic", "Later starts take Phi-3 Mini where it is here", self.desk.keep_automatic
        )

    def _begin(self, row: ModelRow) -> None:
        self.desk.switch(row, self.starting)
        self._console.engine_status.show_switching(row.title or row.name)
        if self._screen is not None and self._app.screen is self._screen:
            self._screen.dismiss()

    def _on_change(self) -> None:
        """Rows, progress or an outcome are different."""
        if self._showing():
            self._console.engine_status.show_work(self.desk.work)
            if self._screen is not None:
                self._screen.show()

    def _say(self, text: str) -> None:
        if self._showing():
            self._console.say(text)

    def _try(self, deed: Callable[[ModelRow], None], row: ModelRow) -> None:
        """Do it, or say why it cannot be done."""
        try:
            deed(row)
        except PhituiError as error:
            self._app.notify(str(error), severity="warning", markup=False)
