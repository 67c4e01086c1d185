"""The machine itself: CPU, load, RAM and temperature, by psutil and /proc."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from phitui.hardware.figures import Missing, Sheet, clean
from phitui.hardware.snapshot import Device, Host, Memory

_SLOW_PERIOD_S = 5.0
# Shorter than this, psutil's CPU share is mostly rounding.
SHORTEST_CPU_WINDOW_S = 0.1
# Drivers of the kernel whose sensors sit in the CPU, and the label of the whole chip where they have several.
_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "acpitz")
_WHOLE_CHIP = ("Package id 0", "Tctl", "Tdie")


class HostReader:
    """Reads the machine's figures; each is asked apart, so that one that fails leaves the others.

    `processes` gives the names and process ids whose resident memory is wanted; `root` holds /proc and /sys.
    """

    def __init__(self, processes: Callable[[], Mapping[str, int]] = dict, root: Path = Path("/")) -> None:
        self._processes = processes
        self._root = root
        self._window_start: float | None = None
        self._temperature: Any = Missing("not read yet")
        self._temperature_due = float("-inf")

    def prime(self, now: float) -> None:
        """Open the first window of the CPU share: a reading 0.1 s later can tell it, in the same thread."""
        self._window_start = now
        _try(lambda: _psutil().cpu_percent(None))

    def read(self, now: float) -> Host:
        """All figures. `now` is a monotonic time in seconds. Raises nothing that a sensor does."""
        sheet = Sheet()
        total, available = memory(self._root)
        total_bytes = sheet.whole("ram_total_bytes", total)
        available_bytes = sheet.whole("ram_available_bytes", available)
        if now >= self._temperature_due:
            self._temperature = _try(_cpu_temperature)
            self._temperature_due = now + _SLOW_PERIOD_S
        used: Any = Missing("the total or what is available is not known")
        if total_bytes is not None and available_bytes is not None:
            used = total_bytes - available_bytes
        return Host(
            cpu_pct=sheet.real("cpu_pct", self._cpu_pct(now)),
            cpus=sheet.whole("cpus", _try(_usable_cpus)),
            load1=sheet.real("load1", _try(lambda: os.getloadavg()[0])),
            ram_total_bytes=total_bytes,
            ram_used_bytes=sheet.whole("ram_used_bytes", used),
            ram_available_bytes=available_bytes,
            temperature_c=sheet.real("temperature_c", self._temperature),
            rss_bytes=self._resident(sheet),
            unavailable=sheet.unavailable,
        )

    def _cpu_pct(self, now: float) -> Any:
        if self._window_start is None:
            self.prime(now)
        if self._window_start is None or now - self._window_start < SHORTEST_CPU_WINDOW_S:
            return Missing("known from the second sample on")
        self._window_start = now
        return _try(lambda: _psutil().cpu_percent(None))

    def _resident(self, sheet: Sheet) -> dict[str, int | None]:
        wanted = _try(lambda: dict(self._processes()))
        if isinstance(wanted, Missing):
            sheet.missing("rss_bytes", wanted.reason)
            return {}
        return {
            name: sheet.whole(f"rss_bytes.{name}", _resident_bytes(pid), bounds="rss_bytes")
            for name, pid in wanted.items()
        }


def cpu_device(host: Host) -> Device:
    """The machine as a device of kind "cpu", so that the gauges of a GPU serve where there is none."""
    figures = {
        "util_pct": "cpu_pct",
        "temperature_c": "temperature_c",
        "vram.total_bytes": "ram_total_bytes",
        "vram.used_bytes": "ram_used_bytes",
        "vram.free_bytes": "ram_available_bytes",
    }
    unavailable = {metric: host.unavailable[of] for metric, of in figures.items() if of in host.unavailable}
    unavailable["uuid"] = "a CPU has none"
    unavailable["vram.reserved_bytes"] = "RAM has no driver's reserve"
    for metric in ("memory_busy_pct", "power_w", "power_limit_w", "sm_clock_mhz", "mem_clock_mhz", "fan_pct"):
        unavailable[metric] = "not measured on a CPU"
    unavailable["throttle_reasons"] = "not measured on a CPU"
    return Device(
        kind="cpu",
        index=0,
        name=cpu_name(),
        util_pct=host.cpu_pct,
        vram=Memory(host.ram_total_bytes, host.ram_used_bytes, None, host.ram_available_bytes),
        temperature_c=host.temperature_c,
        unavailable=unavailable,
    )


@functools.cache
def cpu_name(root: Path = Path("/")) -> str:
    """The CPU's name as the kernel has it, or its architecture where it has none."""
    try:
        for line in (root / "proc/cpuinfo").read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and clean(value):
                return clean(value)
    except OSError:
        pass
    return f"{platform.machine() or 'unknown'} CPU"


def memory(root: Path = Path("/")) -> tuple[Any, Any]:
    """RAM in bytes, total and available to a new program: the machine's, within all cgroup limits."""
    machine = _try(lambda: _psutil().virtual_memory())
    if isinstance(machine, Missing):
        return machine, machine
    total, available = int(machine.total), int(machine.available)
    for limit in cgroup_limits(root):
        total = min(total, limit.limit_bytes)
        available = min(available, max(0, limit.limit_bytes - limit.used_bytes))
    return total, min(total, available)


class CgroupLimit(NamedTuple):
    """A memory limit around this process, and how much of it cannot be had back without swapping."""

    limit_bytes: int
    used_bytes: int


def cgroup_limits(root: Path) -> Iterator[CgroupLimit]:
    """The limits of this process's cgroup and of all above it, of version 2 or 1, innermost first."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    base = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            names = ("memory.max", "memory.current", "inactive_file")
            yield from _limits_upwards(base, path, names)
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _limits_upwards(base / "memory", path, names)


def _limits_upwards(mount: Path, path: str, names: tuple[str, str, str]) -> Iterator[CgroupLimit]:
    # In a container the path may be the host's, not mounted here: the mount itself is then the cgroup.
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
    for depth in range(len(parts), -1, -1):
        folder = mount.joinpath(*parts[:depth])
        limit = _number(folder / names[0])
        used = _number(folder / names[1])
        if limit is not None and used is not None:
            yield CgroupLimit(limit, max(0, used - _droppable(folder / "memory.stat", names[2])))


def _number(file: Path) -> int | None:
    """The number in `file`; None where there is none, as in "max"."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _droppable(stat: Path, key: str) -> int:
    """Bytes of cached files that the kernel drops first when memory runs short."""
    try:
        pairs = (line.split() for line in stat.read_text().splitlines())
        return next((int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == key), 0)
    except (OSError, ValueError):
        return 0


def _psutil() -> Any:
    """psutil, imported when first needed: 30 ms that the console's start does not have."""
    import psutil

    return psutil


def _try(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except Exception as error:  # noqa: BLE001 - a sensor that fails is a figure that is missing
        return Missing(clean(f"{type(error).__name__}: {error}"))


def _usable_cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 0


def _cpu_temperature() -> Any:
    sensors: dict[str, Any] = getattr(_psutil(), "sensors_temperatures", dict)()
    for chip in _CPU_SENSORS:
        entries = [entry for entry in sensors.get(chip, []) if entry.current]
        if entries:
            return next((entry for entry in entries if entry.label in _WHOLE_CHIP), entries[0]).current
    return Missing("this machine shows no CPU sensor")


def _resident_bytes(pid: int) -> Any:
    psutil = _psutil()
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.NoSuchProcess:
        return Missing("the process has ended")
    except Exception as error:  # noqa: BLE001 - as in _try
        return Missing(clean(f"{type(error).__name__}: {error}"))
