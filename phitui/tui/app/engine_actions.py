"""Opens the list of engines, and changes from one to another."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import partial

from textual.app import App, SystemCommand

from phitui.config.remotes import LOCAL
from phitui.core.text import one_line
from phitui.tui.app.asking import ask_before, attempt
from phitui.workbench.lease import Use
from phitui.workbench.workbench import Workbench


class EngineActions:
    """A server is asked first whether it is there: until it is, the engine before stays."""

    def __init__(self, app: App[None], workbench: Workbench) -> None:
        self._app = app
        self._workbench = workbench

    def commands(self) -> Iterable[SystemCommand]:
        """What the command palette offers."""
        for name, url in self.names().items():
            if name != self._workbench.engine.name:
                where = one_line(url, 80) or "this machine"
                yield SystemCommand(f"Engine: {one_line(name, 60)} ({where})", "", partial(self._try, name))

    def names(self) -> dict[str, str]:
        """The engines by name, with their addresses; the local one has none."""
        return {LOCAL: "", **{name: one.url for name, one in self._workbench.config.now.engines.items()}}

    def open(self) -> None:
        """Open the list of engines, unless a question is open."""
        if self._app.screen.is_modal:
            return
        dialog = importlib.import_module("phitui.tui.widgets.engine_dialog").EngineDialog  # with the first use
        engine = self._workbench.engine

        def chosen(name: str | None) -> None:
            if name is not None:
                self._try(name)

        self._app.push_screen(dialog(self._workbench.config.now.engines, engine.name, engine.loaded), chosen)

    def switch(self, name: str) -> None:
        """Have another engine answer, after a question where that stops something. Raises UsageError."""
        engine = self._workbench.engine
        if name == engine.name and engine.loaded is not None and not self._workbench.switching.busy:
            self._app.notify(f"{name} answers already", markup=False)
            return
        switch = partial(self._workbench.switch_engine, name)
        ask_before(self._app, self._workbench.leases, Use.SWITCH, "stop it and switch", switch)

    def _try(self, name: str) -> None:
        attempt(self._app, partial(self.switch, name))
