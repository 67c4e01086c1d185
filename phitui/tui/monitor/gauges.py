"""The figures of one device as the monitor words them: gauges with a graph each, and smaller facts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from phitui.hardware.analysis.hints import HARMLESS
from phitui.hardware.analysis.memory_parts import MemoryParts, memory_name
from phitui.hardware.snapshot import Device, Host
from phitui.tui.charts.cells import HEAVY, LIGHT, MUTED, NOTHING, OK, VALUE, WARN, Row, apart, bar, fit, name
from phitui.tui.charts.memory_cells import LOOKS, Counts, bar_cells, cells, entries, shortened
from phitui.tui.terminal.levels import HEAVY_LOAD, MODERATE, Level, heat_level, memory_level, power_level

if TYPE_CHECKING:  # the engine's side is not needed where the monitor stands alone
    from phitui.workbench.telemetry.performance import DeviceView

GIB = 1024**3

# Labels for narrow columns.
_SHORT = {"Bandwidth": "BW", "RAM (shared)": "RAM"}
# A shorter bar of a memory has no cell to spare for the limit.
_MARK_FROM = 12


class GraphGauge(NamedTuple):
    """A figure with a bar and a graph. `values` are its wordings, the longest first, in the colour of `role`; `parts`
    the bar's, as shares of full scale, or a memory's; `full_scale` the graph's, None where the figure has no natural
    one."""

    label: str
    values: tuple[str, ...]
    parts: tuple[tuple[float, str], ...] | MemoryParts
    metric: str
    full_scale: float | None
    role: str = VALUE


class Fact(NamedTuple):
    """A smaller figure. `slot` is the room that it keeps, in cells, so that its neighbours stand still."""

    label: str
    value: str
    slot: int
    role: str = VALUE


def gauges(device: Device, memory: MemoryParts) -> list[GraphGauge]:
    """The gauges of a device: four of a GPU; of a CPU two, and its bandwidth where that is known. `memory` is the
    device's, part by part."""
    if device.kind == "cpu":
        known = device.bandwidth.value_gb_s is not None or device.bandwidth.peak_gb_s is not None
        return [_util("CPU", device), _memory(device, memory), *([_bandwidth(device)] if known else [])]
    return [_util("Util", device), _memory(device, memory), _bandwidth(device), _power(device)]


def _util(label: str, device: Device) -> GraphGauge:
    value = device.util_pct
    parts = () if value is None else _warm(value / 100)
    return GraphGauge(label, (_percent(value),), parts, "util_pct", 100.0)


def _memory(device: Device, memory: MemoryParts) -> GraphGauge:
    label = memory_name(device.kind != "cpu", device.shares_ram)
    used, total, reserved = device.vram.used_bytes, device.vram.total_bytes, device.vram.reserved_bytes
    scale = float(total) if total else None
    if used is None or not total:
        return GraphGauge(label, (NOTHING,), (), "used_bytes", scale)
    words = (f"{used / GIB:.1f} / {total / GIB:.1f} GiB", f"{used / GIB:.1f}/{total / GIB:.0f} GiB")
    return GraphGauge(label, words, memory, "used_bytes", scale, _level(memory_level(used, total - (reserved or 0))))


def _bandwidth(device: Device) -> GraphGauge:
    value, peak, source = device.bandwidth.value_gb_s, device.bandwidth.peak_gb_s, device.bandwidth.source or ""
    if value is None:
        return GraphGauge("Bandwidth", (NOTHING,), (), "bandwidth_gb_s", peak)
    sign = "≤ " if source == "busy" else ""  # the time that memory was busy bounds the traffic, no more
    words = [f"{sign}{value:.0f} GB/s {source}", f"{sign.strip()}{value:.0f} GB/s {source[:4]}"]
    if peak:
        words.insert(0, f"{sign}{value:.0f} / {peak:.0f} GB/s {source}")
    parts = _warm(value / peak) if peak else ()
    return GraphGauge("Bandwidth", tuple(words), parts, "bandwidth_gb_s", peak)


