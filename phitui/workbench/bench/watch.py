"""Looks at the card while a bench runs on it: energy of each run, lowered clocks, the card and its peak.

For CUDA alone: on a CPU the readings would take from what is measured, and tell nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from phitui.hardware.analysis.energy import EnergyMeter, EnergySample, PerToken
from phitui.hardware.sampler import Sampler
from phitui.hardware.snapshot import Device, Snapshot
from phitui.workbench.telemetry.performance import engine_device

_INTERVAL_S = 0.5
_WAIT_S = 3 * _INTERVAL_S
# Cards draw more for some seconds after they have worked.
_IDLE_S = 4.0


class Watch:
    """The sensors of the card that the engine computes on, from `start` to `stop`, on the event loop: the card with
    `uuid` (bare, as CUDA tells it), or where that is "" the one that process `pid` is on."""

    def __init__(self, pid: Callable[[], int | None], uuid: str) -> None:
        self._pid, self._uuid = pid, uuid
        self._loop = asyncio.get_running_loop()
        self._sampler = Sampler(_INTERVAL_S, self._hand_over)
        self._news = asyncio.Event()
        self._energy = EnergyMeter()
        self._working = False
        self._throttled: set[str] | None = None
        self.snapshot: Snapshot | None = None
        self.device: Device | None = None

    async def start(self) -> None:
        """Begin, and wait until the card's idle power has been read."""
        self._sampler.start()
        await self._look(10 * _WAIT_S)
        if self.device is not None and self.device.power_w is not None:
            await asyncio.sleep(_IDLE_S)

    def stop(self) -> None:
        self._sampler.stop()

    @property
    def throttle_reasons(self) -> list[str] | None:
        """What the driver named for lower clocks in any reading while a run was on; None where it tells nothing."""
        return None if self._throttled is None else sorted(self._throttled)

    def begin_run(self) -> float:
        """A run begins now; returns the time."""
        self._working = True
        return time.monotonic()

    async def end_run(self, begun: float, tokens: int) -> PerToken:
        """It is over: its energy, once the sensors have been read again."""
        ended = time.monotonic()
        self._working = False
        while not self._energy.covers(ended) and (left := ended + _WAIT_S - time.monotonic()) > 0:
            await self._look(left)
        return self._energy.per_token(begun, ended, tokens)

    async def _look(self, wait_s: float) -> None:
        """Wait for the next reading."""
        self._news.clear()
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(self._news.wait(), wait_s)

    def _hand_over(self, snapshot: Snapshot) -> None:
        """In the sampler's thread."""
        self._loop.call_soon_threadsafe(self._note, snapshot)

    def _note(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        device = engine_device(snapshot, "cuda", self._pid(), self._uuid)
        self._news.set()
        if device is None:
            return
        self.device = device
        power = device.power_w if device.power_instant_w is None else device.power_instant_w
        reason = device.unavailable.get("power_w", "")
        self._energy.note(EnergySample(time.monotonic(), device.energy_j, power, self._working, reason))
        if self._working and device.throttle_reasons is not None:
            self._throttled = (self._throttled or set()) | set(device.throttle_reasons)
