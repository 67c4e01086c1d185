"""How much memory an engine may hold by what is free now: whether a stored tuning still has room."""

from __future__ import annotations

from phitui.hardware.host.cpu import memory
from phitui.hardware.host.own_memory import usable_vram
from phitui.hardware.host.system import attempt, psutil


def usable_bytes(device: str, device_uuid: str, engine_pid: int | None) -> int | None:
    """RAM, or memory of the card `device_uuid`, in bytes: what is available, and what the engine holds already. None
    where that is not known. On a card this asks the driver, and waits for it 2 s at most; CUDA's context is within it,
    which a tuning's own figures do not count."""
    if device == "cuda":
        usable = usable_vram(device_uuid, engine_pid)
        return usable if isinstance(usable, int) else None
    return _usable_ram(engine_pid)


def _usable_ram(engine_pid: int | None) -> int | None:
    _, available = memory()
    if not isinstance(available, int):
        return None
    held = attempt(lambda: int(psutil().Process(engine_pid).memory_info().rss)) if engine_pid is not None else 0
    return available + held if isinstance(held, int) else available
