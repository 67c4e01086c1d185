"""The application: one engine, one sampler, and the screens that show them."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import signal
from collections.abc import Iterable
from functools import partial
from types import FrameType
from typing import Any, ClassVar

from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from phitui.config import Config, config_dir, logs_dir, save_setting
from phitui.engine.api import Event
from phitui.engine.client import EngineClient, raise_in_loop
from phitui.errors import ExitCode, PhituiError
from phitui.hardware.sampler import Sampler
from phitui.hardware.snapshot import Snapshot
from phitui.ipc.messages import Failure
from phitui.jobs.performance import ENGINE
from phitui.jobs.start import engine_log, start_engine
from phitui.store.defects import describe_defect
from phitui.text import sanitize
from phitui.tui.hangup import leave_within_limit, watch_terminal
from phitui.tui.model_front import ModelFront
from phitui.tui.screens.console import ConsoleScreen
from phitui.tui.themes import load_all, load_theme

# Imported after the first frame: an answer needs the one, the models the other, and they cost tens of ms.
_LATER = ("textual.widgets.markdown", "phitui.jobs.model_desk")


class PhituiApp(App[None]):
    """Thin: starts and ends what runs, and hands events and readings to the console screen."""

    TITLE = "phitui"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q,ctrl+c", "quit", "Quit", key_display="^q", id="app.quit", priority=True),
        Binding("ctrl+t", "next_theme", "Theme", id="app.theme", priority=True),
    ]

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._config = config
        self.engine = EngineClient(engine_log(), self._on_event, config.engine.restart_limit)
        self._sampler = Sampler(config.hardware.interval_s, self._on_snapshot_thread, self._processes)
        self.console_screen = ConsoleScreen(config, self.engine)
        self.models = ModelFront(self, self.console_screen, self.engine, config, self._show_event, self._showing)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving = False
        self._early: list[events.Event] | None = []
        self._starting: asyncio.Task[None] | None = None
        theme = load_theme(config.theme.name, os.environ)
        self.register_theme(theme)
        self.theme = theme.name

    def get_default_screen(self) -> Screen[None]:
        return self.console_screen

    def on_mount(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._on_loop_error)
        if not self.is_headless:  # where there is no terminal, signals are for whoever runs us
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, self._on_signal)
            watch_terminal(partial(self._leave_from_outside, signal.SIGHUP))
        self._resume_only_if_suspended()
        self.call_after_refresh(self._start)  # nothing of this is needed for the first frame

    def _resume_only_if_suspended(self) -> None:
        """Textual starts its terminal mode anew at every SIGCONT. After a SIGSTOP, which it could not see, the mode is
        still on: it would take the raw mode for what it has to restore at the end, and read keys with two threads."""
        resume = signal.getsignal(signal.SIGCONT)
        if not callable(resume):  # a driver without job control, as in tests
            return

        def guarded(number: int, frame: FrameType | None) -> None:
            if getattr(self._driver, "_must_signal_resume", True) and callable(resume):
                resume(number, frame)

        signal.signal(signal.SIGCONT, guarded)

    async def on_event(self, event: events.Event) -> None:
        """Keep the keys that were typed before there was a prompt to take them."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded and self._early is not None:
            self._early.append(event)
        else:
            await super().on_event(event)

    async def _start(self) -> None:
        gc.enable()  # off since the start: see phitui.__main__
        gc.freeze()  # what the imports made stays: no collection need look at it again
        early, self._early = self._early or [], None
        for event in early:
            await super().on_event(event)
        self._sampler.start()
        self._starting = asyncio.create_task(self._start_engine())
        self._starting.add_done_callback(raise_in_loop)
        self.models.starting = self._starting

    async def _start_engine(self) -> None:
        try:
            await start_engine(self.engine, self._config, self._on_event)
        except PhituiError as error:
            self._on_event(Failure.of(error))
        for module in _LATER:
            await asyncio.to_thread(importlib.import_module, module)
        self.models.desk.refresh()

    def exit(self, *args: Any, **options: Any) -> None:
        """Leave. From here on events find no widgets that could show them."""
        self._leaving = True
        super().exit(*args, **options)

    def _on_event(self, event: Event) -> None:
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
        pid = self.engine.pid
        return {} if pid is None else {ENGINE: pid}

    def _on_snapshot_thread(self, snapshot: Snapshot) -> None:
        """Called from the sampler's thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._show_snapshot, snapshot)

    def _show_snapshot(self, snapshot: Snapshot) -> None:
        if self._showing():
            self.console_screen.show_snapshot(snapshot)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A task or callback of ours failed: better an end that says so than a screen that waits for ever."""
        error = context.get("exception")
        if isinstance(error, Exception) and not self._leaving:
            self._handle_exception(error)
        else:
            loop.default_exception_handler(context)

    def _fatal_error(self) -> None:
        """A defect ends the console with one line, its traceback in the log; Textual would print pages of it."""
        self._leaving = True
        error = self._exception or RuntimeError("unknown")
        self.panic(f"phitui: {sanitize(describe_defect(error, logs_dir()))}")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Somebody wants us gone. Not a handler of the loop's, which does not run while the loop is blocked."""
        del frame
        leave_within_limit(128 + number)
        self._leave_from_outside(number)

    def _leave_from_outside(self, number: int) -> None:
        """End as by the key, with the status a shell expects. From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(partial(self.exit, return_code=128 + number))

    async def on_unmount(self) -> None:
        self._sampler.stop()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self.models.close()
        await self.engine.stop()

    def action_models(self) -> None:
        """Open the model screen."""
        self.models.open()

    def action_next_theme(self) -> None:
        """The next theme, kept for later starts."""
        names = self._register_themes()
        place = names.index(self.theme) if self.theme in names else -1
        self._use_theme(names[(place + 1) % len(names)])

    def _use_theme(self, name: str) -> None:
        self.theme = name
        try:
            save_setting(config_dir(os.environ) / "config.toml", "theme.name", name)
        except PhituiError as error:
            self.notify(str(error), severity="warning", markup=False)
        else:
            self.notify(f"Theme {name}", timeout=2, markup=False)

    def _register_themes(self) -> list[str]:
        """Read all themes anew, so that an edited file shows; returns their names."""
        themes, errors = load_all(os.environ)
        for theme in themes:
            self.register_theme(theme)
        for error in errors:
            self.notify(str(error), severity="warning", markup=False)
        return [theme.name for theme in themes]

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        del screen  # the commands are the same on all of them
        yield SystemCommand("Quit", "Leave phitui", self.action_quit)
        yield from self.models.commands()
        yield SystemCommand("New chat", "Forget the chat", self.console_screen.action_new_chat)
        yield SystemCommand(
            "Park", "Give the model's memory back until the next prompt", self.console_screen.action_park
        )
        yield SystemCommand("Stop", "Stop the answer", self.console_screen.action_stop)
        for name in self._register_themes():
            yield SystemCommand(f"Theme: {name}", "Change the colours", partial(self._use_theme, name))


def run(config: Config) -> int:
    """Run the console until it is left. Returns the exit code."""
    app = PhituiApp(config)
    app.run(mouse=_mouse(config))
    return app.return_code if app.return_code is not None else int(ExitCode.DONE)


def _mouse(config: Config) -> bool:
    """Whether to take the mouse: over SSH a terminal's own selection is worth more."""
    if config.console.mouse == "auto":
        return "SSH_CONNECTION" not in os.environ
    return config.console.mouse == "on"
