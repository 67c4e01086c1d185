"""The machine itself: CPU, load, RAM and temperature, by psutil and /proc."""

from __future__ import annotations

import functools
import math
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from phitui.hardware.figures import Missing, Sheet, clean
from phitui.hardware.host.cgroup import cgroup_limits, cpu_quota
from phitui.hardware.host.os_processes import PERIOD_S, SECOND_READING_S, ProcessTable
from phitui.hardware.host.system import attempt, psutil
from phitui.hardware.snapshot import DEVICE_FIGURES, Device, Host, Memory, Process

_SLOW_PERIOD_S = 5.0
# Shorter than this, psutil's CPU share is mostly rounding.
SHORTEST_CPU_WINDOW_S = 0.1
# Drivers of the kernel whose sensors sit in the CPU, and the label of the whole chip where they have several.
_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "acpitz")
_WHOLE_CHIP = ("Package id 0", "Tctl", "Tdie")
_NOT_LISTED = Missing("those of the machine are not listed beside a GPU's")


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
        self._table = ProcessTable(root)
        self._largest: list[Process] | Missing = Missing("not read yet")
        self._largest_due = float("-inf")

    def largest(self, now: float) -> list[Process] | Missing:
        """The processes of this machine with the most resident memory, read every 5 s; the second time soon."""
        if now >= self._largest_due:
            first = isinstance(self._largest, Missing)
            self._largest = attempt(lambda: self._table.largest(now))
            self._largest_due = now + (SECOND_READING_S if first else PERIOD_S)
        return self._largest

    def prime(self, now: float) -> None:
        """Open the first window of the CPU share: a reading 0.1 s later can tell it, in the same thread."""
        self._window_start = now
        attempt(lambda: psutil().cpu_percent(None))

    def read(self, now: float) -> Host:
        """All figures. `now` is a monotonic time in seconds. Raises nothing that a sensor does."""
        sheet = Sheet()
        total, available = memory(self._root)
        total_bytes = sheet.whole("ram_total_bytes", total)
        available_bytes = sheet.whole("ram_available_bytes", available)
        if now >= self._temperature_due:
            self._temperature = attempt(_cpu_temperature)
            self._temperature_due = now + _SLOW_PERIOD_S
        quota = cpu_quota(self._root)
        used: Any = Missing("the total or what is available is not known")
        if total_bytes is not None and available_bytes is not None:
            used = total_bytes - available_bytes
        return Host(
            cpu_pct=sheet.real("cpu_pct", self._cpu_pct(now)),
            cpus=sheet.whole("cpus", attempt(lambda: _usable_cpus(quota))),
            cpu_quota=sheet.real("cpu_quota", Missing("no cgroup limits the CPU here") if quota is None else quota),
            load1=sheet.real("load1", attempt(lambda: os.getloadavg()[0])),
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
        return attempt(lambda: psutil().cpu_percent(None))

    def _resident(self, sheet: Sheet) -> dict[str, int | None]:
        wanted = attempt(lambda: dict(self._processes()))
        if isinstance(wanted, Missing):
            sheet.missing("rss_bytes", wanted.reason)
            return {}
        return {
            name: sheet.whole(f"rss_bytes.{name}", _resident_bytes(pid), bounds="rss_bytes")
            for name, pid in wanted.items()
        }


def cpu_device(host: Host, processes: list[Process] | Missing = _NOT_LISTED) -> Device:
    """The machine as a device of kind "cpu", so that the gauges of a GPU serve where there is none."""
    figures = {
        "util_pct": "cpu_pct",
        "temperature_c": "temperature_c",
        "vram.total_bytes": "ram_total_bytes",
        "vram.used_bytes": "ram_used_bytes",
        "vram.free_bytes": "ram_available_bytes",
    }
    unavailable = dict.fromkeys(DEVICE_FIGURES, "not measured on a CPU")
    unavailable["uuid"] = "a CPU has none"
    unavailable["vram.reserved_bytes"] = "RAM has no driver's reserve"
    for metric, of in figures.items():
        unavailable.pop(metric)
        if of in host.unavailable:
            unavailable[metric] = host.unavailable[of]
    if isinstance(processes, Missing):
        unavailable["processes"] = processes.reason
    else:
        unavailable.pop("processes")
    return Device(
        kind="cpu",
        index=0,
        name=cpu_name(),
        util_pct=host.cpu_pct,
        vram=Memory(host.ram_total_bytes, host.ram_used_bytes, None, host.ram_available_bytes),
        temperature_c=host.temperature_c,
        processes=None if isinstance(processes, Missing) else processes,
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
    machine = attempt(lambda: psutil().virtual_memory())
    if isinstance(machine, Missing):
        return machine, machine
    total, available = int(machine.total), int(machine.available)
    for limit in cgroup_limits(root):
        total = min(total, limit.limit_bytes)
        available = min(available, max(0, limit.limit_bytes - limit.used_bytes))
    return total, min(total, available)


def _usable_cpus(quota: float | None) -> int:
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cpus = os.cpu_count() or 0
    return cpus if quota is None else min(cpus, math.ceil(quota))


def _cpu_temperature() -> Any:
    sensors: dict[str, Any] = getattr(psutil(), "sensors_temperatures", dict)()
    for chip in _CPU_SENSORS:
        entries = [entry for entry in sensors.get(chip, []) if entry.current]
        if entries:
            return next((entry for entry in entries if entry.label in _WHOLE_CHIP), entries[0]).current
    return Missing("this machine shows no CPU sensor")


def _resident_bytes(pid: int) -> Any:
    library = psutil()
    try:
        return library.Process(pid).memory_info().rss
    except library.NoSuchProcess:
        return Missing("the process has ended")
    except Exception as error:  # noqa: BLE001 - as in `attempt`
        return Missing(clean(f"{type(error).__name__}: {error}"))
