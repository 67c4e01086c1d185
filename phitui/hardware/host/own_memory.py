"""What the NVIDIA driver says that processes hold of a card: beside the engine's own count, and to name the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from phitui.hardware.figures import Missing, Sheet, same_uuid
from phitui.hardware.nvml.device_figures import MEMORY, memory_figures
from phitui.hardware.nvml.driver import GpuLostError, ask, call, gpu_count, within
from phitui.hardware.nvml.gpu_processes import COMPUTE

_MOST_BYTES = 1 << 50
_WAIT_S = 2.0

T = TypeVar("T")


class OwnMemory:
    """The memory of process `pid` on the card `uuid` (bare, as CUDA tells it: without "GPU-").

    Its calls can hang in the driver: only from a thread that may wait.
    """

    def __init__(self, uuid: str, pid: int) -> None:
        self._uuid, self._pid = uuid, pid
        self._handle: Any = None

    def read(self) -> int | Missing:
        """Bytes, context and libraries included, or why they are not known. Raises nothing."""
        try:
            if self._handle is None:
                self._handle = self._find()
            return self._handle if isinstance(self._handle, Missing) else _held_by(self._handle, self._pid)
        except GpuLostError as error:
            return Missing(str(error))

    def _find(self) -> Any:
        started = call("nvmlInitWithFlags", 0)
        return started if isinstance(started, Missing) else _card(self._uuid)


def processes_on(uuid: str) -> dict[int, int | None] | Missing:
    """Bytes by process id on a card, None where the driver does not tell; or why there is no list. Waits for the driver
    2 s at most. Raises nothing."""
    return _of_card(uuid, _listed)


def usable_vram(uuid: str, pid: int | None) -> int | Missing:
    """Bytes of a card that process `pid` may hold: what is free, and what it has. None as `pid` is one that has nothing
    yet. Waits for the driver 2 s at most. Raises nothing."""

    def read(handle: Any) -> int | Missing:
        answer = ask(handle, MEMORY)
        free = memory_figures(Sheet(), answer).free_bytes
        if free is None:
            return answer if isinstance(answer, Missing) else Missing("the driver does not report what is free")
        if pid is None:
            return free
        held = _held_by(handle, pid)
        return held if isinstance(held, Missing) else free + held

    return _of_card(uuid, read)


def _of_card(uuid: str, question: Callable[[Any], T | Missing]) -> T | Missing:
    def ask_driver() -> T | Missing:
        started = call("nvmlInitWithFlags", 0)
        if isinstance(started, Missing):
            return started
        try:
            handle = _card(uuid)
            return handle if isinstance(handle, Missing) else question(handle)
        except GpuLostError as error:
            return Missing(str(error))
        finally:
            call("nvmlShutdown")

    answer = within(_WAIT_S, ask_driver)
    return Missing(f"the driver has not answered for {_WAIT_S:g} s") if answer is None else answer


def _card(uuid: str) -> Any:
    """The handle of the card with this UUID, or Missing. Raises GpuLostError."""
    count = gpu_count()
    if isinstance(count, Missing):
        return count
    for index in range(count):
        handle = call("nvmlDeviceGetHandleByIndex", index)
        found = handle if isinstance(handle, Missing) else ask(handle, (("nvmlDeviceGetUUID", ()),))
        if isinstance(found, str) and same_uuid(found, uuid):
            return handle
    return Missing("the driver lists no card of the engine's UUID")


def _held_by(handle: Any, pid: int) -> int | Missing:
    """Bytes of one process. Raises GpuLostError."""
    listed = _listed(handle)
    if isinstance(listed, Missing):
        return listed
    if pid not in listed:
        return Missing("the driver's list has no process of the engine's id (in a container it may have another)")
    held = listed[pid]
    return Missing("the driver does not report this process's share") if held is None else held


def _listed(handle: Any) -> dict[int, int | None] | Missing:
    """Bytes by process id. Raises GpuLostError."""
    listed = ask(handle, COMPUTE)
    if isinstance(listed, Missing):
        return listed
    return {entry.pid: entry.usedGpuMemory if _may_be(entry.usedGpuMemory) else None for entry in listed}


def _may_be(held: object) -> bool:
    return isinstance(held, int) and 0 <= held < _MOST_BYTES
