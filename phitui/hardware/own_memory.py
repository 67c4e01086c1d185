"""What the NVIDIA driver says that processes hold of a card: beside the engine's own count, and to name the others."""

from __future__ import annotations

from typing import Any

from phitui.hardware.driver import GpuLostError, Question, ask, call, gpu_count
from phitui.hardware.figures import Missing

_COMPUTE: tuple[Question, ...] = (
    ("nvmlDeviceGetComputeRunningProcesses_v3", ()),
    ("nvmlDeviceGetComputeRunningProcesses_v2", ()),
)
_MOST_BYTES = 1 << 50


class OwnMemory:
    """The memory of process `pid` on the card `uuid` (bare, as CUDA tells it: without "GPU-").

    Its calls can hang in the driver: only from a thread that may wait.
    """

    def __init__(self, uuid: str, pid: int) -> None:
        self._uuid, self._pid = uuid.lower(), pid
        self._handle: Any = None

    def read(self) -> int | Missing:
        """Bytes, context and libraries included, or why they are not known. Raises nothing."""
        try:
            if self._handle is None:
                self._handle = self._find()
            return self._handle if isinstance(self._handle, Missing) else self._held()
        except GpuLostError as error:
            return Missing(str(error))

    def _find(self) -> Any:
        started = call("nvmlInitWithFlags", 0)
        return started if isinstance(started, Missing) else _card(self._uuid)

    def _held(self) -> int | Missing:
        listed = _listed(self._handle)
        if isinstance(listed, Missing):
            return listed
        if self._pid not in listed:
            return Missing("the driver's list has no process of the engine's id (in a container it may have another)")
        held = listed[self._pid]
        return Missing("the driver does not tell this process's share") if held is None else held


def processes_on(uuid: str) -> dict[int, int | None] | Missing:
    """Bytes by process id on a card, None where the driver does not tell; or why there is no list. Raises nothing."""
    started = call("nvmlInitWithFlags", 0)
    if isinstance(started, Missing):
        return started
    try:
        handle = _card(uuid.lower())
        return handle if isinstance(handle, Missing) else _listed(handle)
    except GpuLostError as error:
        return Missing(str(error))
    finally:
        call("nvmlShutdown")


def _card(uuid: str) -> Any:
    """The handle of the card with this UUID, or Missing. Raises GpuLostError."""
    count = gpu_count()
    if isinstance(count, Missing):
        return count
    for index in range(count):
        handle = call("nvmlDeviceGetHandleByIndex", index)
        found = handle if isinstance(handle, Missing) else ask(handle, (("nvmlDeviceGetUUID", ()),))
        if isinstance(found, str) and uuid and found.lower().endswith(uuid):
            return handle
    return Missing("the driver lists no card of the engine's UUID")


def _listed(handle: Any) -> dict[int, int | None] | Missing:
    """Bytes by process id. Raises GpuLostError."""
    listed = ask(handle, _COMPUTE)
    if isinstance(listed, Missing):
        return listed
    return {entry.pid: entry.usedGpuMemory if _may_be(entry.usedGpuMemory) else None for entry in listed}


def _may_be(held: object) -> bool:
    return isinstance(held, int) and 0 <= held < _MOST_BYTES