def _power(device: Device) -> GraphGauge:
    draw, limit = device.power_w, device.power_limit_w
    if draw is None:
        return GraphGauge("Power", (NOTHING,), (), "power_w", limit)
    if not limit:
        return GraphGauge("Power", (f"{draw:.0f} W",), (), "power_w", None)
    level = power_level(draw / limit)
    parts = _warm(draw / limit) if level == "ok" else ((draw / limit, level),)
    return GraphGauge("Power", (f"{draw:.0f} / {limit:.0f} W", f"{draw:.0f} W"), parts, "power_w", limit)


def _warm(share: float) -> tuple[tuple[float, str], ...]:
    """A bar whose colour warms to its end: light, then moderate, then heavy load. Apart from the colours of limits, as
    a device at work is as it should be."""
    ends = ((MODERATE, LIGHT), (HEAVY_LOAD, OK), (1.0, HEAVY))
    starts = (0.0, MODERATE, HEAVY_LOAD)
    parts = [(min(share, end) - start, role) for start, (end, role) in zip(starts, ends, strict=True) if share > start]
    return tuple(parts) or ((0.0, LIGHT),)


def head(gauge: GraphGauge, width: int) -> Row:
    """Label and value in `width` cells: the longest wording that fits."""
    for value in gauge.values:
        for label in (gauge.label, _SHORT.get(gauge.label, gauge.label)):
            if len(label) + 1 + len(value) <= width:
                return apart([(label, MUTED)], [(value, gauge.role)], width)
    return fit([(gauge.values[-1], gauge.role)], width)


def bar_row(gauge: GraphGauge, width: int) -> Row:
    """The bar below it."""
    if isinstance(gauge.parts, MemoryParts):
        return memory_row(gauge.parts, cells(gauge.parts, width), width)
    return bar(gauge.parts, width)


def memory_row(memory: MemoryParts, counts: Counts, width: int) -> Row:
    """A memory's bar of `counts` cells, which are `width` in all: its parts differ in their characters as well."""
    shown = bar_cells(memory, counts, mark=width >= _MARK_FROM)
    row: Row = [(LOOKS[kind].block * len(list(run)), kind) for kind, run in groupby(shown)]
    return row or bar((), width)


def memory_facts(memory: MemoryParts, engine: bool) -> tuple[list[Fact], list[Fact]]:
    """What the memory's bar is made of: what the engine has beside others, where it is here; and the rest. Without it
    the gauge's own figure says how much others have."""
    first, rest = [], []
    for entry in entries(memory):
        look, size = LOOKS[entry.kind], _size(entry.bytes)
        label = f"{look.block} {entry.name if entry.kind == 'unknown' else look.label}"
        if entry.kind in ("reserve", "limit"):
            rest.append(Fact(label, size, 8))
        elif entry.kind == "others" and not engine:
            rest.append(Fact(label, shortened(entry.name, 14) or NOTHING, 14))
        elif entry.kind == "others":
            first.append(Fact(label, f"{size} {shortened(entry.name, 9)}".rstrip(), 18 if entry.name else 8))
        elif entry.kind != "free":
            first.append(Fact(label, size, 8))
    return first, rest


def _size(size: int) -> str:
    """Two decimals below 10 GiB: a small model's cache is not nothing."""
    return f"{size / GIB:.{1 if size >= 10 * GIB else 2}f} GiB"


def facts(device: Device, host: Host) -> list[Fact]:
    """The smaller figures of a device, the most wanted first."""
    if device.kind == "cpu":
        return [
            Fact("load", plain(host.load1, ".2f", f" on {host.cpus} CPUs" if host.cpus else ""), 19),
            Fact("temp", plain(device.temperature_c, ".0f", " °C"), 6),
            Fact("peak", plain(device.bandwidth.peak_gb_s, ".0f", " GB/s"), 9),
        ]
    return [
        Fact("temp", plain(device.temperature_c, ".0f", " °C"), 6, _heat(device.temperature_c)),
        Fact("mem busy", _percent(device.memory_busy_pct), 5),
        Fact("SM", _clock(device.sm_clock_mhz, device.sm_clock_max_mhz), 15),
        Fact("mem", _clock(device.mem_clock_mhz, None), 9),
        _limits(device.throttle_reasons),
        Fact("fan", _percent(device.fan_pct), 5),
        Fact("PCIe", _link(device), 12),
        Fact("energy", _energy(device.energy_j), 9),
        *_measured(device),
    ]


