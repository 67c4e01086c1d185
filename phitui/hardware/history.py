"""What the devices did over the last minutes, in buffers of a fixed size."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from itertools import pairwise

from phitui.hardware.snapshot import Device, Snapshot

# An hour at one reading a second; 14 kB a figure.
CAPACITY = 3600
# A reading stands for the time up to the next one, unless that comes later than so many times the usual.
_HELD_GAPS = 2.0
# So many of the newest readings say what is usual.
_USUAL = 6
# Devices that come and go (a recording may name new ones in each line) must not fill the memory.
_MOST_DEVICES = 64
METRICS = ("util_pct", "used_bytes", "bandwidth_gb_s", "power_w")


def device_key(device: Device) -> str:
    """What a device is known by from snapshot to snapshot."""
    key = f"{device.kind}/{device.index}/{device.mig}/{device.uuid or ''}"
    return f"{device.host}/{key}" if device.host else key


class History:
    """The figures of `METRICS` of the newest `capacity` snapshots, per device."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._times = array("d", bytes(8 * capacity))
        self._rings: dict[str, tuple[array[float], ...]] = {}
        self._count = 0

    def add(self, snapshot: Snapshot) -> None:
        """Take in a snapshot; over the oldest one where the buffers are full."""
        here = {device_key(device): _figures(device) for device in snapshot.all_devices()[:_MOST_DEVICES]}
        for key in [key for key in self._rings if len(self._rings) > _MOST_DEVICES and key not in here]:
            del self._rings[key]
        for key in here:
            if key not in self._rings:
                self._rings[key] = tuple(array("f", [math.nan]) * self._capacity for _ in METRICS)
        place = self._count % self._capacity
        self._times[place] = snapshot.time
        missing = (math.nan,) * len(METRICS)
        for key, rings in self._rings.items():
            for ring, value in zip(rings, here.get(key, missing), strict=True):
                ring[place] = value
        self._count += 1

    def clear(self) -> None:
        """Forget all; the buffers stay."""
        self._count = 0
        self._rings.clear()

    @property
    def newest(self) -> float | None:
        """The time of the newest snapshot, None without one."""
        return self._times[(self._count - 1) % self._capacity] if self._count else None

    def back(self, key: str, metric: str) -> Iterator[tuple[float, float]]:
        """Time and value from the newest snapshot backwards; NaN where the figure was not available."""
        rings = self._rings.get(key)
        if rings is None:
            return
        ring = rings[METRICS.index(metric)]
        for age in range(1, min(self._count, self._capacity) + 1):
            place = (self._count - age) % self._capacity
            yield self._times[place], ring[place]

    def means(self, key: str, metric: str, first: int, seconds: float) -> dict[int, float]:
        """The mean of each period of `seconds` from number `first` on (number n begins at n × seconds), where there
        was a value. One without a reading, where readings are further apart, has the value of the reading before; not
        so where readings are missing. A clock that was set back ends the search: what is before it is not shown."""
        sums: dict[int, tuple[float, int]] = {}
        held = _HELD_GAPS * self._gap()
        later = math.inf
        for time, value in self.back(key, metric):
            if time > later:
                break
            number = math.floor(time / seconds)
            if later - time <= held and not math.isnan(value):
                between = range(max(number + 1, first), math.floor(later / seconds))
                sums.update(dict.fromkeys(between, (value, 1)))
            if number < first:
                break
            later = time
            if not math.isnan(value):
                total, count = sums.get(number, (0.0, 0))
                sums[number] = (total + value, count + 1)
        return {number: total / count for number, (total, count) in sums.items()}

    def _gap(self) -> float:
        """Seconds from one reading to the next, as they usually are now."""
        ages = range(1, min(self._count, self._capacity, _USUAL) + 1)
        times = [self._times[(self._count - age) % self._capacity] for age in ages]
        gaps = sorted(later - before for later, before in pairwise(times))
        return gaps[len(gaps) // 2] if gaps else 0.0


def _figures(device: Device) -> tuple[float, ...]:
    if device.stale_s is not None:  # they are of another time
        return (math.nan,) * len(METRICS)
    values = (device.util_pct, device.vram.used_bytes, device.bandwidth.value_gb_s, device.power_w)
    return tuple(math.nan if value is None else float(value) for value in values)
