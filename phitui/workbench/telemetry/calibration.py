"""The memory's measured rate on this machine: taken once, when the engine is idle, and kept."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec

from phitui.core.errors import PhituiError
from phitui.core.ipc.frames import FrameError
from phitui.core.ipc.parent import Child
from phitui.engine.worker.threads import usable_cores
from phitui.hardware.host.copy_rate import MeasureMemory, MemoryRate
from phitui.hardware.host.cpu import cpu_name, memory
from phitui.storage.profiles import read_profile, write_profile

MEASURER = "phitui.hardware.host.copy_rate"
# As for thread counts: a load average above this share of the cores is a busy machine, whose figure is taken again.
_BUSY = 0.5
_LIMIT_S = 20.0
# With less free memory than this, what can be measured with would fit into a cache.
_LEAST_FREE_BYTES = 1 << 30


class _Kept(msgspec.Struct):
    """What profiles.json has of it."""

    read_gb_s: float
    copy_gb_s: float
    cache_bytes: int
    load: float


def known_rate(profiles: Path) -> MemoryRate | None:
    """The rate that was measured before, unless it should be measured again."""
    try:
        kept = msgspec.convert(read_profile(profiles, _key()), _Kept)
    except msgspec.ValidationError:  # nothing there, or somebody edited it
        return None
    if min(kept.read_gb_s, kept.copy_gb_s) <= 0 or (_is_busy(kept.load) and not _is_busy(os.getloadavg()[0])):
        return None
    return MemoryRate(kept.read_gb_s, kept.copy_gb_s, kept.cache_bytes)


async def measure_rate(profiles: Path, log: Path) -> MemoryRate | None:
    """Measure now, in a process of its own, for about a second, and keep it; None where it cannot be measured.

    Cancelling ends the process at once, so that a prompt need not wait for it.
    """
    load = os.getloadavg()[0]
    available: Any = memory()[1]
    if not isinstance(available, int) or available < _LEAST_FREE_BYTES:
        return None
    try:
        child = await Child.start(MEASURER, MemoryRate, log)
    except PhituiError:
        return None
    try:
        rate = await asyncio.wait_for(_ask(child, available), _LIMIT_S)
    except (FrameError, TimeoutError, asyncio.TimeoutError):
        return None
    finally:
        await child.stop(grace_s=0.0)
    if rate is not None:
        kept = _Kept(rate.read_gb_s, rate.copy_gb_s, rate.cache_bytes, round(load, 2))
        write_profile(profiles, _key(), msgspec.to_builtins(kept))
    return rate


async def _ask(child: Child, available_bytes: int) -> MemoryRate | None:
    await child.send(MeasureMemory(available_bytes))
    async for rate in child.messages():
        return rate if isinstance(rate, MemoryRate) else None
    return None


def _is_busy(load: float) -> bool:
    return load > usable_cores() * _BUSY


def _key() -> str:
    return f"memory/{cpu_name()}/{usable_cores()}"
