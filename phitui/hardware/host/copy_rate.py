"""How fast this machine's memory is, measured: the peak that a CPU's bandwidth is held against.

Runs in a process of its own, because of numpy and of the load. Two rates are taken with all usable cores and with one:
reading (the largest of many bytes, one pass over memory: what a decode step does) and copying (bytes read and bytes
written both count, as STREAM does it). A decode step only reads, so the read rate alone would do where it is reached
with the best instructions; but one core's reads wait for each other, and its copies, whose writes do not wait, were
seen to move more. A bound must not be below what the memory was seen to carry: so the peak is the higher of the two.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from phitui.core.ipc.child import Channel

# Less than 2 s in all, import and first touch of the memory included.
_BUDGET_S = 1.0
_LEAST_BYTES = 256 << 20
_TIMES_CACHE = 4
# Of the memory that is free, so that nobody is pushed into swap.
_SHARE_OF_FREE = 0.25


class MeasureMemory(msgspec.Struct, tag=True, frozen=True):
    """Measure, with up to this many bytes."""

    available_bytes: int


class MemoryRate(msgspec.Struct, tag=True, frozen=True):
    """What was measured, in GB/s (10⁹ bytes), and the size of the processor's last cache, 0 where it is not known: a
    model that fits in it is not bound by memory."""

    read_gb_s: float
    copy_gb_s: float
    cache_bytes: int = 0

    @property
    def peak_gb_s(self) -> float:
        """The bound for a decode."""
        return max(self.read_gb_s, self.copy_gb_s)


def measure(available_bytes: int, cores: int, budget_s: float = _BUDGET_S) -> MemoryRate:
    """The best rates of as many passes as fit into `budget_s`; anything else that runs only ever makes one slower.

    Takes a quarter of `available_bytes` at most. Raises MemoryError where that cannot be had.
    """
    import numpy as np

    cache = cache_bytes()
    size = int(min(max(_LEAST_BYTES, _TIMES_CACHE * cache), available_bytes * _SHARE_OF_FREE)) & ~4095
    memory = np.ones(size, np.int8)
    half = size // 2
    best = {"read": 0.0, "copy": 0.0}
    deadline = time.perf_counter() + budget_s
    with ThreadPoolExecutor(cores) as pool:
        while True:
            for threads in sorted({1, cores}):
                read = _time(pool, lambda part: memory[part].max(), _parts(size, threads))
                copy = _time(pool, lambda part: _copy(np, memory, part, half), _parts(half, threads))
                best["read"] = max(best["read"], size / read / 1e9)
                best["copy"] = max(best["copy"], 2 * half / copy / 1e9)
            if time.perf_counter() > deadline:
                return MemoryRate(round(best["read"], 2), round(best["copy"], 2), cache)


def _copy(np: Any, memory: Any, part: slice, half: int) -> None:
    np.copyto(memory[half + part.start : half + part.stop], memory[part])


def _parts(size: int, threads: int) -> list[slice]:
    edges = [size * i // threads for i in range(threads + 1)]
    return [slice(begin, end) for begin, end in pairwise(edges)]


def _time(pool: ThreadPoolExecutor, work: Callable[[slice], object], parts: list[slice]) -> float:
    begun = time.perf_counter()
    list(pool.map(work, parts))
    return time.perf_counter() - begun


def cache_bytes(root: Path = Path("/")) -> int:
    """The last-level caches of all processors together, as the kernel tells them; 0 where it does not."""
    sizes: dict[str, int] = {}
    for index in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cache/index[0-9]*"):
        for shared, level, size in _cache(index):
            if level >= 3:
                sizes[shared] = size
    return sum(sizes.values())


def _cache(index: Path) -> Iterator[tuple[str, int, int]]:
    """Who shares it, its level and its size in bytes."""
    try:
        level = int((index / "level").read_text())
        size = (index / "size").read_text().strip()
        yield (index / "shared_cpu_list").read_text().strip(), level, int(size.rstrip("K")) * 1024
    except (OSError, ValueError):  # no such file, or a size in another form
        return


def main() -> None:
    """The child: one request, one answer, and the end."""
    channel = Channel(MeasureMemory)
    request = channel.receive()
    if request is not None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        channel.send(measure(request.available_bytes, cores))
