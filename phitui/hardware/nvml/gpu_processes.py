"""The processes on a GPU, as the driver lists them."""

from __future__ import annotations

import time
from typing import Any

from phitui.hardware.figures import Missing
from phitui.hardware.host.os_processes import ProcessTable
from phitui.hardware.nvml.driver import Question, ask
from phitui.hardware.snapshot import Process

# By name and not by the newest form alone: with the wrong layout of its answer a driver's list is garbage.
COMPUTE: tuple[Question, ...] = (
    ("nvmlDeviceGetComputeRunningProcesses_v3", ()),
    ("nvmlDeviceGetComputeRunningProcesses_v2", ()),
)
# Takes some 4.5 ms in the driver.
_GRAPHICS: tuple[Question, ...] = (
    ("nvmlDeviceGetGraphicsRunningProcesses_v3", ()),
    ("nvmlDeviceGetGraphicsRunningProcesses_v2", ()),
)
_WINDOW_S = 6.0
_LARGEST_PID = 1 << 22  # Linux's PID_MAX_LIMIT
_MOST_LISTED = 256
_NOT_TOLD = Missing("the driver does not report this process's share")
_NO_SAMPLE = Missing("the driver has no sample of this process")


def gpu_processes(handle: Any, table: ProcessTable, now: float) -> list[Process] | Missing:
    """Who uses the GPU, by process id; ids that cannot be are left out. Raises GpuLostError."""
    lists = {"C": ask(handle, COMPUTE), "G": ask(handle, _GRAPHICS)}
    told = {kind: answer for kind, answer in lists.items() if not isinstance(answer, Missing)}
    if not told:
        refusal: Missing = lists["C"]
        return refusal
    kinds: dict[int, list[str]] = {}
    used: dict[int, Any] = {}
    for kind, entries in told.items():
        for entry in entries:
            if 0 < entry.pid <= _LARGEST_PID and len(kinds) < _MOST_LISTED:
                kinds.setdefault(entry.pid, []).append(kind)
                used[entry.pid] = _larger(used.get(entry.pid), entry.usedGpuMemory)
    if not kinds:
        return []
    util = _utilization(handle)
    return [
        table.of_driver(
            pid,
            "+".join(dict.fromkeys(kinds[pid])),
            _NOT_TOLD if used[pid] is None else used[pid],
            util if isinstance(util, Missing) else util.get(pid, _NO_SAMPLE),
            now,
        )
        for pid in sorted(kinds)
    ]


def _larger(one: Any, other: Any) -> Any:
    """A process in both lists has the same memory in each, or is not told in one of them."""
    return other if one is None else one if other is None else max(one, other)


def _utilization(handle: Any) -> dict[int, int] | Missing:
    """Newest share of the multiprocessors by process id. An empty list comes as code 0, or as "not found"."""
    since_us = int((time.time() - _WINDOW_S) * 1e6)
    answer = ask(handle, (("nvmlDeviceGetProcessUtilization", (since_us,)),))
    if isinstance(answer, Missing):
        return {} if answer.code in (0, 6) else answer
    return {entry.pid: entry.smUtil for entry in sorted(answer, key=lambda entry: int(entry.timeStamp))}
