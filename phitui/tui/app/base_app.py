"""What every application of phitui's does: keys, signals, the terminal's end, defects."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, ClassVar

from rich.text import Text
from textual import events
from textual.app import App, SuspendNotSupported, SystemCommand
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from phitui.config.layers import Config, logs_dir
from phitui.core.errors import ExitCode, PhituiError
from phitui.core.leaving import ENDING, heed
from phitui.core.text import sanitize, without_controls
from phitui.storage.defects import describe_defect
from phitui.tui.app.themed_app import ThemedApp
from phitui.tui.keys.names import canonical, exists, shown
from phitui.tui.keys.palette import PaletteCommands, offered
from phitui.tui.keys.remap import keys_for, parsed, rebind, told
from phitui.tui.terminal import clipboard, mouse
from phitui.tui.terminal.ascii_filter import AsciiFilter
from phitui.tui.terminal.display import displayable, reduced_motion, wants_ascii
from phitui.tui.terminal.driver import TerminalDriver
from phitui.tui.terminal.hangup import watch_terminal
from phitui.tui.terminal.suspending import can_come_back, suspend_job
from phitui.tui.terminal.typed import take_all_characters
from phitui.tui.widgets.single_dismiss import Palette

# Python's own default.
_SWITCH_INTERVAL_S = 0.005


class BaseApp(ThemedApp):
    """Starts work after the first frame (`begin`), keeps early keys for it, and leaves cleanly from anywhere."""

    TITLE = "phitui"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    COMMANDS = {PaletteCommands}  # noqa: RUF012 - Textual reads it so
    # Textual has notices at the bottom, where the prompt is, and in the terminal's own colours loud blue behind heads.
    CSS = """
    ToastRack { dock: top; align: right top; max-height: 50%; margin-top: 1; margin-bottom: 0; }
    DataTable:ansi > .datatable--header { background: $panel; }
    SelectCurrent { & Static#label, .arrow { color: $text-muted; } &.-has-value Static#label { color: $foreground; } }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", id="app.quit", priority=True, tooltip="Quit phitui"),
        Binding(
            "ctrl+c",
            "interrupt",
            "Stop",
            show=False,
            id="app.interrupt",
            priority=True,
            tooltip="Copy the selection, else stop the answer; twice: quit",
        ),
        Binding("ctrl+t", "next_theme", "Theme", id="app.theme", priority=True, tooltip="Next theme"),
        Binding("f1", "help", "Help", id="app.help", priority=True, tooltip="Help: all keys and commands"),
        Binding(
            "ctrl+p",
            "command_palette",
            "Palette",
            show=False,
            id="app.palette",
            priority=True,
            tooltip="Palette: search and run all that this screen can do",
        ),
        Binding(
            "alt+t",
            "themes",
            "Themes",
            show=False,
            id="app.themes",
            priority=True,
            tooltip="Themes: see each one before you choose",
        ),
        Binding(
            "ctrl+z",
            "suspend_process",
            "Suspend",
            show=False,
            id="app.suspend",
            priority=True,
            tooltip="Suspend: back to the shell, where fg returns here",
        ),
        Binding(
            "f12",
            "toggle_mouse",
            "Mouse",
            show=False,
            id="app.mouse",
            priority=True,
            tooltip="Mouse: select text with it, or have it click and scroll",
        ),
    ]

    def __init__(self, config: Config) -> None:
        super().__init__()
        take_all_characters()
        self.keys_set = config.keys
        self._keys = parsed(config.keys)
        rebind([self], self._keys)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving = False
        self._early: list[events.Event] | None = []
        self.ascii_only = wants_ascii(config.console.symbols)
        if self.ascii_only:
            self._filters.append(AsciiFilter())
        self.reduced_motion = reduced_motion(config.console.motion)
        if self.reduced_motion:
            self.animation_level = "none"
        self.take_first_theme(config.theme.name)

    def _register(self, parent: DOMNode, *widgets: Widget, **options: Any) -> list[Widget]:
        """Every widget passes here on its way to the screen: it gets the keys in force."""
        if self._keys:
            rebind(widgets, self._keys)
        return super()._register(parent, *widgets, **options)

    def prepare(self) -> None:
        """Called before the first frame is painted."""

    async def begin(self) -> None:
        """The first frame is there: start what it did not need."""

    def get_key_display(self, binding: Binding) -> str:
        """A key in a footer, written as everywhere else."""
        key = canonical(binding.key_display) if binding.key_display else binding.key
        return shown(key) if exists(key) else key  # a pair of keys with one word has a writing of its own

    def system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the palette has over `screen` besides the actions that have keys and the themes."""
        del screen
        return ()

    def on_mount(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._on_loop_error)
        if not self.is_headless:  # where there is no terminal, signals are for whoever runs us
            heed(self._leave_from_outside, (*ENDING, signal.SIGQUIT))
            watch_terminal(partial(self._leave_from_outside, signal.SIGHUP))
        self._resume_only_if_suspended()
        self.app_resume_signal.subscribe(self, self._paint_anew)
        self.prepare()
        self.call_after_refresh(self._start)  # nothing of this is needed for the first frame

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A cursor that blinks repaints twice a second for ever."""
        if self.reduced_motion and hasattr(event.widget, "cursor_blink"):
            event.widget.cursor_blink = False

    def _resume_only_if_suspended(self) -> None:
        """Textual starts its terminal mode anew at every SIGCONT. After a SIGSTOP, which it could not see, the mode is
        still on: it would take the raw mode for what it has to restore at the end, and read keys with two threads."""
        resume = signal.getsignal(signal.SIGCONT)
        if not callable(resume):  # a driver without job control, as in tests
            return

        def guarded(number: int, frame: FrameType | None) -> None:
            self._terminal_cells.forget()  # a shell has written there meanwhile
            if getattr(self._driver, "_must_signal_resume", True) and callable(resume):
                resume(number, frame)

        signal.signal(signal.SIGCONT, guarded)

    async def on_event(self, event: events.Event) -> None:
        """Keep the keys that were typed before there was a prompt to take them. Of what is pasted no field gets the
        controls: it would write them to the terminal as they are."""
        if isinstance(event, events.Paste):
            clean = displayable if isinstance(self.focused, Input) else without_controls
            event.text = clean(event.text)
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded and self._early is not None:
            self._early.append(event)
        else:
            await super().on_event(event)

    async def _start(self) -> None:
        sys.setswitchinterval(_SWITCH_INTERVAL_S)  # shorter while imports and the sampler's threads met
        # What the imports made stays: left out, a full collection takes 6 to 16 ms with a chat of 5000 turns, and
        # otherwise 75 ms.
        gc.freeze()
        gc.enable()  # off since the start: see phitui.__main__
        early, self._early = self._early or [], None
        for event in early:
            await super().on_event(event)
        await self.begin()
        if self.keys_set:
            await self._judge_keys()

    async def _judge_keys(self) -> None:
        """Say what is wrong with [keys]. It takes the import of all screens, so in a thread."""

        def judged() -> list[str]:
            from phitui.tui.keys.judge import problems

            return problems(self.keys_set)

        for line in await asyncio.to_thread(judged):
            if not self._leaving:
                self.warn(line)

    def warn(self, line: str) -> None:
        """Say something that is wrong and stops nothing."""
        self.notify(line, severity="warning", timeout=10)

    def action_command_palette(self) -> None:
        """Search and run whatever there is to do."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_help(self) -> None:
        """Show all keys and commands, or leave them."""
        from phitui.tui.screens.help import HelpScreen  # with the first use

        if isinstance(self.screen, HelpScreen):
            self.screen.dismiss()
        else:
            self.push_screen(HelpScreen(type(self.screen), self.keys_set, self.help_commands()))

    def help_commands(self) -> list[tuple[str, str]]:
        """The slash commands with their summaries, where there are any."""
        return []

    def get_driver_class(self) -> type[Driver]:
        """Textual's, but for a terminal on Linux."""
        usual = super().get_driver_class()
        return TerminalDriver if usual is LinuxDriver else usual

    def exit(self, *args: Any, **options: Any) -> None:
        """Leave. From here on events find no widgets that could show them."""
        self._leaving = True
        self.workers.cancel_all()  # the palette's search would look for its list, which goes first
        super().exit(*args, **options)

    def notify(self, message: str, **options: Any) -> None:
        """A message that goes by itself. Whatever of it is a file's or a process's cannot steer the terminal."""
        super().notify(displayable(message), **{**options, "markup": False})

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
        self.panic(Text(f"phitui: {sanitize(describe_defect(error, logs_dir()))}"))  # a str would be markup

    def _leave_from_outside(self, number: int) -> None:
        """End as by the key, with the status a shell expects. From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(partial(self.exit, return_code=128 + number))

    @contextmanager
    def away(self) -> Iterator[None]:
        """Lend the terminal to another program; what happens meanwhile is painted afterwards. Raises PhituiError where
        the terminal cannot be lent."""
        failed: Exception | None = None
        self._away = True
        try:
            with self.suspend():
                try:
                    yield
                except Exception as error:  # noqa: BLE001 - Textual takes the terminal back only where none is raised
                    failed = error
        except SuspendNotSupported as error:
            raise PhituiError("this terminal cannot be lent to an editor") from error
        finally:
            self._away = False
            self._terminal_cells.forget()
        self.refresh(layout=True)
        if failed is not None:
            raise failed

    async def action_interrupt(self) -> None:
        """Copy what is selected; with nothing selected, stop or leave."""
        selected = clipboard.selection(self.screen)
        if selected:
            self.notify(clipboard.send(self, displayable(selected), "The selection"))
        else:
            self.interrupt()

    def interrupt(self) -> None:
        """Leave; where something would be lost, not at once."""
        self.exit()

    def action_suspend_process(self) -> None:
        """Back to the shell until it takes the console up again; engine and answers go on."""
        if not self.is_headless and can_come_back():
            suspend_job()
        else:
            self.notify("Not suspended: no shell started phitui here, so nothing could take it up again.")

    def _paint_anew(self, app: App[Any]) -> None:
        """The shell has had the terminal meanwhile."""
        del app
        self._terminal_cells.forget()
        self.refresh(layout=True)

    def action_toggle_mouse(self) -> None:
        """Take the mouse, or leave it to the terminal."""
        self.notify(mouse.toggle(self, told(keys_for(self, "app.mouse"))))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from offered(screen, self.first_screen(), self.system_commands(screen))
        for name in self._register_themes():
            yield SystemCommand(f"Theme: {name}", "", partial(self.use_theme, name))

    def first_screen(self) -> Screen[None] | None:
        """The screen below all others, whose keys lead to them."""
        return None


def run_app(app: BaseApp, config: Config) -> int:
    """Run until it is left. Returns the exit code."""
    app.run(mouse=_mouse(config))
    return app.return_code if app.return_code is not None else int(ExitCode.DONE)


def _mouse(config: Config) -> bool:
    """Whether to take the mouse: over SSH a terminal's own selection is worth more."""
    if config.console.mouse == "auto":
        return "SSH_CONNECTION" not in os.environ
    return config.console.mouse == "on"
