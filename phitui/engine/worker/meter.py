"""How much memory the engine holds, at rest and at its peak.

On a CPU that is the process's resident memory and the kernel's own high-water mark of it, on CUDA the device's memory
pool (phitui.engine.worker.cuda_pool), with the driver's count of the process beside it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from phitui.core.errors import UnavailableError
from phitui.engine.worker.cuda_pool import CudaPool
from phitui.hardware.figures import Missing
from phitui.hardware.host.own_memory import OwnMemory

_SAMPLE_S = 0.005
# A question to the driver takes its locks and Python's: seldom enough not to be seen in the step times.
_DRIVER_SAMPLE_S = 0.1
_WAIT_S = 2.0
_RESET_PEAK = "5"  # proc(5): writing it to clear_refs sets the peak to what is resident now


class Meter(Protocol):
    """Bytes of the engine's memory."""

    def rest(self) -> int:
        """What is held now, once all that is free has been given back."""

    def usable(self) -> int:
        """What the engine may hold in all: what is free now, and what it has already."""

    def watch(self) -> None:
        """Begin to look for the peak."""

    def peak(self) -> int:
        """The most that was held since `watch`."""

    def bounded(self, most_bytes: int) -> contextlib.AbstractContextManager[None]:
        """While it lasts, allocations above `most_bytes` fail, as far as that can be had."""

    def beside(self) -> int | Missing:
        """What another source says of the same peak, or why it says nothing. After `peak`."""


def meter(device: str) -> Meter:
    """The meter of "cpu" or "cuda". Raises UnavailableError where the device's memory cannot be measured."""
    if device != "cuda":
        return CpuMeter()
    pool = CudaPool()
    return CudaMeter(pool, OwnMemory(pool.uuid(), os.getpid()))


class CpuMeter:
    """Resident memory of this process. `proc` is /proc/self."""

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        self._proc = proc
        self._sampler: _Sampler | None = None

    def rest(self) -> int:
        _trim()
        return self._resident()

    def usable(self) -> int:
        from phitui.hardware.host.cpu import memory

        _, available = memory()
        if not isinstance(available, int):
            raise UnavailableError(f"free memory is not known: {available.reason}", "Run phitui doctor")
        # Mapped files are available to others as it is: only what is this process's alone comes back with it.
        return available + (self._status("RssAnon") or self._resident())

    def watch(self) -> None:
        _trim()
        try:
            (self._proc / "clear_refs").write_text(_RESET_PEAK)
        except OSError:  # not Linux, or not allowed here
            self._sampler = _Sampler(self._resident, _SAMPLE_S)

    def peak(self) -> int:
        if self._sampler is not None:
            sampler, self._sampler = self._sampler, None
            most = sampler.stop()
            return most if isinstance(most, int) else self._resident()
        return self._status("VmHWM") or self._resident()

    def beside(self) -> int | Missing:
        return Missing("only on a GPU")

    @contextmanager
    def bounded(self, most_bytes: int) -> Iterator[None]:
        data, resident = self._status("VmData"), self._resident()
        if data is None or not most_bytes:
            yield
            return
        import resource

        before = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = data + max(most_bytes - resident, 0)
        hard = before[1]
        bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, before)

    def _resident(self) -> int:
        known = self._status("VmRSS")
        if known is not None:
            return known
        import psutil

        return int(psutil.Process().memory_info().rss)

    def _status(self, key: str) -> int | None:
        """A line of /proc/self/status in bytes."""
        try:
            lines = (self._proc / "status").read_text().splitlines()
        except OSError:
            return None
        pairs = (line.split() for line in lines if line.startswith(f"{key}:"))
        return next((int(pair[1]) * 1024 for pair in pairs), None)


class CudaMeter:
    """The device's memory pool, which CTranslate2 allocates from, weights included. `driver` tells, beside it, what the
    process holds with CUDA's context and libraries."""

    def __init__(self, pool: CudaPool, driver: OwnMemory) -> None:
        self._pool, self._driver = pool, driver
        self._sampler: _Sampler | None = None
        self._beside: int | Missing = Missing("nothing was measured")

    def rest(self) -> int:
        self._pool.trim()
        held = self._pool.reserved()
        if not held:
            raise UnavailableError(
                "the engine does not take its memory from CUDA's pool, so it cannot be measured",
                "Unset the environment variable CT2_CUDA_ALLOCATOR",
            )
        return held

    def usable(self) -> int:
        return self._pool.free() + self._pool.reserved()

    def watch(self) -> None:
        self._pool.trim()
        self._pool.reset_high()
        self._sampler = _Sampler(self._driver.read, _DRIVER_SAMPLE_S)

    def peak(self) -> int:
        if self._sampler is not None:
            sampler, self._sampler = self._sampler, None
            self._beside = sampler.stop()
        return self._pool.reserved_high()

    def beside(self) -> int | Missing:
        return self._beside

    @contextmanager
    def bounded(self, most_bytes: int) -> Iterator[None]:  # noqa: ARG002 - a card refuses by itself
        yield


class _Sampler:
    """The largest of many readings, taken in a thread of their own; where all are missing, the last one's reason."""

    def __init__(self, read: Callable[[], int | Missing], pause_s: float) -> None:
        self._read, self._pause_s = read, pause_s
        self._most: int | Missing = Missing("the driver has not answered yet")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="phitui-meter", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._take(self._read())
            if self._stopped.wait(self._pause_s):
                break
        self._take(self._read())

    def _take(self, reading: int | Missing) -> None:
        if isinstance(reading, int) and isinstance(self._most, int):
            self._most = max(self._most, reading)
        elif isinstance(reading, int) or isinstance(self._most, Missing):
            self._most = reading

    def stop(self) -> int | Missing:
        """The answer. A driver that hangs is waited for a little, and then left behind."""
        self._stopped.set()
        self._thread.join(_WAIT_S)
        return self._most


def _trim() -> None:
    """glibc keeps what was freed unless it is told."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
