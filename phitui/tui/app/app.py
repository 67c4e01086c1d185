"""The console's application: one engine, one sampler, and the screens that show them."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Iterable
from typing import ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from phitui.config.layers import Config
from phitui.core.errors import PhituiError
from phitui.core.ipc.messages import Failure
from phitui.core.tasks import start_task
from phitui.engine.protocol.api import Delta, Event
from phitui.hardware.history import History
from phitui.hardware.sampler import Sampler
from phitui.hardware.snapshot import Snapshot
from phitui.tui.app.base_app import BaseApp, run_app
from phitui.tui.app.batch_actions import BatchFront
from phitui.tui.app.engine_actions import EngineFront
from phitui.tui.app.model_actions import ModelFront
from phitui.tui.app.parameter_actions import ParamsFront
from phitui.tui.app.prompt_actions import PromptFront
from phitui.tui.app.session_actions import NEW_CHAT, SessionFront
from phitui.tui.app.tuning_actions import TuningFront
from phitui.tui.commands.chat import register_chat
from phitui.tui.commands.console import register_all
from phitui.tui.screens.console import ConsoleScreen
from phitui.tui.screens.monitor import MonitorScreen
from phitui.tui.terminal.display import graphs_in_ascii
from phitui.tui.terminal.notices import Notices
from phitui.tui.widgets.server_readings import server_groups, server_line
from phitui.workbench.engines import Engines
from phitui.workbench.start import engine_log, start_engine
from phitui.workbench.telemetry.hosts import HostWatch
from phitui.workbench.telemetry.performance import ENGINE, with_traffic
from phitui.workbench.telemetry.server_watch import ServerWatch

# Imported after the first frame: an answer needs the one, the models the other, and they cost tens of ms.
_LATER = ("textual.widgets.markdown", "phitui.workbench.models.library")
_TO_SCREENS = tuple(f"app.{name}" for name in ("models", "tuner", "monitor", "batches", "sessions", "parameters"))


class PhituiApp(BaseApp):
    """Thin: starts and ends what runs, and hands events and readings to the screens."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "alt+p",
            "pane('prompt')",
            "Prompt",
            show=False,
            id="app.prompt",
            priority=True,
            tooltip="To the prompt, from wherever",
        ),
        Binding(
            "alt+c",
            "pane('transcript')",
            "Transcript",
            show=False,
            id="app.transcript",
            priority=True,
            tooltip="To the transcript, from wherever",
        ),
        Binding(
            "alt+e",
            "engines",
            "Engines",
            show=False,
            id="app.engines",
            priority=True,
            tooltip="This machine's engine and those on others, and how they are",
        ),
    ]

    def __init__(self, config: Config, resume: int = NEW_CHAT) -> None:
        """`resume` is a session to begin with, NEWEST or NEW_CHAT."""
        super().__init__(config)
        self._config = config
        self.engine = Engines(engine_log(), self._on_event, config.engine.restart_limit)
        self._hosts = HostWatch(config.hosts)
        self._sampler = Sampler(
            config.hardware.interval_s, self._on_snapshot_thread, self._processes, self._hosts.latest
        )
        self.notices = Notices(self, config.console)
        self.console_screen = ConsoleScreen(config, self.engine, self.notices)
        self._server = ServerWatch(self.engine, config.hardware.interval_s)
        self.console_screen.server_groups = lambda: server_groups(self._server.figures)
        self._history = History()
        self.monitor = MonitorScreen(
            self._history,
            os.uname().nodename,
            readonly=False,
            ascii_only=graphs_in_ascii(config.monitor.symbols, config.console.symbols),
        )
        self.models = ModelFront(self, self.console_screen, self.engine, config, self._show_event, self._showing)
        self.engines = EngineFront(self, self.console_screen, self.engine, config, self._on_event)
        self.tuning = TuningFront(
            self, self.console_screen, self.engine, self.models, config, self._show_event, self._showing
        )
        self.console_screen.stand_in = lambda: self.tuning.pid
        self.tuning.batch_runs = lambda: self.batches.running
        self.tuning.engine_changes = lambda: self.engines.changing
        self.tuning.hold_batches = lambda reason: self.batches.hold(reason)
        self.tuning.configured = lambda config: self.batches.configure(config)
        self.engines.refusal = lambda: self.tuning.refusal
        self.sessions = SessionFront(self, self.console_screen, config, resume, self._showing)
        self.batches = BatchFront(self, self.console_screen, self.engine, config, self._showing)
        self.params = ParamsFront(self, self.console_screen, lambda: self.engine.loaded)
        self.prompts = PromptFront(self.console_screen, config, self._showing)
        self._starting: asyncio.Task[None] | None = None

    def get_default_screen(self) -> Screen[None]:
        return self.console_screen

    async def begin(self) -> None:
        self._sampler.start()
        self._hosts.start()
        self._server.start()
        self.sessions.start()
        self.prompts.start()
        register_all(self.console_screen.prompting.commands, self)
        register_chat(self.console_screen.prompting.commands, self)
        self._starting = start_task(self._start_engine())
        self.models.starting = self.engines.starting = self._starting

    async def _start_engine(self) -> None:
        try:
            await start_engine(self.engine, self._config, self._on_event)
        except PhituiError as error:
            self._on_event(Failure.of(error))
        for module in _LATER:
            await asyncio.to_thread(importlib.import_module, module)
        self.models.desk.refresh()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Delta):  # thousands in a second, and the chat's alone
            self._show_event(event)
            return
        self.batches.take(event)
        if not self.models.take(event):
            self._show_event(event)

    def _showing(self) -> bool:
        """Whether the widgets are there: not before the first frame, and not on the way out."""
        return self.is_running and self.console_screen.is_mounted and not self._leaving

    def _show_event(self, event: Event) -> None:
        if self._showing():
            self.console_screen.show_event(event)

    def _processes(self) -> dict[str, int]:
        """Own processes whose memory is read. Called from the sampler's thread."""
        pid = self.console_screen.computing_pid()
        return {} if pid is None else {ENGINE: pid}

    def _on_snapshot_thread(self, snapshot: Snapshot) -> None:
        """Called from the sampler's thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._show_snapshot, snapshot)

    def _show_snapshot(self, snapshot: Snapshot) -> None:
        if not self._showing():
            self._history.add(snapshot)
            return
        views = self.console_screen.show_snapshot(snapshot)
        snapshot = with_traffic(snapshot, views)
        self._history.add(snapshot)
        self.monitor.picture.engine = server_line(self._server.figures)
        self.monitor.show_snapshot(snapshot, views)
        self.tuning.tick()

    def action_monitor(self) -> None:
        """Open the monitor over the tuner, or else over the console."""
        if self.screen is self.monitor:
            return
        if self.screen is self.tuning.screen or self.console_screen.to_front():
            if not self.is_screen_installed(self.monitor):  # else closing it would be its end
                self.install_screen(self.monitor, "monitor")
            self.push_screen(self.monitor)

    async def on_unmount(self) -> None:
        self._sampler.stop()
        self._hosts.stop()
        await self._server.stop()
        await self.prompts.close()
        await self.sessions.close()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self.engines.close()
        await self.tuning.close()
        await self.models.close()
        await self.batches.close()
        await self.engine.stop()

    def warn(self, line: str) -> None:
        if self._showing():
            self.console_screen.say(line, "warn")

    def help_commands(self) -> list[tuple[str, str]]:
        return [(one.usage, one.summary) for one in self.console_screen.prompting.commands.all()]

    def action_pane(self, pane: str) -> None:
        """To a pane of the console, out of any screen on top of it; a question has to be answered first."""
        if self.console_screen.to_front():
            self.console_screen.set_focus(self.console_screen.query_one(f"#{pane}"))

    async def _check_bindings(self, key: str, priority: bool = False) -> bool:
        """As Textual's. The console's keys for screens lead there from any other one, too, unless that has the key
        itself or types with it."""
        if await super()._check_bindings(key, priority):
            return True
        if priority or self.screen is self.console_screen:
            return False
        for binding in self.console_screen._bindings.key_to_bindings.get(key, ()):
            if binding.action in _TO_SCREENS:
                return await self.run_action(binding.action)
        return False

    def action_models(self) -> None:
        """Open the model screen."""
        self.models.open()

    def action_tuner(self) -> None:
        """Open the tuner screen."""
        self.tuning.open()

    def action_engines(self) -> None:
        """Open the list of engines, unless a question is open."""
        if not self.screen.is_modal:
            self.engines.open()

    def action_sessions(self) -> None:
        """Open the list of sessions."""
        self.sessions.open()

    def action_parameters(self) -> None:
        """Open the panel of the chat's parameters."""
        self.params.open()

    def action_batches(self) -> None:
        """Open the batch screen."""
        self.batches.open()

    def system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        if isinstance(screen, MonitorScreen):
            yield from screen.system_commands()
            return
        if screen is self.tuning.screen and self.tuning.screen is not None:
            yield from self.tuning.screen.system_commands()
            return
        yield SystemCommand("Monitor", "All devices, their history and processes", self.action_monitor)
        yield from self.tuning.commands()
        yield from self.models.commands()
        yield from self.engines.commands()
        yield from self.sessions.commands()
        yield from self.batches.commands()
        yield from self.params.commands()
        yield SystemCommand("New chat", "The chat so far stays as a session", self.console_screen.action_new_chat)
        yield SystemCommand(
            "Park", "Give the model's memory back until the next prompt", self.console_screen.action_park
        )
        yield SystemCommand("Stop", "Stop the answer", self.console_screen.action_stop)


def run(config: Config, resume: int = NEW_CHAT) -> int:
    """Run the console until it is left. Returns the exit code."""
    return run_app(PhituiApp(config, resume), config)