def _measured(device: Device) -> list[Fact]:
    """What only some cards tell: left out where they do not."""
    found = [
        Fact("SM active", _percent(device.sm_active_pct), 5),
        Fact("tensor", _percent(device.tensor_active_pct), 5),
        Fact("mem temp", plain(device.memory_temperature_c, ".0f", " °C"), 6, _heat(device.memory_temperature_c)),
        Fact("down", plain(device.link.rx_gb_s, ".2f", " GB/s"), 10),
        Fact("up", plain(device.link.tx_gb_s, ".2f", " GB/s"), 10),
    ]
    return [fact for fact in found if fact.value != NOTHING]


def fact_rows(all_facts: Sequence[Fact], width: int, most: int) -> list[Row]:
    """Facts in at most `most` rows of `width` cells. Where each stands depends on the slots alone."""
    rows: list[Row] = [[]]
    room = width
    for fact in all_facts:
        needed = len(fact.label) + 1 + fact.slot + 2
        if needed > room and rows[-1]:
            if len(rows) == most:
                continue  # a shorter one may still fit
            rows.append([])
            room = width
        rows[-1] += [(fact.label + " ", MUTED), *fit([(fact.value, fact.role)], fact.slot + 2)]
        room -= needed
    return [fit(row, width) for row in rows]


def _limits(reasons: Sequence[str] | None) -> Fact:
    """Why the clocks are held back, in the driver's names."""
    if reasons is None:
        return Fact("limited by", NOTHING, 12)
    found = [reason for reason in reasons if reason not in HARMLESS]
    shown = name(" ".join(found), 80) or ("nothing, idle" if "GPU_IDLE" in reasons else "nothing")
    return Fact("limited by", shown, max(13, min(len(shown), 40)), WARN if found else VALUE)


def _link(device: Device) -> str:
    link = device.link
    if link.generation is None or link.width is None:
        return NOTHING
    most = f" of {link.width_max}" if link.width_max and link.width_max != link.width else ""
    return f"{link.generation}.0 ×{link.width}{most}"


def _clock(now: int | None, most: int | None) -> str:
    if now is None:
        return NOTHING
    return f"{now} / {most} MHz" if most else f"{now} MHz"


def _energy(joules: float | None) -> str:
    """Energy since the driver was loaded, in units that do not change at every reading."""
    if joules is None:
        return NOTHING
    return f"{joules / 3.6e6:.2f} kWh"


def _heat(celsius: float | None) -> str:
    return VALUE if celsius is None else _level(heat_level(celsius))


def _level(level: Level) -> str:
    """The role of a figure at this level."""
    return VALUE if level == "ok" else level


def _percent(value: float | None) -> str:
    return plain(value, ".0f", " %")


def plain(value: float | None, form: str, unit: str) -> str:
    """A figure with its unit."""
    return NOTHING if value is None else f"{value:{form}}{unit}"


def engine_facts(view: DeviceView) -> list[Fact]:
    """Speed against what the memory allows; nothing of a device without our engine."""
    if not view.engine:
        return []
    traffic, decode = view.traffic, view.decode
    return [
        Fact("decode", plain(decode.tokens_per_s if decode else None, ".0f", " tok/s"), 10),
        Fact("at most", plain(traffic.ceiling_tokens_per_s, ".0f", " tok/s"), 10),
        Fact("MBU", plain(traffic.mbu and 100 * traffic.mbu, ".0f", " %"), 5),
        # CTranslate2 copies each layer's cache to append to it: up to three times what a step has to read of it.
        Fact("with KV copies", plain(traffic.engine_gb_s, ".0f", " GB/s"), 9),
        *_joules(view),
    ]


def _joules(view: DeviceView) -> list[Fact]:
    """Of a GPU: a CPU's energy is not read."""
    if view.device.kind != "gpu":
        return []
    joules = view.joules_per_token
    return [Fact("J/token", NOTHING if joules is None else f"≈{joules:.2f}", 6)]
