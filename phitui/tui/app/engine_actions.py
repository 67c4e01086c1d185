"""Between the console and the engines: lists them, asks them how they are, and changes from one to another."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterable
from functools import partial

from textual.app import App, SystemCommand

from phitui.config.layers import Config
from phitui.config.remotes import LOCAL
from phitui.core.errors import PhituiError
from phitui.core.ipc.messages import Failure
from phitui.core.tasks import start_task
from phitui.core.text import one_line
from phitui.engine.protocol.api import Event
from phitui.tui.screens.console import ConsoleScreen
from phitui.workbench.engines import Engines, remote_settings
from phitui.workbench.start import start_local


class EngineFront:
    """One change at a time. A remote engine is asked first whether it is there: until it is, the one before stays."""

    def __init__(
        self,
        app: App[None],
        console: ConsoleScreen,
        engine: Engines,
        config: Config,
        on_event: Callable[[Event], None],
    ) -> None:
        self.starting: asyncio.Task[None] | None = None
        self.refusal: Callable[[], str] = lambda: ""  # why the engine stays for now; the app sets it
        self._app = app
        self._console = console
        self._engine = engine
        self._config = config
        self._on_event = on_event
        self._change: asyncio.Task[None] | None = None

    def commands(self) -> Iterable[SystemCommand]:
        """What the command palette offers."""
        yield SystemCommand("Engines", "This machine's and those on others, and how they are", self.open)
        for name in (LOCAL, *self._config.engines):
            if name != self._engine.name:
                about = "The engine on this machine" if name == LOCAL else self._config.engines[name].url
                shown = one_line(name, 60)
                yield SystemCommand(f"Engine: {shown}", one_line(about, 80), partial(self.switch, name))

    @property
    def known(self) -> dict[str, str]:
        """The engines by name, with their addresses; the local one has none."""
        return {LOCAL: "", **{name: one.url for name, one in self._config.engines.items()}}

    def open(self) -> None:
        """Open the list of engines."""
        dialog = importlib.import_module("phitui.tui.widgets.engine_dialog").EngineDialog  # with the first use

        def chosen(name: str | None) -> None:
            if name is not None:
                self.switch(name)

        self._app.push_screen(dialog(self._config.engines, self._engine.name, self._engine.loaded), chosen)

    def switch(self, name: str) -> None:
        """Have another engine answer."""
        if name == self._engine.name and self._engine.loaded is not None:
            self._app.notify(f"{name} answers already", markup=False)
            return
        if self.refusal():
            said = f"{self.refusal()}: {self._engine.name} stays. Wait for it, or cancel it (F3)."
            self._app.notify(said, severity="warning", markup=False)
            return
        if self._change is not None and not self._change.done():
            self._change.cancel()
        self._change = start_task(self._to(name))

    @property
    def changing(self) -> bool:
        """Whether another engine is being connected or started."""
        return self._change is not None and not self._change.done()

    async def close(self) -> None:
        """End what is under way."""
        if self._change is not None:
            self._change.cancel()
            await asyncio.gather(self._change, return_exceptions=True)

    async def _to(self, name: str) -> None:
        if self.starting is not None:
            self.starting.cancel()
            await asyncio.gather(self.starting, return_exceptions=True)
        try:
            if name == LOCAL:
                await self._to_local()
            else:
                self._console.say(f"Connecting to {name}…")
                remote = await self._engine.reach(name, remote_settings(self._config, name))
                await self._console.chat.release()
                await self._engine.connect(remote)
        except PhituiError as error:
            stays = f" {self._engine.name} stays." if self._engine.loaded is not None else ""
            self._console.say(f"{str(error).rstrip('.')}.{stays}")

    async def _to_local(self) -> None:
        await self._console.chat.release()
        self._console.engine_status.show_switching("this machine's engine")
        try:
            await start_local(self._engine, self._config, self._on_event)
        except PhituiError as error:
            loaded = self._engine.loaded
            if loaded is None:
                self._on_event(Failure.of(error))
                return
            self._console.show_event(loaded)  # the one before has not been touched
            raise
