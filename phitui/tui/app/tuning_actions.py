"""Opens the tuner screen, and tells in the chat how a tuning goes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from textual.app import App, SystemCommand

from phitui.core.text import counted
from phitui.tui.app.asking import attempt
from phitui.tui.screens.console import ConsoleScreen
from phitui.tui.terminal.display import graphs_in_ascii
from phitui.workbench.workbench import Workbench

if TYPE_CHECKING:
    from phitui.tui.screens.tuner import TunerScreen
    from phitui.workbench.tune.run_state import RunState

_BEGINS = "Tuning: the engine stops, and starts again when the tuning is over. Until then no prompt is taken."
_SERVER_BEGINS = "Tuning {name}: until it is over no prompt is taken, because it would be measured, too."


class TuningActions:
    """What a tuning is made of is imported when it is first needed, after the first frame."""

    def __init__(self, app: App[None], console: ConsoleScreen, workbench: Workbench) -> None:
        self._app, self._console, self._workbench = app, console, workbench
        self.screen: TunerScreen | None = None
        self._told: RunState | None = None
        self._tuning = False

    def open(self) -> None:
        """Open the tuner screen on top of the console."""
        from phitui.tui.screens.tuner import TunerScreen  # most starts never need it

        if self._app.screen is self.screen or not self._console.to_front():
            return
        if self.screen is None:
            config = self._workbench.config.now
            ascii_only = graphs_in_ascii(config.monitor.symbols, config.console.symbols)
            self.screen = TunerScreen(self._workbench.tuner, ascii_only)
            self._app.install_screen(self.screen, "tuner")  # else closing it would be its end
        self._app.push_screen(self.screen)

    def commands(self) -> Iterable[SystemCommand]:
        """What the command palette offers."""
        if self._tuning:
            cancel = partial(attempt, self._app, self._workbench.tuner.cancel)
            yield SystemCommand("Cancel tuning", "At once, in the middle of a probe too", cancel)

    def tick(self) -> None:
        """A second has gone by."""
        if self.screen is not None and self._app.screen is self.screen:
            self.screen.show()

    def show(self) -> None:
        """The tuning has gone on, the kept ones are others, or one was applied."""
        tuner = self._workbench.tuner
        run_state = tuner.run_state
        if tuner.busy != self._tuning:
            self._tuning = tuner.busy
            self._tell_of(tuner.busy)
        if tuner.busy and run_state is not None:
            self._console.engine_status.show_state(f"tuning: {_where(run_state, tuner.paused)} · F3 shows it")
        elif run_state is not None and run_state is not self._told and run_state.state != "running":
            self._told = run_state
            self._console.say(_outcome(run_state))
            self._console.notices.end("tuning", _outcome(run_state))
        self._console.show_budget(self._workbench.config.now.engine)
        if self.screen is not None:
            self.screen.show()

    def _tell_of(self, begins: bool) -> None:
        engine = self._workbench.engine
        if begins:
            self._console.notices.begin("tuning")
            self._console.say(_BEGINS if engine.is_local else _SERVER_BEGINS.format(name=engine.name))
        self._console.engine_status.show_lent(begins)


def _where(run_state: RunState, paused: bool) -> str:
    if run_state.running is not None:
        return f"probe {run_state.running.number}, {run_state.size}"
    if paused or not run_state.probes:
        return "paused" if paused else "getting ready"
    return f"after {counted(len(run_state.probes), 'probe')}"


def _outcome(run_state: RunState) -> str:
    """One line for the chat."""
    if run_state.found:
        return f"Tuned. {run_state.found} F3 shows it, a writes it into your config.toml."
    return f"The tuning failed: {run_state.error}" if run_state.state == "failed" else "The tuning was cancelled."
