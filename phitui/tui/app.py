"""The console's application: one engine, one sampler, and the screens that show them."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Iterable

from textual.app import SystemCommand
from textual.screen import Screen

from phitui.config import Config
from phitui.engine.api import Event
from phitui.engine.client import EngineClient, raise_in_loop
from phitui.errors import PhituiError
from phitui.hardware.history import History
from phitui.hardware.sampler import Sampler
from phitui.hardware.snapshot import Snapshot
from phitui.ipc.messages import Failure
from phitui.jobs.start import engine_log, start_engine
from phitui.tui.base_app import BaseApp, run_app
from phitui.tui.monitor import wants_ascii
from phitui.tui.screens.console import ConsoleScreen
from phitui.tui.screens.monitor import MonitorScreen

# Imported after the first frame, because an answer needs it and it costs tens of ms.
_LATER = "textual.widgets.markdown"


class PhituiApp(BaseApp):
    """Thin: starts and ends what runs, and hands events and readings to the screens."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._config = config
        self.engine = EngineClient(engine_log(), self._on_event, config.engine.restart_limit)
        self._sampler = Sampler(config.hardware.interval_s, self._on_snapshot_thread)
        self.console_screen = ConsoleScreen(config, self.engine)
        self._history = History()
        self.monitor = MonitorScreen(
            self._history, os.uname().nodename, readonly=False, ascii_only=wants_ascii(config.monitor.symbols)
        )
        self._starting: asyncio.Task[None] | None = None

    def get_default_screen(self) -> Screen[None]:
        return self.console_screen

    async def begin(self) -> None:
        self._sampler.start()
        self._starting = asyncio.create_task(self._start_engine())
        self._starting.add_done_callback(raise_in_loop)

    async def _start_engine(self) -> None:
        try:
            await start_engine(self.engine, self._config, self._on_event)
        except PhituiError as error:
            self._on_event(Failure.of(error))
        await asyncio.to_thread(importlib.import_module, _LATER)

    def _on_event(self, event: Event) -> None:
        if self.console_screen.is_mounted and not self._leaving:
            self.console_screen.show_event(event)

    def _on_snapshot_thread(self, snapshot: Snapshot) -> None:
        """Called from the sampler's thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._show_snapshot, snapshot)

    def _show_snapshot(self, snapshot: Snapshot) -> None:
        self._history.add(snapshot)
        if self.console_screen.is_mounted and not self._leaving:
            self.console_screen.show_snapshot(snapshot)
            self.monitor.show_snapshot(snapshot)

    def action_monitor(self) -> None:
        """Open the monitor over the console."""
        if self.screen is self.console_screen:
            if not self.is_screen_installed(self.monitor):  # else closing it would be its end
                self.install_screen(self.monitor, "monitor")
            self.push_screen(self.monitor)

    async def on_unmount(self) -> None:
        self._sampler.stop()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self.engine.stop()

    def system_commands(self) -> Iterable[SystemCommand]:
        if self.screen_stack and self.screen_stack[-1] is self.monitor:
            yield from self.monitor.system_commands()
            return
        yield SystemCommand("Monitor", "All devices, their history and processes", self.action_monitor)
        yield SystemCommand("New chat", "Forget the chat", self.console_screen.action_new_chat)
        yield SystemCommand(
            "Park", "Give the model's memory back until the next prompt", self.console_screen.action_park
        )
        yield SystemCommand("Stop", "Stop the answer", self.console_screen.action_stop)


def run(config: Config) -> int:
    """Run the console until it is left. Returns the exit code."""
    return run_app(PhituiApp(config), config)
