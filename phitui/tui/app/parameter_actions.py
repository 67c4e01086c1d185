"""Between the console and the parameters of its chat: opens their panel; what commands set them with."""

from __future__ import annotations

import os
from collections.abc import Iterable

from textual.app import App, SystemCommand

from phitui.config.layers import home
from phitui.storage.presets import FILE_NAME, Presets
from phitui.tui.screens.console import ConsoleScreen
from phitui.workbench.chat.parameters import Parameters
from phitui.workbench.workbench import Workbench


class ParameterActions:
    """What sets the parameters of the chat, and shows them."""

    def __init__(self, app: App[None], console: ConsoleScreen, workbench: Workbench) -> None:
        self._app = app
        self._console = console
        self._workbench = workbench

    @property
    def parameters(self) -> Parameters:
        """Those of the chat."""
        return self._workbench.parameters

    def open(self) -> None:
        """Open the panel over the console."""
        from phitui.tui.screens.parameters import ParametersScreen  # most starts never need it

        if self._console.to_front():
            presets = Presets(home(os.environ) / FILE_NAME)
            self._app.push_screen(
                ParametersScreen(self.parameters, presets, self._workbench.engine.loaded), self._closed
            )

    def _closed(self, _: None) -> None:
        self._console.show_own()

    def commands(self) -> Iterable[SystemCommand]:
        """What the command palette offers."""
        if self.parameters.own:
            yield SystemCommand("Parameters: back to the defaults of config.toml", "", self.reset)

    def set_parameter(self, name: str, text: str) -> str:
        """Set one from text, from the next prompt on; returns a line that says what holds. Raises UsageError."""
        line = self.parameters.set(name, text, self._workbench.engine.loaded)
        self._console.show_own()
        return line

    def set_system(self, text: str) -> None:
        """Set the chat's system prompt, "" for none. Raises UsageError."""
        self.parameters.set_system(text)
        self._console.show_own()

    def reset(self) -> None:
        """As config.toml has them."""
        self.parameters.reset()
        self._console.show_own()
