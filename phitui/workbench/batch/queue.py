"""Batches beside a chat: a queue of files on the console's engine, one at a time, while the console goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from phitui.config.layers import shown_path
from phitui.core.errors import PhituiError, UsageError
from phitui.core.tasks import start_task
from phitui.core.text import one_line
from phitui.engine.protocol.api import Event, Loaded
from phitui.models.manifest import Manifest, read_manifest
from phitui.workbench.batch.file import BatchFile, Order
from phitui.workbench.batch.job import BatchPlan, Stopped
from phitui.workbench.batch.plan import plan_for, remote_plan
from phitui.workbench.batch.progress import BatchProgress
from phitui.workbench.current import CurrentConfig
from phitui.workbench.engines import Engines
from phitui.workbench.lease import Lease, Leases, Use

_LEAVE_S = 2.0


@dataclass(eq=False)
class BatchEntry:
    """A file of the queue. `state` is one of "queued", "reading", "running", "complete", "stopped", "failed"; `note` is
    the last line that was told of it, `error` why it failed. Paths and texts are untrusted."""

    order: Order
    state: str = "queued"
    note: str = ""
    error: str = ""
    progress: BatchProgress = field(default_factory=BatchProgress)

    @property
    def name(self) -> str:
        return shown_path(self.order.source) if self.order.source else ""

    @property
    def busy(self) -> bool:
        return self.state in ("reading", "running")


def answers_path(source: Path) -> Path:
    """Where the answers to a file go when nothing else is said: beside it."""
    return source.parent / f"{source.stem}-answers.jsonl"


class _Ready(NamedTuple):
    """What a file is run with; `manifest` is None of a remote model."""

    manifest: Manifest | None
    loaded: Loaded
    plan: BatchPlan


class _NoEngineError(Exception):
    """No model is loaded by now: the file waits for the next one."""


def _quiet(line: str) -> None:
    """The default listener: does nothing."""


class BatchQueue:
    """The queue. `changed` is called when an entry's state is another; progress is to be looked at."""

    def __init__(
        self, engine: Engines, config: CurrentConfig, leases: Leases, changed: Callable[[BatchEntry], None]
    ) -> None:
        self._engine = engine
        self._config = config
        self._leases = leases
        self._changed = changed
        self._lease: Lease | None = None
        self._file: BatchFile | None = None
        self._task: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[_Ready | None] | None = None
        self._stopping = False
        self.entries: list[BatchEntry] = []
        leases.subscribe(self._look_again)

    def add(self, source: Path, target: Path | None = None) -> BatchEntry:
        """Queue a file; where its output is there and not complete, it goes on. Raises UsageError where a file
        cannot be read or written, or is in the queue."""
        order = Order(source, target or answers_path(source), resume=True)
        if any(entry.order.target == order.target for entry in self.entries):
            raise UsageError(f"{shown_path(order.target or source)} is in the list already", "Choose another output")
        BatchFile(order, self._config.now, _quiet).close()  # refuses at once what cannot be
        entry = BatchEntry(order, note=self._leases.waits_for(Use.ROWS))
        self.entries.append(entry)
        self._tell(entry)
        self._pump()
        return entry

    @property
    def running(self) -> bool:
        """Whether rows are being answered, or read."""
        return any(entry.busy for entry in self.entries)

    def _look_again(self) -> None:
        """Who has the engine is different: say why files wait, or begin one."""
        why = self._leases.waits_for(Use.ROWS)
        for entry in self.entries:
            if entry.state == "queued" and entry.note != why:
                self._note(entry, why)
        self._pump()

    def cancel(self, entry: BatchEntry) -> bool:
        """Stop it; what is done is kept. Whether there was something to stop."""
        if entry.state == "queued":
            self._set(entry, "stopped")
            return True
        if not entry.busy or self._file is None:
            return False
        self._stopping = True
        if self._preparing is not None:
            self._preparing.cancel()
        self._file.stop()
        return True

    def resume(self, entry: BatchEntry) -> bool:
        """Queue one that was stopped or has failed once more. Whether it was one."""
        if entry.state not in ("stopped", "failed"):
            return False
        entry.error = ""
        self._set(entry, "queued")
        self._pump()
        return True

    def remove(self, entry: BatchEntry) -> bool:
        """Take one off the list; its files stay. Not one that runs."""
        if entry.busy:
            return False
        self.entries.remove(entry)
        self._tell(entry)
        return True

    def take(self, event: Event) -> None:
        """Look at an event of the engine."""
        if self._file is not None:
            self._file.on_event(event)
        if isinstance(event, Loaded):
            self._pump()

    async def close(self) -> None:
        """Stop what runs, and keep what is done."""
        await self._stop(list(self.entries))

    async def _stop(self, entries: list[BatchEntry]) -> None:
        task = self._task
        for entry in entries:
            self.cancel(entry)
        if task is not None:
            await asyncio.wait([task], timeout=_LEAVE_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _pump(self) -> None:
        """Begin the next file where the engine is ready and free."""
        entry = next((entry for entry in self.entries if entry.state == "queued"), None)
        if entry is None or self._lease is not None or self._engine.loaded is None:
            return
        self._lease = lease = self._leases.claim(Use.ROWS, f"{one_line(entry.name, 60)} is running", self._let_go)
        if lease is not None:
            self._task = start_task(self._work(entry, lease), name="phitui-batches")

    async def _work(self, entry: BatchEntry, lease: Lease) -> None:
        try:
            await self._run(entry)
        finally:
            self._lease = None
            lease.release()  # which begins the next

    async def _let_go(self) -> None:
        """Give the engine up for another use: the running batch is stopped, and can be resumed later."""
        stopped = [entry for entry in self.entries if entry.busy]
        await self._stop(stopped)
        for entry in stopped:
            self._note(entry, "stopped because the engine was needed for something else; r resumes it")

    async def _run(self, entry: BatchEntry) -> None:
        try:
            self._set(entry, "reading")
            self._stopping = False
            self._file = file = BatchFile(entry.order, self._config.now, lambda line: self._note(entry, line))
            entry.progress = file.progress
            self._preparing = asyncio.create_task(self._prepare(file))
            await asyncio.wait({self._preparing})
            if self._stopping or self._preparing.cancelled():
                raise Stopped
            ready = self._preparing.result()
            if ready is not None:
                self._note(entry, ready.plan.why)
                self._set(entry, "running")
                self._engine.restart_always(True)  # the job judges when it has died often enough
                await file.run(self._engine, *ready)
            self._set(entry, "complete")
        except _NoEngineError:
            self._set(entry, "queued")
        except Stopped:
            self._set(entry, "stopped")
        except PhituiError as error:
            entry.error = str(error)
            self._set(entry, "failed")
        finally:
            self._engine.restart_always(False)
            if self._file is not None:
                self._file.close()
            self._file = self._preparing = None

    async def _prepare(self, file: BatchFile) -> _Ready | None:
        """What to run it with; None where it is complete. The model may be switched while it is read."""
        if not await file.scan():
            return None
        while (loaded := self._engine.loaded) is not None:
            manifest, plan = await asyncio.to_thread(self._planned, loaded, self._engine.folder)
            if self._engine.loaded is loaded:
                return _Ready(manifest, loaded, plan)
        raise _NoEngineError

    def _planned(self, loaded: Loaded, folder: str | None) -> tuple[Manifest | None, BatchPlan]:
        if loaded.remote is not None:
            return None, remote_plan(self._config.now, loaded)
        manifest = read_manifest(Path(folder or ""))
        return manifest, plan_for(self._config.now, manifest, loaded, engine_pid=self._engine.pid)

    def _note(self, entry: BatchEntry, line: str) -> None:
        entry.note = line
        self._tell(entry)

    def _set(self, entry: BatchEntry, state: str) -> None:
        entry.state = state
        self._tell(entry)

    def _tell(self, entry: BatchEntry) -> None:
        self._changed(entry)
