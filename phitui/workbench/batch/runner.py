"""Runs orders one after the other on an engine of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from phitui.config.layers import Config
from phitui.config.remotes import LOCAL
from phitui.core.errors import PhituiError, UnavailableError
from phitui.core.ipc.messages import Failure, Progress
from phitui.engine.protocol.api import Died, Event, Loaded
from phitui.models.manifest import Manifest, read_manifest
from phitui.workbench.batch.file import BatchFile
from phitui.workbench.batch.job import Plan
from phitui.workbench.batch.plan import plan_for, remote_plan
from phitui.workbench.engines import Engines
from phitui.workbench.start import engine_log, start_engine, what_to_load


class BatchRunner:
    """One engine, loaded when the first order needs it. `tell` hears lines for a person, `show` the steps of loading;
    `began` is called with each file that is begun."""

    def __init__(
        self,
        config: Config,
        rows: int | None,
        tell: Callable[[str], None],
        show: Callable[[Progress], None],
        began: Callable[[BatchFile], None],
    ) -> None:
        self._config = config
        self._rows = rows
        self._tell = tell
        self._show = show
        self._began = began
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._client = Engines(engine_log(), self._on_event)
        self._client.restart_always(True)  # workbench.batch.job does
        self._is_local = config.engine.name == LOCAL
        self._current: BatchFile | None = None
        self._last: BatchFile | None = None
        self._seeded = False
        self._model: tuple[Manifest | None, Loaded] | None = None

    async def run(self, files: list[BatchFile]) -> None:
        """Run all of them; one that cannot be run keeps its error, and the next goes on. Raises Stopped after `stop`,
        and PhituiError where there is no engine to run them."""
        self._last = files[-1]
        self._seeded = self._is_local and any(file.order.seed is not None for file in files)
        try:
            if self._is_local:
                await self._client.warm()  # its imports run while the input is read
            for file in files:
                try:
                    todo = await file.scan()
                except PhituiError as error:
                    self._failed(file, error)
                    continue
                if todo:
                    await self._run(file)
                else:
                    self._tell(f"{file.name}: complete already, nothing to do")
        finally:
            for file in files:
                file.close()
            await self._client.stop()

    def stop(self) -> bool:
        """End the batch and keep what is done. Whether there is one that can be ended so."""
        if self._current is None or not self._current.running:
            return False
        self._current.stop()
        return True

    async def _run(self, file: BatchFile) -> None:
        if self._seeded:  # its threads read a seed when they draw for the first time
            self._model = None
        manifest, loaded = self._model or await self._load()
        try:
            plan = await asyncio.to_thread(self._plan, manifest, loaded)
            self._tell(f"{file.name}: {plan.why}")
            self._current = file
            self._began(file)
            await file.run(self._client, manifest, self._client.loaded or loaded, plan)
        except PhituiError as error:
            self._failed(file, error)
        finally:
            self._current = None

    def _failed(self, file: BatchFile, error: PhituiError) -> None:
        file.fail(error)
        if file is not self._last:
            self._tell(f"{file.name}: {error}; the next file goes on")

    def _plan(self, manifest: Manifest | None, loaded: Loaded) -> Plan:
        if manifest is None:
            return remote_plan(self._config, loaded, self._rows)
        return plan_for(self._config, manifest, loaded, self._rows, engine_pid=self._client.pid)

    async def _load(self) -> tuple[Manifest | None, Loaded]:
        self._events = asyncio.Queue()
        if not self._is_local:
            await start_engine(self._client, self._config, self._show)
            self._model = None, await self._ready()
            return self._model
        load = msgspec.structs.replace(await what_to_load(self._config, self._show), park_after_s=0.0)
        if self._seeded and load.workers > 1:
            self._tell("with a seed one worker runs: two would draw the same")
            load = msgspec.structs.replace(load, workers=1)
        await self._client.load(load)
        loaded = await self._ready()
        self._model = read_manifest(Path(load.folder)), loaded
        return self._model

    async def _ready(self) -> Loaded:
        while True:
            event = await self._events.get()
            if isinstance(event, Loaded):
                return event
            if isinstance(event, Progress):
                self._show(event)
            elif isinstance(event, Failure):
                raise event.error()
            elif isinstance(event, Died):
                raise UnavailableError(f"the engine died ({event.reason})", "Run phitui doctor")

    def _on_event(self, event: Event) -> None:
        if self._current is not None:
            self._current.on_event(event)
        else:
            self._events.put_nowait(event)
