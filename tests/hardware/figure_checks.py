"""What holds for every snapshot, whatever the driver says."""

from __future__ import annotations

import msgspec

from phitui.hardware.figures import BOUNDS
from phitui.hardware.snapshot import DEVICE_FIGURES, HOST_FIGURES, PROCESS_FIGURES, Device, Host, Process, Snapshot

# What an RTX 4090 never tells, and what no card tells at the first reading.
NOT_ON_A_4090 = {"sm_active_pct", "tensor_active_pct", "memory_temperature_c"}
DIFFERENCES = {"link.tx_gb_s", "link.rx_gb_s"}


def unexpected(device: Device, beside: set[str] = NOT_ON_A_4090 | DIFFERENCES) -> dict[str, str]:
    """The reasons of figures that are not among those whose absence is expected."""
    return {metric: reason for metric, reason in device.unavailable.items() if metric not in beside}


def figure(of: Device | Host | Process, metric: str) -> object:
    for name in metric.split("."):
        of = getattr(of, name)
    return of


def check(of: Device | Host | Process, metrics: tuple[str, ...], bounds: str = "") -> None:
    """Each figure is there and within its bounds, or None with a reason."""
    for metric in metrics:
        value = figure(of, metric)
        assert (value is None) == bool(of.unavailable.get(metric)), (metric, value, of.unavailable)
        if isinstance(value, (int, float)):
            low, high, _, above = BOUNDS[bounds + metric]
            assert low <= value <= high and not (above and value == low), (metric, value)


def check_device(device: Device) -> None:
    check(device, DEVICE_FIGURES)
    assert device.name and device.name.isprintable() and len(device.name) <= 96
    assert (device.uuid is None) == ("uuid" in device.unavailable)
    assert device.uuid is None or device.uuid.isprintable()
    vram = device.vram
    if vram.total_bytes is not None:
        assert sum(part or 0 for part in (vram.used_bytes, vram.free_bytes, vram.reserved_bytes)) <= vram.total_bytes
    for text in (*device.unavailable.values(), *(device.throttle_reasons or []), device.mig):
        assert text.isprintable()
    bandwidth = device.bandwidth
    assert (bandwidth.source is None) == (bandwidth.value_gb_s is None)
    assert bandwidth.source in (None, "measured", "busy")
    if bandwidth.value_gb_s is not None:
        assert bandwidth.value_gb_s <= bandwidth.peak_gb_s
    for process in device.processes or []:
        check_process(process)
    assert msgspec.json.decode(msgspec.json.encode(device), type=Device) == device


def check_process(process: Process) -> None:
    check(process, PROCESS_FIGURES, "process.")
    assert 0 < process.pid <= 1 << 22
    assert process.kind in ("C", "G", "C+G")
    for text in (process.name, process.user, process.command, *process.unavailable.values()):
        assert text is None or text.isprintable()


def check_snapshot(snapshot: Snapshot) -> None:
    assert snapshot.devices
    check(snapshot.host, HOST_FIGURES)
    for device in snapshot.devices:
        check_device(device)
