"""When the machine's memory is measured: once the engine has been idle for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

from phitui.config.layers import home, logs_dir
from phitui.storage.profiles import FILE_NAME
from phitui.workbench.telemetry.performance import Performance

if TYPE_CHECKING:
    from phitui.hardware.host.copy_rate import MemoryRate

# So that who prompts right after the start is not met by it.
_QUIET_S = 3.0
_TRIES = 3


class Calibrator:
    """Finds the memory's rate that was kept, or has it measured once the engine has nothing to do, and gives way to a
    prompt."""

    def __init__(self, performance: Performance, clock: Callable[[], float] = time.monotonic) -> None:
        self._performance = performance
        self._clock = clock
        self._idle_since: float | None = None
        self._looked_up = False
        self._tries = 0
        self._cancelled = False
        self._task: asyncio.Task[MemoryRate | None] | None = None

    def look(self) -> None:
        """See whether to begin or to give way. Call it with every event and every second; from the event loop."""
        if not self._performance.wants_memory_rate:
            self._idle_since = None
            self._give_way()
            return
        now = self._clock()
        if self._idle_since is None:
            self._idle_since = now
        if self._task is not None:
            return
        if not self._looked_up:
            self._looked_up = True
            self._begin(_kept())
        elif now - self._idle_since >= _QUIET_S and self._tries < _TRIES:
            self._tries += 1
            self._begin(_measured())

    async def stop(self) -> None:
        """End a measurement that runs."""
        task = self._task
        self._give_way()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    def _begin(self, work: Coroutine[None, None, MemoryRate | None]) -> None:
        self._task = asyncio.create_task(work, name="phitui-calibration")
        self._task.add_done_callback(self._take)

    def _give_way(self) -> None:
        if self._task is not None and not self._cancelled:  # a second time would cut short how it ends its process
            self._cancelled = True
            self._task.cancel()

    def _take(self, task: asyncio.Task[MemoryRate | None]) -> None:
        self._task, self._cancelled = None, False
        if task.cancelled():
            self._idle_since, self._looked_up, self._tries = None, False, 0
        elif (rate := task.result()) is not None:
            self._performance.memory_rate = rate


async def _kept() -> MemoryRate | None:
    from phitui.workbench.telemetry.calibration import known_rate  # not before the first frame

    return await asyncio.to_thread(known_rate, home() / FILE_NAME)


async def _measured() -> MemoryRate | None:
    from phitui.workbench.telemetry.calibration import measure_rate

    return await measure_rate(home() / FILE_NAME, logs_dir() / "calibration.log")
