"""What the chat and the screens need of an engine, wherever it computes."""

from __future__ import annotations

from typing import Protocol

from phitui.engine.protocol.api import Counted, Load, Loaded, OpenBatch, Row, Sampling, Turn


class RowsEngine(Protocol):
    """What a batch needs of an engine. What becomes of a request comes as events (engine/protocol/api.py)."""

    @property
    def loaded(self) -> Loaded | None:
        """What answers; None while nothing does."""

    async def open_batch(self, batch: OpenBatch) -> int:
        """Begin a batch of rows; returns the id that its events carry. Raises PhituiError."""

    async def add_rows(self, batch_id: int, rows: list[Row], last: bool = False) -> None:
        """Give a batch more rows; `last` says that no more come. Raises PhituiError."""

    async def cancel(self, request_id: int) -> None:
        """Stop what `generate` gave this id for, all answers of it. `Finished` with reason "cancelled" follows; of a
        batch `BatchEnded`."""


class Engine(RowsEngine, Protocol):
    """A local or a remote engine."""

    @property
    def pid(self) -> int | None:
        """The process on this machine, None where there is none."""

    @property
    def holding(self) -> str | None:
        """The model folder that a process of ours has loaded or is loading."""

    @property
    def folder(self) -> str | None:
        """The model folder that is loaded or was asked for last; None of a remote engine."""

    async def warm(self) -> None:
        """Start the local process before it is known what to load."""

    async def load(self, load: Load) -> None:
        """Load a model folder into a process of our own. `Loaded` or `Failure` follows."""

    async def generate(self, turns: list[Turn], sampling: Sampling, answers: int = 1) -> int:
        """Ask for an answer; returns the id that its events carry. Several `answers` are made side by side, and the
        events of the others carry the ids that follow. Raises PhituiError."""

    async def count(self, turns: list[Turn], text: str = "") -> Counted:
        """The tokens of a chat as it would be sent, or with no turns those of `text`. Raises PhituiError."""

    async def park(self) -> None:
        """Have the model parked. `Parked` or `ParkRefused` follows where it was not."""

    async def stop(self) -> None:
        """End it. No event follows."""
