"""Asks a remote engine for its load while it answers."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from phitui.core.tasks import start_task
from phitui.engine.remote.window import WINDOW_S, LoadFigures, figures
from phitui.workbench.engines import Engines

if TYPE_CHECKING:
    from phitui.engine.remote.metrics import ServerLoad


class ServerWatch:
    """Reads every `interval_s` on the event loop, and keeps the last minute of the engine that answers now."""

    def __init__(self, engine: Engines, interval_s: float) -> None:
        self._engine = engine
        self._interval_s = interval_s
        self._loads: deque[ServerLoad] = deque()
        self._of: object = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = start_task(self._run(), name="phitui-server-watch")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def figures(self) -> LoadFigures | None:
        """The load of the remote engine that answers; None where none does, or it has not been asked yet."""
        loaded = self._engine.loaded
        if loaded is None or loaded.remote is None or loaded is not self._of or not self._loads:
            return None
        return figures(self._loads)

    async def _run(self) -> None:
        while True:
            loaded = self._engine.loaded
            if loaded is not None and loaded.remote is not None:
                load = await self._engine.server_load()
                if load is not None and self._engine.loaded is loaded:
                    self._keep(load, loaded)
            await asyncio.sleep(self._interval_s)

    def _keep(self, load: ServerLoad, loaded: object) -> None:
        """Another engine, or one that counts from nothing again, begins anew. A reading without the count says nothing
        of that."""
        counts = [one.generated_tokens for one in (*self._loads, load) if one.generated_tokens is not None]
        if loaded is not self._of or counts[-2:] != sorted(counts[-2:]):
            self._loads.clear()
        self._of = loaded
        self._loads.append(load)
        while load.at - self._loads[0].at > WINDOW_S:
            self._loads.popleft()
