"""What holds for every snapshot, whatever the driver says."""

from __future__ import annotations

import msgspec

from phitui.hardware.figures import BOUNDS
from phitui.hardware.snapshot import DEVICE_FIGURES, HOST_FIGURES, Device, Host, Snapshot


def figure(of: Device | Host, metric: str) -> object:
    for name in metric.split("."):
        of = getattr(of, name)
    return of


def check(of: Device | Host, metrics: tuple[str, ...]) -> None:
    """Each figure is there and within its bounds, or None with a reason."""
    for metric in metrics:
        value = figure(of, metric)
        assert (value is None) == bool(of.unavailable.get(metric)), (metric, value, of.unavailable)
        if isinstance(value, (int, float)):
            low, high, _, above = BOUNDS[metric]
            assert low <= value <= high and not (above and value == low), (metric, value)


def check_device(device: Device) -> None:
    check(device, DEVICE_FIGURES)
    assert device.name and device.name.isprintable() and len(device.name) <= 96
    assert (device.uuid is None) == ("uuid" in device.unavailable)
    assert device.uuid is None or device.uuid.isprintable()
    vram = device.vram
    if vram.total_bytes is not None:
        assert sum(part or 0 for part in (vram.used_bytes, vram.free_bytes, vram.reserved_bytes)) <= vram.total_bytes
    for text in (*device.unavailable.values(), *(device.throttle_reasons or [])):
        assert text.isprintable()
    assert msgspec.json.decode(msgspec.json.encode(device), type=Device) == device


def check_snapshot(snapshot: Snapshot) -> None:
    assert snapshot.devices
    check(snapshot.host, HOST_FIGURES)
    for device in snapshot.devices:
        check_device(device)
