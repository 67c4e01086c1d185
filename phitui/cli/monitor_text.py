"""One snapshot as a table of text."""

from __future__ import annotations

import time

from phitui.cli.markdown import columns
from phitui.cli.output import styled
from phitui.core.text import one_line
from phitui.hardware.figure_names import by_reason, in_words
from phitui.hardware.snapshot import Device, OtherHost, Process, Snapshot

_NOTHING = "–"
_GIB = 1024**3
_WIDEST_COMMAND = 60
_DEVICE_HEADS = (
    *("DEVICE", "NAME", "UTIL", "MEM BUSY", "MEMORY", "BANDWIDTH", "POWER", "ENERGY", "TEMP", "SM", "MEM CLOCK", "FAN"),
    *("PCIE", "LIMITED BY"),
)
_PROCESS_HEADS = ("DEVICE", "PID", "USER", "TYPE", "MEMORY", "UTIL", "CPU", "COMMAND")


def table(snapshot: Snapshot) -> str:
    """All devices with their figures, what is not available and why, and the processes."""
    taken = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(snapshot.time))
    about = [taken]
    about += [f"NVIDIA driver {one_line(snapshot.driver, 40)}"] if snapshot.driver else []
    about += [f"CUDA {one_line(snapshot.cuda, 20)}"] if snapshot.cuda else []
    parts = ["  ".join(about), ""]
    parts += _with_heads([_DEVICE_HEADS, *(_device(device) for device in snapshot.all_devices())])
    parts += ["", *_host(snapshot)]
    parts += _reasons(snapshot)
    processes = [(device, process) for device in snapshot.all_devices() for process in device.processes or ()]
    if processes:
        parts += ["", *_with_heads([_PROCESS_HEADS, *(_process(device, process) for device, process in processes)])]
    elif any(device.processes is not None for device in snapshot.all_devices()):
        parts += ["", "no process on a device"]
    return "\n".join(parts) + "\n"


def _with_heads(rows: list[tuple[str, ...]]) -> list[str]:
    heads, *lines = columns(rows)
    return [styled(heads, "bold"), *lines]


def _name(device: Device) -> str:
    place = {"cpu": "CPU", "host": "host"}.get(device.kind, f"GPU {device.index}")
    place = f"{one_line(device.host, 40)} {place}" if device.host else place
    return f"{place} {one_line(device.mig, 20)}" if device.mig else place


def _device(device: Device) -> tuple[str, ...]:
    reasons = device.throttle_reasons
    return (
        _name(device),
        one_line(device.name, 40),
        _value(device.util_pct, ".0f", " %"),
        _value(device.memory_busy_pct, ".0f", " %"),
        _of(_gib(device.vram.used_bytes), _gib(device.vram.total_bytes), ".1f", " GiB"),
        _bandwidth(device),
        _of(device.power_w, device.power_limit_w, ".0f", " W"),
        _value(None if device.energy_j is None else device.energy_j / 3.6e6, ".3f", " kWh"),
        _value(device.temperature_c, ".0f", " °C"),
        _value(device.sm_clock_mhz, "d", " MHz"),
        _value(device.mem_clock_mhz, "d", " MHz"),
        _value(device.fan_pct, ".0f", " %"),
        _link(device),
        _NOTHING if reasons is None else one_line(" ".join(reasons), 80) or "nothing",
    )


def _bandwidth(device: Device) -> str:
    bandwidth = device.bandwidth
    shown = _of(bandwidth.value_gb_s, bandwidth.peak_gb_s, ".0f", " GB/s")
    if bandwidth.value_gb_s is None or not bandwidth.source:
        return shown
    bound = "≤ " if bandwidth.source == "busy" else ""  # the time that memory was busy bounds the traffic, no more
    return f"{bound}{shown} {bandwidth.source}"


def _link(device: Device) -> str:
    link = device.link
    return _NOTHING if link.generation is None or link.width is None else f"{link.generation}.0 x{link.width}"


def _host(snapshot: Snapshot) -> list[str]:
    host = snapshot.host
    ram = _of(_gib(host.ram_used_bytes), _gib(host.ram_total_bytes), ".1f", " GiB")
    load = _value(host.load1, ".2f", f" on {host.cpus} CPUs" if host.cpus else "")
    own = f"host: CPU {_value(host.cpu_pct, '.0f', ' %')}, RAM {ram}, load {load}"
    return [own, *(_other(other) for other in snapshot.hosts if other.state != "fresh")]


def _other(other: OtherHost) -> str:
    age = "" if other.age_s is None else f", figures of {other.age_s:.0f} s ago"
    return f"{one_line(other.name, 40)}: {other.state}{age}: {one_line(other.reason, 200)}"


def _reasons(snapshot: Snapshot) -> list[str]:
    lines = [f"no {one_line(in_words(what), 40)}: {one_line(why, 200)}" for what, why in snapshot.unavailable.items()]
    for device in snapshot.all_devices():
        for why, figures in by_reason(device.unavailable):
            of = ", ".join(one_line(figure, 60) for figure in figures)
            lines.append(f"{_name(device)}: {_NOTHING} {of}: {one_line(why, 200)}")
    return lines


def _process(device: Device, process: Process) -> tuple[str, ...]:
    return (
        _name(device),
        str(process.pid),
        one_line(process.user or _NOTHING, 20),
        one_line(process.kind, 4),
        _value(_gib(process.used_bytes), ".2f", " GiB"),
        _value(process.util_pct, ".0f", " %"),
        _value(process.cpu_pct, ".0f", " %"),
        one_line(process.command_in(_WIDEST_COMMAND) or _NOTHING, _WIDEST_COMMAND),
    )


def _gib(value: int | None) -> float | None:
    return None if value is None else value / _GIB


def _value(value: float | None, form: str, unit: str) -> str:
    return _NOTHING if value is None else f"{value:{form}}{unit}"


def _of(value: float | None, most: float | None, form: str, unit: str) -> str:
    if value is None:
        return _NOTHING
    return f"{value:{form}} of {most:{form}}{unit}" if most else f"{value:{form}}{unit}"
