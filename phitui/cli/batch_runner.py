"""Runs orders one after the other on an engine of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from phitui.config.layers import Config
from phitui.config.remotes import LOCAL
from phitui.core.errors import PhituiError
from phitui.core.ipc.messages import Progress
from phitui.engine.protocol.api import Event, Loaded
from phitui.models.manifest import Manifest, read_manifest
from phitui.workbench.batch.file import BatchFile
from phitui.workbench.batch.job import BatchPlan
from phitui.workbench.batch.plan import plan_for, remote_plan
from phitui.workbench.front import Front
from phitui.workbench.start import wait_loaded
from phitui.workbench.workbench import Workbench


class BatchRunner(Front):
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
        # What dies as it loads is not tried again, and nothing is parked between files.
        self._workbench = Workbench(replace(config, engine=replace(config.engine, restart_limit=0, park_after_s=0.0)))
        self._workbench.subscribe(self)
        self._engine = self._workbench.engine
        self._rows = rows
        self._tell = tell
        self._show = show
        self._began = began
        self._events: asyncio.Queue[Event] = asyncio.Queue()
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
                await self._engine.warm()  # its imports run while the input is read
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
            await self._workbench.close()

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
            self._engine.restart_always(True)  # the job judges when it has died often enough
            await file.run(self._engine, manifest, self._engine.loaded or loaded, plan)
        except PhituiError as error:
            self._failed(file, error)
        finally:
            self._engine.restart_always(False)
            self._current = None

    def _failed(self, file: BatchFile, error: PhituiError) -> None:
        file.fail(error)
        if file is not self._last:
            self._tell(f"{file.name}: {error}; the next file goes on")

    def _plan(self, manifest: Manifest | None, loaded: Loaded) -> BatchPlan:
        if manifest is None:
            return remote_plan(self._workbench.config.now, loaded, self._rows)
        return plan_for(self._workbench.config.now, manifest, loaded, self._rows, engine_pid=self._engine.pid)

    async def _load(self) -> tuple[Manifest | None, Loaded]:
        self._events = asyncio.Queue()
        config = self._workbench.config
        if self._seeded and config.now.engine.workers > 1:
            self._tell("a seed needs one worker, since two would draw the same tokens: engine.workers is taken as 1")
            config.now = replace(config.now, engine=replace(config.now.engine, workers=1))
        self._workbench.start_engine()
        loaded = await wait_loaded(self._events, self._show)
        folder = self._engine.folder
        self._model = read_manifest(Path(folder)) if folder is not None and self._is_local else None, loaded
        return self._model

    def show_event(self, event: Event) -> None:
        if self._current is not None:
            self._current.on_event(event)
        else:
            self._events.put_nowait(event)
