"""The figures of one device as the monitor words them: gauges with a graph each, and smaller facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from phitui.hardware.snapshot import Device, Host
from phitui.tui.levels import heat_level, memory_level, power_level
from phitui.tui.monitor.cells import MUTED, NOTHING, OK, RESERVE, VALUE, WARN, Row, apart, bar, fit, name

GIB = 1024**3
# Of the driver's reasons those that say nothing is wrong.
_HARMLESS = {"GPU_IDLE", "APPLICATIONS_CLOCKS_SETTING", "SYNC_BOOST", "DISPLAY_CLOCK_SETTING"}


# Labels for narrow columns.
_SHORT = {"Bandwidth": "BW"}


class Gauge(NamedTuple):
    """A figure with a bar and a graph. `values` are its wordings, the longest first; `parts` the bar's, as shares of
    full scale; `full_scale` the graph's, None where the figure has no natural one."""

    label: str
    values: tuple[str, ...]
    parts: tuple[tuple[float, str], ...]
    metric: str
    full_scale: float | None


class Fact(NamedTuple):
    """A smaller figure. `slot` is the room that it keeps, in cells, so that its neighbours stand still."""

    label: str
    value: str
    slot: int
    role: str = VALUE


def gauges(device: Device) -> list[Gauge]:
    """The gauges of a device: four of a GPU; of a CPU two, and its bandwidth where that is known."""
    if device.kind == "cpu":
        known = device.bandwidth.value_gb_s is not None or device.bandwidth.peak_gb_s is not None
        return [_util("CPU", device), _memory("RAM", device), *([_bandwidth(device)] if known else [])]
    return [_util("Util", device), _memory("VRAM", device), _bandwidth(device), _power(device)]


def _util(label: str, device: Device) -> Gauge:
    value = device.util_pct
    parts = () if value is None else ((value / 100, OK),)
    return Gauge(label, (_percent(value),), parts, "util_pct", 100.0)


def _memory(label: str, device: Device) -> Gauge:
    used, total, reserved = device.vram.used_bytes, device.vram.total_bytes, device.vram.reserved_bytes
    scale = float(total) if total else None
    if used is None or not total:
        return Gauge(label, (NOTHING,), (), "used_bytes", scale)
    words = (f"{used / GIB:.1f} / {total / GIB:.1f} GiB", f"{used / GIB:.1f}/{total / GIB:.0f} GiB")
    parts: list[tuple[float, str]] = [(used / total, memory_level(used, total - (reserved or 0)))]
    if reserved:
        parts.append((reserved / total, RESERVE))
    return Gauge(label, words, tuple(parts), "used_bytes", scale)


def _bandwidth(device: Device) -> Gauge:
    value, peak, source = device.bandwidth.value_gb_s, device.bandwidth.peak_gb_s, device.bandwidth.source or ""
    if value is None:
        return Gauge("Bandwidth", (NOTHING,), (), "bandwidth_gb_s", peak)
    sign = "≤ " if source == "busy" else ""  # the time that memory was busy bounds the traffic, no more
    words = [f"{sign}{value:.0f} GB/s {source}", f"{sign}{value:.0f} GB/s {source[:4]}"]
    if peak:
        words.insert(0, f"{sign}{value:.0f} / {peak:.0f} GB/s {source}")
    parts = ((value / peak, OK),) if peak else ()
    return Gauge("Bandwidth", tuple(words), parts, "bandwidth_gb_s", peak)


def _power(device: Device) -> Gauge:
    draw, limit = device.power_w, device.power_limit_w
    if draw is None:
        return Gauge("Power", (NOTHING,), (), "power_w", limit)
    if not limit:
        return Gauge("Power", (f"{draw:.0f} W",), (), "power_w", None)
    part = (draw / limit, power_level(draw / limit))
    return Gauge("Power", (f"{draw:.0f} / {limit:.0f} W", f"{draw:.0f} W"), (part,), "power_w", limit)


def head(gauge: Gauge, width: int) -> Row:
    """Label and value in `width` cells: the longest wording that fits."""
    for value in gauge.values:
        for label in (gauge.label, _SHORT.get(gauge.label, gauge.label)):
            if len(label) + 1 + len(value) <= width:
                return apart([(label, MUTED)], [(value, VALUE)], width)
    return fit([(gauge.values[-1], VALUE)], width)


def bar_row(gauge: Gauge, width: int) -> Row:
    """The bar below it."""
    return bar(gauge.parts, width)


def facts(device: Device, host: Host) -> list[Fact]:
    """The smaller figures of a device, the most wanted first."""
    if device.kind == "cpu":
        return [
            Fact("load", _plain(host.load1, ".2f", f" on {host.cpus} CPUs" if host.cpus else ""), 19),
            Fact("temp", _plain(device.temperature_c, ".0f", " °C"), 6),
            Fact("peak", _plain(device.bandwidth.peak_gb_s, ".0f", " GB/s"), 9),
        ]
    return [
        Fact("temp", _plain(device.temperature_c, ".0f", " °C"), 6, _heat(device.temperature_c)),
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
        Fact("mem temp", _plain(device.memory_temperature_c, ".0f", " °C"), 6, _heat(device.memory_temperature_c)),
        Fact("down", _plain(device.link.rx_gb_s, ".2f", " GB/s"), 10),
        Fact("up", _plain(device.link.tx_gb_s, ".2f", " GB/s"), 10),
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
    found = [reason for reason in reasons if reason not in _HARMLESS]
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
    level = OK if celsius is None else heat_level(celsius)
    return VALUE if level == OK else level


def _percent(value: float | None) -> str:
    return _plain(value, ".0f", " %")


def _plain(value: float | None, form: str, unit: str) -> str:
    return NOTHING if value is None else f"{value:{form}}{unit}"
