"""What the engine's own clock adds to the figures of its device."""

from __future__ import annotations

from phitui.hardware.memory_parts import Kind
from phitui.jobs.performance import View
from phitui.tui.monitor.cells import NOTHING
from phitui.tui.monitor.gauges import GIB, Fact

_PARTS: tuple[tuple[str, Kind], ...] = (("weights", "weights"), ("KV", "kv"), ("work", "work"), ("others", "others"))


def engine_facts(view: View) -> list[Fact]:
    """Speed against what the memory allows, and the parts of the memory; nothing of a device without our engine."""
    if not view.engine:
        return []
    traffic, decode = view.traffic, view.decode
    return [
        Fact("decode", _of(decode.tokens_per_s if decode else None, ".0f", " tok/s"), 10),
        Fact("at most", _of(traffic.ceiling_tokens_per_s, ".0f", " tok/s"), 10),
        Fact("MBU", _of(traffic.mbu and 100 * traffic.mbu, ".0f", " %"), 5),
        # CTranslate2 copies each layer's cache to append to it: up to three times what a step has to read of it.
        Fact("with KV copies", _of(traffic.engine_gb_s, ".0f", " GB/s"), 9),
        *_energy(view),
        *(
            Fact(label, _size(view.memory.bytes_of(kind)), 8)
            for label, kind in _PARTS
            if any(part.kind == kind for part in view.memory.parts)
        ),
    ]


def _energy(view: View) -> list[Fact]:
    """Of a GPU: a CPU's energy is not read."""
    return [Fact("J/token", _of(view.joules_per_token, ".2f", ""), 5)] if view.device.kind == "gpu" else []


def _size(size: int) -> str:
    """Two decimals below 10 GiB: a small model's cache is not nothing."""
    return f"{size / GIB:.{1 if size >= 10 * GIB else 2}f} GiB"


def _of(value: float | None, form: str, unit: str) -> str:
    return NOTHING if value is None else f"{value:{form}}{unit}"
