"""From the figures to what the gauges say: text with units, a fraction for the bar, or the reason there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from phitui.core.text import one_line
from phitui.engine.protocol.api import Timings
from phitui.hardware.analysis.energy import PerToken
from phitui.hardware.analysis.memory_parts import MemoryParts, memory_name
from phitui.hardware.figures import short_name
from phitui.hardware.snapshot import Host, Snapshot
from phitui.tui.terminal.display import displayable
from phitui.tui.terminal.levels import Level, heat_level, memory_level, power_level
from phitui.workbench.telemetry.performance import DeviceView
from phitui.workbench.telemetry.traffic import Traffic

NOTHING = "–"
GIB = 1024**3


@dataclass(frozen=True)
class GaugeReading:
    """One figure: `value` with its unit, `fraction` of full scale (0 to 1) where it has one, and `reason` where it
    is not available.

    `memory` draws segments in place of the bar; `notes` are lines below it, the first of which the reason takes.
    `brief` is for the one line of narrow terminals; "" leaves the reading out there.
    """

    label: str
    value: str
    fraction: float | None = None
    level: Level = "ok"
    reason: str = ""
    memory: MemoryParts | None = None
    notes: tuple[str, ...] = ()
    brief: str = ""


@dataclass(frozen=True)
class Group:
    """The readings of one device or of the host; `compact` without bars."""

    title: str
    readings: list[GaugeReading]
    compact: bool = False


def groups(views: Sequence[DeviceView], host: Host, host_view: DeviceView) -> list[Group]:
    """What the column shows, from top to bottom; `host_view` is the machine as a device."""
    cards = [_card(view) for view in views if view.device.kind == "gpu"]
    return [*cards, _host(host, host_view, compact=bool(cards) and not host_view.engine)]


def _card(view: DeviceView) -> Group:
    device, why = view.device, view.device.unavailable
    return Group(
        f"GPU {device.index} · {displayable(one_line(short_name(device.name), 40))}",
        [
            _percent("GPU util", device.util_pct, why.get("util_pct", ""), "GPU"),
            _memory(memory_name(True, device.shares_ram), view.memory),
            _traffic(view),
            _power(view),
            _temperature(device.temperature_c, why.get("temperature_c", "")),
        ],
    )


def _host(host: Host, view: DeviceView, compact: bool) -> Group:
    why = host.unavailable
    memory = _memory("RAM", view.memory)
    traffic = [_traffic(view)] if view.engine else []
    return Group(
        "Host" if compact else f"CPU · {displayable(one_line(view.device.name, 40))}",
        [
            _percent("CPU", host.cpu_pct, why.get("cpu_pct", ""), "CPU"),
            memory,
            *traffic,
            _load(host),
            _temperature(host.temperature_c, why.get("temperature_c", "")),
        ],
        compact,
    )


def answer_readings(timings: Timings | None, energy: PerToken | None = None) -> list[GaugeReading]:
    """The last answer: tokens/s after the first one, the time to the first, and where it is known its energy."""
    rate = timings.decode_tokens_per_s if timings else None
    ttft = timings.ttft_ms if timings else None
    speed = NOTHING if rate is None else f"{rate:.1f} tok/s"
    first = NOTHING if ttft is None else f"{ttft:.0f} ms"
    readings = [GaugeReading("decode", speed, brief=speed), GaugeReading("TTFT", first, brief=f"TTFT {first}")]
    if timings is not None and timings.gaps is not None:
        gaps = timings.gaps
        readings.append(
            GaugeReading("ITL", f"p50 {gaps.p50_ms:.1f}, p95 {gaps.p95_ms:.1f} ms", brief=f"ITL {gaps.p50_ms:.1f} ms")
        )
        readings.append(GaugeReading("", f"{gaps.count} gaps, at this end"))
    return readings if energy is None else [*readings, *_energy(energy)]


def _energy(energy: PerToken) -> list[GaugeReading]:
    if energy.gross_j is None:
        return [GaugeReading("energy", NOTHING), GaugeReading("", energy.reason)]
    about = "≈" if energy.rough else ""
    how = ", sampled" if energy.source == "sampled" else ""
    net = "net of idle –" if energy.net_j is None else f"{about}{energy.net_j:.2f} net of idle"
    return [GaugeReading("energy", f"{about}{energy.gross_j:.2f} J/token{how}"), GaugeReading("", net)]


def missing_gpu(snapshot: Snapshot) -> str:
    """Why no GPU is shown; "" where one is."""
    return "" if any(device.kind == "gpu" for device in snapshot.devices) else snapshot.unavailable.get("gpu", "")


def _percent(label: str, value: float | None, reason: str, brief: str) -> GaugeReading:
    if value is None:
        return GaugeReading(label, NOTHING, reason=reason)
    return GaugeReading(label, f"{value:.0f} %", value / 100, brief=f"{brief} {value:.0f} %")


def _memory(label: str, memory: MemoryParts) -> GaugeReading:
    used, total = memory.used_bytes, memory.total_bytes
    if used is None or not total:
        return GaugeReading(label, NOTHING, reason=memory.reason)
    amount = f"{used / GIB:.1f} / {total / GIB:.1f} GiB"
    level = memory_level(used, memory.usable_bytes or total)
    brief = f"{label.split()[0]} {amount.replace(' / ', '/')}"
    return GaugeReading(label, amount, used / total, level, memory=memory, brief=brief)


def _traffic(view: DeviceView) -> GaugeReading:
    traffic = view.traffic
    notes = (_source(traffic), *_ceiling(view))
    if traffic.value_gb_s is None:
        return GaugeReading("Bandwidth", NOTHING, reason=traffic.reason, notes=notes)
    value = _rounded(traffic.value_gb_s)
    brief = f"{traffic.source} {value} GB/s"
    if traffic.peak_gb_s is None:
        return GaugeReading("Bandwidth", f"{value} GB/s", notes=notes, brief=brief)
    amount = f"{value} / {_rounded(traffic.peak_gb_s)} GB/s"
    return GaugeReading("Bandwidth", amount, traffic.value_gb_s / traffic.peak_gb_s, notes=notes, brief=brief)


def _source(traffic: Traffic) -> str:
    source = "upper bound, by how long it was busy" if traffic.source == "busy" else traffic.source or ""
    return source if traffic.mbu is None else f"{source} · MBU {traffic.mbu:.0%}"


def _ceiling(view: DeviceView) -> tuple[str, ...]:
    """The tokens per second of now and those that this memory cannot exceed."""
    if not view.engine:
        return ()
    most = view.traffic.ceiling_tokens_per_s
    if most is None:
        return (f"no peak: {view.traffic.peak_reason}",) if view.traffic.peak_reason else ()
    if view.decode is None:
        return (f"ceiling {_rounded(most)} tok/s",)
    return (f"{view.decode.tokens_per_s:.1f} of at most {_rounded(most)} tok/s",)


def _rounded(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _power(view: DeviceView) -> GaugeReading:
    device = view.device
    if device.power_w is None:
        return GaugeReading("Power", NOTHING, reason=device.unavailable.get("power_w", ""))
    joules = "" if view.joules_per_token is None else f" · ≈{view.joules_per_token:.1f} J/tok"
    brief = f"{device.power_w:.0f} W"
    if device.power_limit_w is None:
        return GaugeReading("Power", f"{device.power_w:.0f} W{joules}", brief=brief)
    fraction = device.power_w / device.power_limit_w
    amount = f"{device.power_w:.0f} / {device.power_limit_w:.0f} W{joules}"
    return GaugeReading("Power", amount, fraction, power_level(fraction), brief=brief)


def _temperature(celsius: float | None, reason: str) -> GaugeReading:
    if celsius is None:
        return GaugeReading("Temperature", NOTHING, reason=reason)
    value = f"{celsius:.0f} °C"
    return GaugeReading("Temperature", value, celsius / 100, heat_level(celsius), brief=value)


def _load(host: Host) -> GaugeReading:
    if host.load1 is None:
        return GaugeReading("Load", NOTHING, reason=host.unavailable.get("load1", ""))
    cores = f" on {host.cpus} CPUs" if host.cpus else ""
    fraction = host.load1 / host.cpus if host.cpus else None
    return GaugeReading("Load", f"{host.load1:.2f}{cores}", fraction, brief=f"Load {host.load1:.2f}")
