"""Shows on the console's screens what the workbench tells, while there are screens to show it on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from phitui.engine.protocol.api import Delta, Event
from phitui.hardware.snapshot import Snapshot
from phitui.tui.app.batch_actions import BatchActions
from phitui.tui.app.model_actions import ModelActions
from phitui.tui.app.tuning_actions import TuningActions
from phitui.tui.screens.console import ConsoleScreen
from phitui.tui.screens.monitor import MonitorScreen
from phitui.tui.widgets.server_readings import server_line
from phitui.workbench.chat.exchanges import Exchange
from phitui.workbench.front import Front
from phitui.workbench.telemetry.performance import DeviceView, with_traffic
from phitui.workbench.workbench import Workbench

if TYPE_CHECKING:
    from phitui.workbench.batch.queue import BatchEntry


class ConsoleFront(Front):
    """Of what comes before the first frame, or on the way out, only the chat and the history know."""

    def __init__(
        self,
        showing: Callable[[], bool],
        workbench: Workbench,
        console: ConsoleScreen,
        monitor: MonitorScreen,
        models: ModelActions,
        tuning: TuningActions,
        batches: BatchActions,
    ) -> None:
        self._showing, self._workbench, self._console, self._monitor = showing, workbench, console, monitor
        self._models, self._tuning, self._batches = models, tuning, batches

    def show_event(self, event: Event) -> None:
        if not isinstance(event, Delta) and self._showing():
            self._console.show_event(event)

    def show_activity(self, event: Event) -> None:
        if self._showing():
            self._console.show_activity(event)

    def show_exchange(self, exchange: Exchange) -> None:
        if self._showing():
            self._console.show_exchange(exchange)

    def show_answered(self, together: list[Exchange]) -> None:
        if self._showing():
            self._console.show_answered(together)

    def show_switching(self, title: str) -> None:
        if self._showing():
            self._console.engine_status.show_switching(title)

    def show_models(self) -> None:
        if self._showing():
            self._models.show()

    def show_tuning(self) -> None:
        if self._showing():
            self._tuning.show()

    def show_batch(self, entry: BatchEntry) -> None:
        if self._showing():
            self._batches.show(entry)

    def show_snapshot(self, snapshot: Snapshot, views: list[DeviceView]) -> None:
        if not self._showing():
            return
        self._console.show_snapshot(snapshot, views)
        self._monitor.picture.engine = server_line(self._workbench.telemetry.server.figures)
        self._monitor.show_snapshot(with_traffic(snapshot, views), views)
        self._tuning.tick()

    def say(self, text: str, kind: str = "") -> None:
        if self._showing():
            self._console.say(text, kind)
