"""From a snapshot to what the gauges say: text with units, a fraction for the bar, or the reason there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from phitui.engine.api import Timings
from phitui.hardware.snapshot import Device, Host, Snapshot
from phitui.text import one_line
from phitui.tui.display import displayable

NOTHING = "–"
GIB = 1024**3
Level = Literal["ok", "warn", "bad"]


@dataclass(frozen=True)
class Reading:
    """One figure: `value` with its unit, `fraction` of full scale (0 to 1) where it has one, and `reason` where it
    is not available."""

    label: str
    value: str
    fraction: float | None = None
    level: Level = "ok"
    reason: str = ""


@dataclass(frozen=True)
class Group:
    """The readings of one device or of the host."""

    title: str
    readings: list[Reading]


def groups(snapshot: Snapshot) -> list[Group]:
    """What the column shows, from top to bottom."""
    devices = [_device(device) for device in snapshot.devices if device.kind == "gpu"]
    return [*devices, _host(snapshot)]


def _device(device: Device) -> Group:
    why = device.unavailable
    title = f"GPU {device.index} · {displayable(one_line(device.name, 40))}"
    return Group(
        title,
        [
            _percent("GPU util", device.util_pct, why.get("util_pct", "")),
            _memory(
                "VRAM",
                device.vram.used_bytes,
                device.vram.total_bytes,
                why.get("vram.used_bytes") or why.get("vram.total_bytes", ""),
            ),
            _power(device),
            _temperature(device.temperature_c, why.get("temperature_c", "")),
        ],
    )


def _host(snapshot: Snapshot) -> Group:
    host = snapshot.host
    why = host.unavailable
    name = next((device.name for device in snapshot.devices if device.kind == "cpu"), "")
    return Group(
        f"CPU · {displayable(one_line(name, 40))}" if name else "Host",
        [
            _percent("CPU", host.cpu_pct, why.get("cpu_pct", "")),
            _memory(
                "RAM",
                host.ram_used_bytes,
                host.ram_total_bytes,
                why.get("ram_used_bytes") or why.get("ram_total_bytes", ""),
            ),
            _load(host),
            _temperature(host.temperature_c, why.get("temperature_c", "")),
        ],
    )


def answer_readings(timings: Timings | None) -> list[Reading]:
    """Speed of the last answer: tokens/s after the first one, and the time to the first."""
    rate = timings.decode_tokens_per_s if timings else None
    ttft = timings.ttft_ms if timings else None
    return [
        Reading("decode", NOTHING if rate is None else f"{rate:.1f} tok/s"),
        Reading("TTFT", NOTHING if ttft is None else f"{ttft:.0f} ms"),
    ]


def missing_gpu(snapshot: Snapshot) -> str:
    """Why no GPU is shown; "" where one is."""
    return "" if any(device.kind == "gpu" for device in snapshot.devices) else snapshot.unavailable.get("gpu", "")


def _percent(label: str, value: float | None, reason: str) -> Reading:
    if value is None:
        return Reading(label, NOTHING, reason=reason)
    return Reading(label, f"{value:.0f} %", value / 100)


def _memory(label: str, used: int | None, total: int | None, reason: str) -> Reading:
    if used is None or not total:
        return Reading(label, NOTHING, reason=reason)
    return Reading(label, f"{used / GIB:.1f} / {total / GIB:.1f} GiB", used / total, _level(used / total, 0.85, 0.95))


def _power(device: Device) -> Reading:
    if device.power_w is None:
        return Reading("Power", NOTHING, reason=device.unavailable.get("power_w", ""))
    if device.power_limit_w is None:
        return Reading("Power", f"{device.power_w:.0f} W")
    fraction = device.power_w / device.power_limit_w
    return Reading(
        "Power",
        f"{device.power_w:.0f} / {device.power_limit_w:.0f} W",
        fraction,
        _level(fraction, 0.95, 1.02),
    )


def _temperature(celsius: float | None, reason: str) -> Reading:
    if celsius is None:
        return Reading("Temperature", NOTHING, reason=reason)
    return Reading("Temperature", f"{celsius:.0f} °C", celsius / 100, _level(celsius, 80, 90))


def _load(host: Host) -> Reading:
    if host.load1 is None:
        return Reading("Load", NOTHING, reason=host.unavailable.get("load1", ""))
    cores = f" on {host.cpus} CPUs" if host.cpus else ""
    return Reading("Load", f"{host.load1:.2f}{cores}", host.load1 / host.cpus if host.cpus else None)


def _level(value: float, warn: float, bad: float) -> Level:
    return "bad" if value >= bad else "warn" if value >= warn else "ok"
