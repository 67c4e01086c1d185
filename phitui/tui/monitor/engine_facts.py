"""What the engine's own clock adds to the figures of its device."""

from __future__ import annotations

from phitui.tui.charts.cells import NOTHING
from phitui.tui.monitor.gauges import Fact
from phitui.workbench.telemetry.performance import DeviceView


def engine_facts(view: DeviceView) -> list[Fact]:
    """Speed against what the memory allows; nothing of a device without our engine."""
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
    ]


def _energy(view: DeviceView) -> list[Fact]:
    """Of a GPU: a CPU's energy is not read."""
    if view.device.kind != "gpu":
        return []
    joules = view.joules_per_token
    return [Fact("J/token", NOTHING if joules is None else f"≈{joules:.2f}", 6)]


def _of(value: float | None, form: str, unit: str) -> str:
    return NOTHING if value is None else f"{value:{form}}{unit}"
