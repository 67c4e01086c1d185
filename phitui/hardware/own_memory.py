"""What the NVIDIA driver says that one process holds of one card, to put beside the engine's own count."""

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
        count = started if isinstance(started, Missing) else gpu_count()
        if isinstance(count, Missing):
            return count
        for index in range(count):
            handle = call("nvmlDeviceGetHandleByIndex", index)
            uuid = handle if isinstance(handle, Missing) else ask(handle, (("nvmlDeviceGetUUID", ()),))
            if isinstance(uuid, str) and self._uuid and uuid.lower().endswith(self._uuid):
                return handle
        return Missing("the driver lists no card of the engine's UUID")

    def _held(self) -> int | Missing:
        listed = ask(self._handle, _COMPUTE)
        if isinstance(listed, Missing):
            return listed
        held = [entry.usedGpuMemory for entry in listed if entry.pid == self._pid]
        if not held:
            return Missing("the driver's list has no process of the engine's id (in a container it may have another)")
        if not isinstance(held[0], int) or not 0 <= held[0] < _MOST_BYTES:
            return Missing("the driver does not tell this process's share")
        return held[0]
