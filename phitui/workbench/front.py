"""What a front hears of the workbench: a console, a command, a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phitui.engine.protocol.api import Event

if TYPE_CHECKING:  # some starts need none of them
    from phitui.hardware.snapshot import Snapshot
    from phitui.workbench.batch.queue import BatchEntry
    from phitui.workbench.chat.exchanges import Exchange
    from phitui.workbench.telemetry.performance import DeviceView


class Front:
    """All of it is called on the event loop. A front replaces what it has a use for."""

    def show_event(self, event: Event) -> None:
        """An event of the engine, before the chat takes it."""

    def show_activity(self, event: Event) -> None:
        """After an event by which the engine may be doing something else. Of an answer's pieces only the first."""

    def show_exchange(self, exchange: Exchange) -> None:
        """An exchange of the path that the chat shows has changed."""

    def show_answered(self, together: list[Exchange]) -> None:
        """An answer is over, or all that were made side by side."""

    def show_switching(self, title: str) -> None:
        """The engine is being changed to this from here on; "" says that the one before stays."""

    def show_models(self) -> None:
        """The models are others, or the work on them has gone on."""

    def show_tuning(self) -> None:
        """A tuning has gone on, the kept ones are others, or one was applied."""

    def show_batch(self, entry: BatchEntry) -> None:
        """A file of the queue is in another state."""

    def show_snapshot(self, snapshot: Snapshot, views: list[DeviceView]) -> None:
        """New readings of the hardware, and what they mean together with the engine's figures."""

    def say(self, text: str, kind: str = "") -> None:
        """A line for a person. `kind` is "", "warn" or "bad"."""
