"""What fills a device's memory, part by part, for the stacked bar. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from phitui.hardware.snapshot import Device, Memory, Process

Kind = Literal["weights", "kv", "work", "others", "unknown", "reserve", "free"]


class EngineMemory(NamedTuple):
    """The engine's part: the bytes that its process has on the device, None where the driver does not say; and the
    bytes of the weights and of the KV cache in use, None where they are not known."""

    process_bytes: int | None
    weights_bytes: int | None
    kv_bytes: int | None


class Part(NamedTuple):
    """One segment. `name` says whose it is, or what is not known of it; "" where `kind` says it all."""

    kind: Kind
    bytes: int
    name: str = ""


class MemoryParts(NamedTuple):
    """The parts of a memory, from left to right; together they are `total_bytes`. `limit_bytes` is how much the tuner
    would fill. None of it is known where `reason` is not ""."""

    parts: tuple[Part, ...] = ()
    total_bytes: int | None = None
    used_bytes: int | None = None
    limit_bytes: int | None = None
    reason: str = ""

    @property
    def usable_bytes(self) -> int | None:
        """The total without the driver's reserve."""
        return None if self.total_bytes is None else self.total_bytes - self.bytes_of("reserve")

    def bytes_of(self, *kinds: Kind) -> int:
        """The bytes of all parts of these kinds."""
        return sum(part.bytes for part in self.parts if part.kind in kinds)


def memory_parts(
    memory: Memory, engine: EngineMemory | None, limit: float, others: Sequence[Process] = (), reason: str = ""
) -> MemoryParts:
    """Take a memory apart. `engine` is None where none runs on this device; `others` are the processes beside it, for
    their names; `reason` is why figures of `memory` are missing.

    What is not known is not drawn as nothing: it is a part "unknown" that says what it covers. Where the driver counts
    its reserve as used (before R510), it is within the others.
    """
    total, used = memory.total_bytes, memory.used_bytes
    if not total or used is None:
        return MemoryParts(reason=reason or "how much of it is used is not known")
    reserve = memory.reserved_bytes or 0
    used = min(used, total - reserve)
    parts = [*_used(used, engine, others), Part("reserve", reserve), Part("free", total - reserve - used)]
    limit_bytes = int(limit * (total - reserve))
    return MemoryParts(tuple(part for part in parts if part.bytes > 0), total, used, limit_bytes)


def _used(used: int, engine: EngineMemory | None, others: Sequence[Process]) -> list[Part]:
    if engine is None:
        return [Part("others", used, named(others))]
    if engine.process_bytes is None:
        # The weights are there for sure, where there is room for them; the rest may be anybody's.
        weights = engine.weights_bytes or 0
        known = weights if weights <= used else 0
        return [Part("weights", known), Part("unknown", used - known, "not told apart")]
    process = min(engine.process_bytes, used)
    return [*_engine(process, engine), Part("others", used - process, named(others))]


def _engine(process: int, engine: EngineMemory) -> list[Part]:
    weights, kv = engine.weights_bytes, engine.kv_bytes
    if weights is None or kv is None or weights + kv > process:
        return [Part("unknown", process, "engine")]
    return [Part("weights", weights), Part("kv", kv), Part("work", process - weights - kv)]


def others_of(device: Device, pid: int | None = None) -> list[Process]:
    """The processes beside `pid`. Of a machine the largest alone: it has many more than are listed."""
    others = [process for process in device.processes or () if process.pid != pid]
    if device.kind == "gpu":
        return others
    return sorted(others, key=lambda process: process.used_bytes or 0, reverse=True)[:1]


def named(processes: Sequence[Process]) -> str:
    """The process with the most memory, by its name or else its id, and how many more have some: "vllm +2". "" where
    of none is known how much it has."""
    known = [process for process in processes if process.used_bytes]
    if not known:
        return ""
    most = max(known, key=lambda process: process.used_bytes or 0)
    who = most.name or f"PID {most.pid}"
    return f"{who} +{len(known) - 1}" if len(known) > 1 else who


def memory_name(on_gpu: bool, shares_ram: bool) -> str:
    """What a device's memory is called: some cards have none of their own."""
    return "RAM" if not on_gpu else "RAM (shared)" if shares_ram else "VRAM"
