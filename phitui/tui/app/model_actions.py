"""Opens the model screen, and switches to another model."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from textual.app import App, SystemCommand

from phitui.tui.app.asking import ask_before, attempt
from phitui.tui.screens.console import ConsoleScreen
from phitui.workbench.lease import Use
from phitui.workbench.workbench import Workbench

if TYPE_CHECKING:
    from phitui.tui.screens.models import ModelsScreen
    from phitui.workbench.models.fit import Room
    from phitui.workbench.models.inventory import ModelRow


class ModelActions:
    """What models are is imported when it is first needed, after the first frame."""

    def __init__(self, app: App[None], console: ConsoleScreen, workbench: Workbench) -> None:
        self._app = app
        self._console = console
        self._workbench = workbench
        self._screen: ModelsScreen | None = None

    def open(self) -> None:
        """Open the model screen on top of the console."""
        from phitui.tui.screens.models import ModelsScreen  # most starts never need it

        def closed(_: None) -> None:
            self._screen = None

        if self._console.to_front():
            self._screen = ModelsScreen(self._workbench.models, self.switch, self._room)
            self._app.push_screen(self._screen, closed)

    def _room(self) -> Room | None:
        from phitui.workbench.models.fit import room_of

        return room_of(self._workbench.telemetry.views)

    def switch(self, row: ModelRow) -> None:
        """Have another model answer, after a question where that stops something. Raises UsageError where it cannot be
        loaded."""
        self._workbench.models.check_switch(row)
        ask_before(self._app, self._workbench.leases, Use.SWITCH, "stop it and switch", partial(self._begin, row))

    def commands(self) -> Iterable[SystemCommand]:
        """What the command palette offers. The models are as they were when the store was read last."""
        models = self._workbench.models
        for row in models.rows:
            if row.ready and not row.loaded:
                yield SystemCommand(
                    f"Switch to model: {row.name}", "", partial(attempt, self._app, partial(self.switch, row))
                )
        yield SystemCommand(
            "Model at the start: automatic, Phi-3 Mini where it is installed", "", models.keep_automatic
        )

    def show(self) -> None:
        """Rows, progress or an outcome are different."""
        self._console.engine_status.show_work(self._workbench.models.work)
        if self._screen is not None:
            self._screen.show()

    def _begin(self, row: ModelRow) -> None:
        self._workbench.models.switch(row)
        if self._screen is not None and self._app.screen is self._screen:
            self._screen.dismiss()
