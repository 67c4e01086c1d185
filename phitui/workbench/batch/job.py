"""Runs the rows of one input through the engine: sends them, keeps what comes, and begins again where the engine died.

Everything is one loop over one queue: what the engine says, what the reader of the input has, a tick twice a second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from phitui.core.errors import PhituiError, UnavailableError, UsageError
from phitui.core.ipc.messages import Failure
from phitui.engine.protocol.api import (
    BatchEnded,
    BatchState,
    Cost,
    Died,
    Event,
    Loaded,
    OpenBatch,
    Rejected,
    RowDone,
    RowFailed,
    RowsMade,
)
from phitui.engine.protocol.interface import RowsEngine
from phitui.engine.protocol.rows_api import Policy
from phitui.storage.journal import AnswerRecord, MadeRecord
from phitui.workbench.batch.answer import Written
from phitui.workbench.batch.feed import BatchFeed, Item, Read, Tick, chunks
from phitui.workbench.batch.open_rows import OpenRows
from phitui.workbench.batch.output import Output
from phitui.workbench.batch.poison_rows import PoisonRows
from phitui.workbench.batch.progress import BatchProgress
from phitui.workbench.batch.request import Refusal, Request
from phitui.workbench.batch.source import RowSource

# What may be open at once: enough for the engine to sort, and bounded.
WINDOW_ROWS = 2048
WINDOW_BYTES = 32 * 1024 * 1024
# The engine answers a cancel within a decode step.
_CANCEL_S = 20.0
# So many rows in a row that the engine dies of, and none that it answers: it is not the rows.
_TOO_MANY_CONVICTED = 3
_POISON = "the engine died twice while it had nothing but this row"
_REASONS_KEPT = 200


class BatchPlan(NamedTuple):
    """How large batches are, see `engine.rows_api.OpenBatch`, and why."""

    batch: int
    kv_tokens: int
    cost: Cost | None
    why: str


class Stopped(Exception):
    """The batch was stopped by `stop`; what is done is kept."""


def _quiet(line: str) -> None:
    """The default listener: does nothing."""


class BatchJob:
    """One input on a loaded engine. The owner of the engine hands its events to `on_event`."""

    def __init__(
        self,
        engine: RowsEngine,
        output: Output,
        source: RowSource,
        book: OpenRows,
        plan: BatchPlan,
        loaded: Loaded,
        progress: BatchProgress,
        seed: int | None = None,
        deaths_in_a_row: int = 3,
        tell: Callable[[str], None] = _quiet,
    ) -> None:
        self._engine = engine
        self._output = output
        self._feed = BatchFeed(source)
        self._book = book
        self._plan = plan
        self._model = (loaded.name, loaded.compute_type, loaded.weight_bytes)
        self._seed = seed
        self._whole = seed is not None and loaded.remote is None
        self._most_deaths = deaths_in_a_row
        self._tell = tell
        self.progress = progress
        self._poison_rows = PoisonRows()
        self._notes: list[MadeRecord | AnswerRecord] = []
        self._unsent: list[int] = []
        self._sent: list[int] = []
        self._id: int | None = None
        self._gone = False  # the engine's process has died, and the next is not there
        self._apart = False
        self._read_all = False
        self._last_sent = False
        self._stopping = False
        self._deaths_in_a_row = 0
        self._convicted_in_a_row = 0

    def on_event(self, event: Event) -> None:
        """Take an event of the engine; those of other requests are let pass."""
        self._feed.put(event)

    def stop(self) -> None:
        """Keep what is done and end: `run` raises `Stopped` within a decode step."""
        self._stopping = True
        self._feed.put(Tick())

    async def run(self) -> None:
        """Run all rows. Raises Stopped, and PhituiError where it cannot go on; what is done is kept then, too. The
        output is synced in any case, and neither finished nor closed."""
        self._feed.start()
        self.progress.begin()
        how = "failed"
        try:
            await self._rounds()
            how = "complete"
        except Stopped:
            how = "stopped"
            raise
        finally:
            self._feed.stop()
            self.progress.end(how)
            if self._id is not None:  # nobody would take what the engine goes on to make
                with contextlib.suppress(PhituiError):
                    await self._engine.cancel(self._id)
            if how == "failed":  # in the middle of a step: what was heard before is kept
                with contextlib.suppress(PhituiError, OSError):
                    await self._flush()
            await asyncio.to_thread(self._output.sync)

    async def _rounds(self) -> None:
        while True:
            group = self._poison_rows.next_group(self._book.is_open)
            self._apart = group is not None
            self._unsent = self._book.left() if group is None else group
            if not self._unsent and self._read_all and not len(self._book):
                return
            await self._round()

    async def _round(self) -> None:
        """One batch of the engine's: it ends with all its rows done, or with the engine."""
        if not self._unsent or self._gathers:  # nothing to open a batch for yet
            await self._step()
            return
        plan, deaths = self._plan, self.progress.deaths
        self._sent, self._last_sent = [], False
        if self._engine.loaded is not None:  # it may have changed before anybody listened
            self._check_model(self._engine.loaded)
        try:
            self._id = await self._engine.open_batch(
                OpenBatch(0, plan.batch, plan.kv_tokens, plan.cost, self._seed, self._policy)
            )
        except PhituiError:  # it has just died, and says so by an event
            await self._step()
            return
        while self._id is not None:
            await self._send()
            await self._step()
        if self._sent and self.progress.deaths == deaths and all(map(self._book.is_open, self._sent)):
            raise PhituiError("the engine ended the batch and left its rows out", "Run the same with --resume")

    @property
    def _policy(self) -> Policy:
        """With a seed nothing may depend on when rows come or end."""
        return "in order" if self._whole else "waves"

    @property
    def _gathers(self) -> bool:
        """Whether rows have to come first. With a seed each of the engine's batches is a whole window of the input."""
        return self._whole and not self._apart and not self._read_all and self._book.has_room

    async def _step(self) -> None:
        """Wait for something to happen, do all that has, and write what came of it."""
        await self._handle(await self._feed.next())
        while not self._feed.empty:
            await self._handle(await self._feed.next())
        await self._flush()

    async def _handle(self, item: Item) -> None:
        if isinstance(item, Read):
            self._admit(item.rows)
        elif isinstance(item, Failure):
            raise item.error()
        elif isinstance(item, Died):
            await self._died(item)
        elif isinstance(item, Loaded):
            self._reloaded(item)
        elif isinstance(item, Tick):
            if self._stopping:
                await self._stop()
        elif self._id is not None and getattr(item, "id", None) == self._id:
            self._hear(item)

    def _hear(self, event: Event) -> None:
        """What the engine says of the open batch."""
        if isinstance(event, RowsMade):
            for key, ids in event.made:
                self._made(key, ids)
        elif isinstance(event, RowDone):
            self._done(event)
        elif isinstance(event, RowFailed):
            self._note(self._book.failed(event.key, str(event.failure.error())))
        elif isinstance(event, BatchState):
            self._state(event)
        elif isinstance(event, BatchEnded):
            self._id = None
        elif isinstance(event, Rejected):
            self._id = None
            raise event.failure.error()

    def _made(self, key: int, ids: list[int]) -> None:
        if ids and self._book.made(key, ids):
            self._notes.append(MadeRecord(key, ids))
            self.progress.add_tokens(len(ids))
            self._poison_rows.got_on(key)
            self._deaths_in_a_row = 0

    def _done(self, event: RowDone) -> None:
        self.progress.add_tokens(len(event.made))
        self.progress.uncounted += event.usage.completion_tokens is None
        self._note(self._book.answered(event))
        self._poison_rows.closed(event.key)
        self._deaths_in_a_row = self._convicted_in_a_row = 0

    def _note(self, answer: AnswerRecord | None) -> None:
        if answer is not None:
            self._notes.append(answer)

    def _state(self, state: BatchState) -> None:
        self.progress.alive, self.progress.kv_tokens = state.alive, state.kv_tokens
        if state.counted:
            self.progress.add_tokens(state.counted)
        if state.note:
            self.progress.note = state.note
            self._tell(state.note)

    async def _flush(self) -> None:
        """Write rows that are complete, and note in the journal what came of those that are not."""
        lines = self._book.ready()
        self._output.write(lines)
        self._output.note([note for note in self._notes if self._book.needs(note)])
        self._notes.clear()
        self._count(lines)
        if self._output.needs_sync:
            await asyncio.to_thread(self._output.sync)
        if self._output.needs_compaction:
            await asyncio.to_thread(self._output.compact, self._book.kept())
        if self._book.has_room:
            self._feed.go_on()

    def _count(self, lines: Sequence[Written]) -> None:
        progress = self.progress
        progress.done += len(lines)
        progress.open = len(self._book)
        for line in lines:
            if line.failed:
                progress.failed += 1
                if len(progress.reasons) < _REASONS_KEPT:
                    progress.reasons.append(line.reason)

    def _admit(self, rows: list[Request | Refusal]) -> None:
        self._read_all = not rows
        for row in rows:
            keys = self._book.admit(row)
            if not self._apart:
                self._unsent += keys

    async def _send(self) -> None:
        """Send the engine what it has not been sent. An engine that has died meanwhile says so by an event."""
        if self._id is None or self._last_sent:
            return
        rows = self._book.rows(self._unsent)
        self._sent += [row.key for row in rows]
        self._unsent = []
        self._last_sent = self._apart or self._read_all or self._whole
        parts = chunks(rows) or ([[]] if self._last_sent else [])
        try:
            for place, chunk in enumerate(parts, 1):
                await self._engine.add_rows(self._id, chunk, self._last_sent and place == len(parts))
        except UsageError:
            raise
        except PhituiError:
            return

    async def _died(self, event: Died) -> None:
        """Give up what it died of, if that is clear by now; the rest is sent to the next process."""
        lost = [key for key in self._sent if self._book.is_open(key)] if self._id is not None else []
        self._id, self._sent = None, []
        self.progress.deaths += 1
        self.progress.alive = 0
        convicted = self._poison_rows.died(lost, self._apart)
        for key in convicted:
            self._note(self._book.failed(key, f"{_POISON} ({event.reason})"))
        self._convicted_in_a_row += len(convicted)
        self._deaths_in_a_row = 0 if convicted else self._deaths_in_a_row + (not self._apart)
        if not event.restarting or self._convicted_in_a_row >= _TOO_MANY_CONVICTED or self._keeps_dying():
            raise UnavailableError(
                f"the engine keeps dying ({event.reason})", "What is done is kept; run phitui doctor, then --resume"
            )
        self._tell(f"the engine died ({event.reason}); it is started again, {len(lost)} rows go on")
        await self._loaded()

    def _keeps_dying(self) -> bool:
        return self._deaths_in_a_row > self._most_deaths and not self._poison_rows.narrowing

    async def _loaded(self) -> None:
        """Wait for the next process, or for the one after it where that dies while it loads."""
        self._gone = True
        while self._gone:
            await self._flush()  # it can take long
            await self._handle(await self._feed.next())

    def _reloaded(self, loaded: Loaded) -> None:
        """The engine is another process by now, which knows nothing of the batch."""
        self._check_model(loaded)
        self._gone = False
        self._id, self._sent = None, []

    def _check_model(self, loaded: Loaded) -> None:
        if (loaded.name, loaded.compute_type, loaded.weight_bytes) != self._model:
            raise PhituiError(f"the engine has another model now ({loaded.name})", "Switch back, then resume")

    async def _stop(self) -> None:
        """Have the engine end the batch, and keep what it had made. Raises Stopped."""
        if self._id is not None:
            await self._engine.cancel(self._id)
            with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
                await asyncio.wait_for(self._drain(), _CANCEL_S)
        await self._flush()
        raise Stopped

    async def _drain(self) -> None:
        while self._id is not None:
            item = await self._feed.next()
            if isinstance(item, Died):
                self._id = None
            elif not isinstance(item, Tick):
                await self._handle(item)
