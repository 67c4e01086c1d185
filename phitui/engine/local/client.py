"""Starts the worker, watches it, and starts it again when it dies."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from phitui.core.errors import PhituiError
from phitui.core.ipc.frames import FrameError
from phitui.core.ipc.messages import Failure
from phitui.core.ipc.parent import Child
from phitui.core.tasks import start_task
from phitui.engine.local.allocator import allocator_environment
from phitui.engine.protocol.api import (
    AddRows,
    BatchEnded,
    Cancel,
    Count,
    Counted,
    Died,
    Event,
    Finished,
    Generate,
    Load,
    Loaded,
    OpenBatch,
    Park,
    Probed,
    Rejected,
    Room,
    Row,
    RowDone,
    RunProbe,
    Sampling,
    Turn,
    WarmUp,
    WorkerEvent,
)

WORKER = "phitui.engine.worker.worker"


class EngineClient:
    """One engine process and the events it sends, handed to `on_event` on the event loop."""

    def __init__(self, log: Path, on_event: Callable[[Event], None], restart_limit: int = 3) -> None:
        self._log = log
        self._on_event = on_event
        self._restart_limit = restart_limit
        self._restarts = 0
        self._always = False
        self._ids = itertools.count(1)
        self._pending: dict[int, int] = {}  # ids that are owed an end, each with the request's
        self._counts: dict[int, asyncio.Future[Counted]] = {}
        self._child: Child | None = None
        self._watch: asyncio.Task[None] | None = None
        self._load: Load | None = None
        self._changing = asyncio.Lock()
        self._stopping = False
        self.loaded: Loaded | None = None

    @property
    def pid(self) -> int | None:
        """The worker's process, None while there is none."""
        return self._child.pid if self._child else None

    @property
    def holding(self) -> str | None:
        """The model folder that a running process has loaded or is loading."""
        return self._load.folder if self._load and self._child is not None and not self._stopping else None

    @property
    def folder(self) -> str | None:
        """The model folder that is loaded or was asked for last."""
        return self._load.folder if self._load else None

    async def warm(self) -> None:
        """Start the process before it is known what to load: its imports run meanwhile."""
        if self._child is None:
            self._child = await Child.start(WORKER, WorkerEvent, self._log, (), allocator_environment())

    async def load(self, load: Load) -> None:
        """Load a model. `Loaded` or `Failure` comes as an event.

        If one had been loaded before, its process has ended before a fresh one starts: there is never memory taken for
        two. Raises PhituiError when no process can be started.
        """
        async with self._changing:
            if self._load is not None:
                await self.stop()
            self._stopping = False
            self._restarts = 0
            self._load = load
            await self._launch()

    async def _launch(self) -> None:
        await self.warm()
        if self._child is None or self._load is None:
            return
        await self._child.send(self._load)
        self._watch = start_task(self._follow(self._child), name="phitui-engine")

    def restart_always(self, always: bool) -> None:
        """Start the engine again whenever it dies, without the limit: the caller decides when to give up. Without
        `always` the limit holds again, and counts anew."""
        self._always, self._restarts = always, 0

    async def generate(self, turns: list[Turn], sampling: Sampling, answers: int = 1) -> int:
        """Ask for an answer, or for several in one batch; returns the id that the events of the first carry, the others
        have those that follow.

        Raises PhituiError without a loaded engine, and UsageError for text that cannot be sent.
        """
        ids = [next(self._ids) for _ in range(answers)]
        return await self._request(Generate(ids[0], turns, sampling, answers), ids)

    async def count(self, turns: list[Turn], text: str = "") -> Counted:
        """The tokens of a chat as it would be sent, or with no turns those of `text`.

        Raises PhituiError without a loaded engine, or where it dies meanwhile, and UsageError for what cannot be
        sent or what the model's template refuses.
        """
        request = Count(next(self._ids), turns, text)
        future: asyncio.Future[Counted] = asyncio.get_running_loop().create_future()
        self._counts[request.id] = future
        try:
            await self._request(request)
            return await future
        finally:
            self._counts.pop(request.id, None)
            self._pending.pop(request.id, None)

    async def warm_up(self, positions: int) -> int:
        """Have all workers used once, with so many positions; returns the id of the `Room` that follows."""
        return await self._request(WarmUp(next(self._ids), positions))

    async def probe(
        self, batch: int, prompt_tokens: int, new_tokens: int, bound_bytes: int = 0, every_token: bool = False
    ) -> int:
        """Measure a batch of this shape; returns the id of the `Probed` that follows. See `engine.api.Probe`."""
        request = RunProbe(next(self._ids), batch, prompt_tokens, new_tokens, bound_bytes, every_token)
        return await self._request(request)

    async def open_batch(self, batch: OpenBatch) -> int:
        """Begin a batch of rows; returns the id that its events carry. It counts as running until `BatchEnded`. See
        `engine.rows_api.OpenBatch`."""
        return await self._request(replace(batch, id=next(self._ids)))

    async def add_rows(self, batch_id: int, rows: list[Row], last: bool = False) -> None:
        """Give a batch more rows; `last` says that no more come.

        Raises PhituiError where that batch is not open (any more), and UsageError for text that cannot be sent.
        """
        if self._child is None or batch_id not in self._pending:
            raise PhituiError("the batch is not open")
        await self._child.send(AddRows(batch_id, rows, last))

    async def _request(self, request: Generate | WarmUp | RunProbe | OpenBatch | Count, ids: Sequence[int] = ()) -> int:
        """Send it. `ids` are those that its events carry, where there are more than its own."""
        if self._child is None or self.loaded is None:
            raise PhituiError("the engine is not loaded")
        owed = ids or [request.id]
        self._pending |= dict.fromkeys(owed, request.id)
        try:
            await self._child.send(request)
        except PhituiError:
            for number in owed:
                self._pending.pop(number, None)
            raise
        return request.id

    async def cancel(self, request_id: int) -> None:
        """Stop an answer, a probe or a batch. `Finished` with reason "cancelled", `Probed` with that kind, or
        `BatchEnded` follows."""
        if self._child is not None and request_id in self._pending.values():
            await self._child.send(Cancel(request_id))

    async def park(self) -> None:
        """Have the model parked once it is idle. `Parked` follows where it was not."""
        if self._child is not None and self.loaded is not None:
            await self._child.send(Park())

    async def stop(self) -> None:
        """End the worker. No event follows."""
        self._stopping = True
        self.loaded = None
        self._drop_counts()
        self._pending.clear()
        child, self._child = self._child, None
        if child is not None:
            await child.stop()
        if self._watch is not None and self._watch is not asyncio.current_task():
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None

    async def _follow(self, child: Child) -> None:
        reason = ""
        try:
            async for event in child.messages():
                if self._stopping:
                    return
                if not self._answer_count(event):
                    self._record(event)
                    self._on_event(event)
        except FrameError as error:
            reason = f"it sent what is no message: {error}"
        if not self._stopping:
            await self._report_end(child, reason)

    def _answer_count(self, event: WorkerEvent) -> bool:
        """Hand the answer of a `count` to its caller. Returns whether the event was one."""
        if isinstance(event, Counted | Rejected) and event.id in self._counts:
            future = self._counts.pop(event.id)
            if not future.done():
                future.set_result(event) if isinstance(event, Counted) else future.set_exception(event.failure.error())
            return True
        return isinstance(event, Counted)

    def _drop_counts(self) -> None:
        counts, self._counts = self._counts, {}
        for number, future in counts.items():
            self._pending.pop(number, None)
            if not future.done():
                future.set_exception(PhituiError("the engine ended while it counted"))

    def _record(self, event: WorkerEvent) -> None:
        """Record what is loaded, and which requests still need their last event."""
        if isinstance(event, Loaded):
            self.loaded = event
        elif isinstance(event, Finished | Probed | Room):
            self._restarts = 0
            self._pending.pop(event.id, None)
        elif isinstance(event, RowDone):
            self._restarts = 0
        elif isinstance(event, Rejected | BatchEnded):
            self._pending.pop(event.id, None)
        elif isinstance(event, Failure):
            self._stopping = True  # it said why it ends: starting it again would end the same way

    async def _report_end(self, child: Child, reason: str) -> None:
        """Report an unexpected end of the process, and start it again unless it keeps ending."""
        if reason:
            await child.stop(grace_s=0.5)
        reason = reason or await child.epitaph()
        await child.stop(grace_s=0.0)
        if self._stopping:
            return
        self._drop_counts()
        lost, self._pending = sorted(self._pending), {}
        self._child, self.loaded = None, None
        self._restarts += 1
        again = self._always or self._restarts <= self._restart_limit
        self._on_event(Died(reason, lost, again))
        if not again:
            return
        try:
            await self._launch()
        except PhituiError as error:
            self._on_event(Failure.of(error))
