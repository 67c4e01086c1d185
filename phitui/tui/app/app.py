"""The console's application: one engine, one sampler, and the screens that show them."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from phitui.config.layers import Config, home
from phitui.core.tasks import start_task
from phitui.storage.prompts import PromptStore
from phitui.tui.app.base_app import BaseApp, run_app
from phitui.tui.app.batch_actions import BatchActions
from phitui.tui.app.console_front import ConsoleFront
from phitui.tui.app.engine_actions import EngineActions
from phitui.tui.app.interrupting import Interrupts
from phitui.tui.app.model_actions import ModelActions
from phitui.tui.app.parameter_actions import ParameterActions
from phitui.tui.app.session_actions import NEW_CHAT, SessionActions
from phitui.tui.app.tuning_actions import TuningActions
from phitui.tui.commands.chat import register_chat
from phitui.tui.commands.console import register_console
from phitui.tui.commands.navigation import Place
from phitui.tui.keys.remap import keys_for, told
from phitui.tui.screens.console import ConsoleScreen
from phitui.tui.screens.monitor import MonitorScreen
from phitui.tui.terminal.display import graphs_in_ascii
from phitui.tui.terminal.notices import Notices
from phitui.tui.widgets.prompt import Prompt
from phitui.tui.widgets.welcome import SAMPLES
from phitui.workbench.chat.prompt_history import PromptKeeper
from phitui.workbench.workbench import Workbench

if TYPE_CHECKING:
    from phitui.workbench.models.inventory import ModelRow

# Imported after the first frame: an answer needs the one, the models the other, and they cost tens of ms.
_LATER = ("phitui.tui.widgets.answer_markdown", "phitui.workbench.models.library")
# Where there are no earlier prompts, the arrow leads to these.
_TO_TRY = [*reversed(SAMPLES)]


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
            tooltip="To the prompt, from any screen",
        ),
        Binding(
            "alt+c",
            "pane('transcript')",
            "Chat",
            show=False,
            id="app.transcript",
            priority=True,
            tooltip="To the chat, from any screen",
        ),
        Binding(
            "alt+e",
            "open('engines')",
            "Engines",
            show=False,
            id="app.engines",
            priority=True,
            tooltip="Engines: this machine or a server computes the answers",
        ),
    ]

    def __init__(self, config: Config, resume: int = NEW_CHAT) -> None:
        """`resume` is a session to begin with, NEWEST or NEW_CHAT."""
        super().__init__(config)
        self.workbench = workbench = Workbench(config)
        self.notices = Notices(self, config.console)
        self.console_screen = console = ConsoleScreen(config, workbench, self.notices)
        self.copying = console.copying
        self.monitor = MonitorScreen(
            workbench.telemetry.history,
            os.uname().nodename,
            readonly=False,
            ascii_only=graphs_in_ascii(config.monitor.symbols, config.console.symbols),
        )
        self.models = ModelActions(self, console, workbench)
        self.engines = EngineActions(self, workbench)
        self.tuning = TuningActions(self, console, workbench)
        self.sessions = SessionActions(self, console, workbench, resume, self._showing)
        self.batches = BatchActions(self, console, workbench)
        self.parameters = ParameterActions(self, console, workbench)
        self._interrupts = Interrupts(self, workbench)
        self._prompts = PromptKeeper(PromptStore(home(), config.console.history_size), self.warn)
        self._keeps_prompts = config.console.keep_prompts
        workbench.subscribe(
            ConsoleFront(self._showing, workbench, console, self.monitor, self.models, self.tuning, self.batches)
        )
        self._later: asyncio.Task[None] | None = None

    def get_default_screen(self) -> Screen[None]:
        return self.console_screen

    async def begin(self) -> None:
        self.workbench.telemetry.start()
        self.sessions.start()
        self.register_commands()
        self.workbench.start_engine()
        self._later = start_task(self._begin_later())

    def register_commands(self) -> None:
        """Have the prompt know the slash commands."""
        register_console(self.console_screen.prompting.commands, self)
        register_chat(self.console_screen.prompting.commands, self)

    async def _begin_later(self) -> None:
        if self._keeps_prompts:
            await self._recall_prompts()
        elif self._showing():
            self.console_screen.query_one(Prompt).remember(_TO_TRY, "")
        await self.sessions.look()
        for module in _LATER:
            await asyncio.to_thread(importlib.import_module, module)
        self.workbench.models.refresh()

    async def _recall_prompts(self) -> None:
        """Earlier prompts and the draft come back, and are kept from here on."""
        older, draft = await self._prompts.load()
        if self._showing():
            console = self.console_screen
            console.query_one(Prompt).remember(older or _TO_TRY, draft)
            console.on_draft, console.on_kept = self._prompts.draft, self._prompts.sent

    def _showing(self) -> bool:
        """Whether the widgets are there: not before the first frame, and not on the way out."""
        return self.is_running and self.console_screen.is_mounted and not self._leaving

    def action_monitor(self) -> None:
        """Open the monitor over the tuner, or else over the console."""
        if self.screen is self.monitor:
            return
        if self.screen is self.tuning.screen or self.console_screen.to_front():
            if not self.is_screen_installed(self.monitor):  # else closing it would be its end
                self.install_screen(self.monitor, "monitor")
            self.push_screen(self.monitor)

    def interrupt(self) -> None:
        self._interrupts.press(told(keys_for(self, "app.interrupt")))

    async def on_unmount(self) -> None:
        if self._later is not None:
            self._later.cancel()
            await asyncio.gather(self._later, return_exceptions=True)
        self.sessions.close()
        await self._prompts.close()
        await self.workbench.close()

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
            if binding.action.startswith("app."):
                return await self.run_action(binding.action)
        return False

    def open(self, place: Place) -> None:
        """Open a screen or a list."""
        actions: dict[Place, Callable[[], object]] = {
            "help": self.action_help,
            "models": self.models.open,
            "engines": self.engines.open,
            "tuner": self.tuning.open,
            "monitor": self.action_monitor,
            "batches": self.batches.open,
            "sessions": self.sessions.open,
            "parameters": self.parameters.open,
        }
        actions[place]()

    def action_open(self, place: Place) -> None:
        """As `open`."""
        self.open(place)

    def leave(self) -> Awaitable[None]:
        return self.action_quit()

    def new_chat(self) -> None:
        if self.console_screen.to_front():
            self.console_screen.new_chat()

    def action_new_chat(self) -> None:
        """As `new_chat`."""
        self.new_chat()

    def first_screen(self) -> Screen[None]:
        return self.console_screen

    def edit_prompt(self) -> None:
        self.console_screen.action_editor()

    def find(self, words: str) -> None:
        self.console_screen.find(words)

    def attach(self, path: str) -> Awaitable[None]:
        return self.console_screen.prompting.attach(path)

    def switch_model(self, row: ModelRow) -> None:
        self.models.switch(row)

    def switch_engine(self, name: str) -> None:
        self.engines.switch(name)

    def add_batch(self, path: Path) -> None:
        self.batches.add(path)

    def engine_names(self) -> dict[str, str]:
        return self.engines.names()

    def next_theme(self) -> None:
        self.action_next_theme()

    def set_parameter(self, name: str, text: str) -> str:
        return self.parameters.set_parameter(name, text)

    def set_system(self, text: str) -> None:
        self.parameters.set_system(text)

    def reset_parameters(self) -> None:
        self.parameters.reset()

    def tell(self, line: str) -> None:
        self.notify(line, markup=False, timeout=4)

    def system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        if isinstance(screen, MonitorScreen):
            yield from screen.system_commands()
            return
        if screen is self.tuning.screen and self.tuning.screen is not None:
            yield from self.tuning.screen.system_commands()
            return
        yield from self.tuning.commands()
        yield from self.models.commands()
        yield from self.engines.commands()
        yield from self.parameters.commands()


def run(config: Config, resume: int = NEW_CHAT) -> tuple[int, int | None]:
    """Run the console until it is left. Returns the exit code, and the session as which the chat is kept, if it is."""
    app = PhituiApp(config, resume)
    return run_app(app, config), app.workbench.kept_session
