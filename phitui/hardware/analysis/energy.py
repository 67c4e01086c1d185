"""Energy of a device over a window: from its counter where there is one, else the integral of its power samples.

Of the whole board, with all that runs on it. Net of idle is what is left without the power that the board draws
when there is no work: what the answer has cost over letting the card lie.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from itertools import pairwise
from typing import Literal, NamedTuple

# Samples come about once a second: over a shorter window their edges are a good part of the figure.
EXACT_FROM_S = 5.0
# How long samples are kept, and so how far back the idle power may lie.
KEPT_S = 600.0
# Between two samples further apart than this nothing is known.
_LONGEST_GAP_S = 10.0


class EnergySample(NamedTuple):
    """A reading at `time` (seconds on any steady clock): the counter in J, the board's power in W, whether the engine
    worked, and why the figures are missing where they are."""

    time: float
    energy_j: float | None
    power_w: float | None
    working: bool
    reason: str = ""


class Energy(NamedTuple):
    """Energy of a window in J, or None and the `reason`. `rough`: the window is shorter than 5 s."""

    joules: float | None
    seconds: float
    source: Literal["counter", "sampled"] | None = None
    rough: bool = False
    reason: str = ""


class PerToken(NamedTuple):
    """J per output token: gross, and net of idle where the idle power is known."""

    gross_j: float | None
    net_j: float | None
    source: Literal["counter", "sampled"] | None
    rough: bool
    reason: str = ""


class EnergyMeter:
    """The samples of one device."""

    def __init__(self) -> None:
        self._samples: deque[EnergySample] = deque()

    def note(self, sample: EnergySample) -> None:
        """Take a sample; times must not fall."""
        self._samples.append(sample)
        while self._samples[0].time < sample.time - KEPT_S:
            self._samples.popleft()

    @property
    def idle_w(self) -> float | None:
        """The lowest power seen while there was no work, in the last ten minutes."""
        idle = [sample.power_w for sample in self._samples if not sample.working and sample.power_w is not None]
        return min(idle, default=None)

    def covers(self, end: float) -> bool:
        """Whether a window that ends at `end` can be told by now."""
        return bool(self._samples) and self._samples[-1].time >= end

    def between(self, begin: float, end: float) -> Energy:
        """The energy from `begin` to `end`, between samples by straight lines."""
        seconds = end - begin
        around, why = self._around(begin, end)
        if why:
            return Energy(None, seconds, reason=why)
        counter = [(sample.time, sample.energy_j) for sample in around if sample.energy_j is not None]
        if len(counter) == len(around):
            if any(later[1] < earlier[1] for earlier, later in pairwise(counter)):
                return Energy(None, seconds, reason="the energy counter went back")
            joules = _interpolated(counter, end) - _interpolated(counter, begin)
            return Energy(joules, seconds, "counter", seconds < EXACT_FROM_S)
        power = [(sample.time, sample.power_w) for sample in around if sample.power_w is not None]
        if len(power) == len(around):
            return Energy(_area(power, begin, end), seconds, "sampled", seconds < EXACT_FROM_S)
        missing = next((sample.reason for sample in around if sample.energy_j is None and sample.power_w is None), "")
        return Energy(None, seconds, reason=missing or "neither energy nor power was read all the time")

    def per_token(self, begin: float, end: float, tokens: int) -> PerToken:
        """J per output token over a window in which `tokens` were made."""
        energy = self.between(begin, end)
        if energy.joules is None or tokens < 1:
            return PerToken(None, None, energy.source, energy.rough, energy.reason or "no token was made")
        net = None
        if self.idle_w is not None and energy.joules >= self.idle_w * energy.seconds:
            net = (energy.joules - self.idle_w * energy.seconds) / tokens
        return PerToken(energy.joules / tokens, net, energy.source, energy.rough)

    def _around(self, begin: float, end: float) -> tuple[list[EnergySample], str]:
        """The samples of a window with the one before it and the one after; or why they do not do."""
        samples, times = list(self._samples), [sample.time for sample in self._samples]
        first, last = bisect_right(times, begin) - 1, bisect_left(times, end)
        if first < 0 or last >= len(samples) or end <= begin:
            return [], "not read from begin to end"
        around = samples[first : last + 1]
        gap = max(later.time - earlier.time for earlier, later in pairwise(around))
        return around, f"nothing was read for {gap:.0f} s" if gap > _LONGEST_GAP_S else ""


def _interpolated(points: list[tuple[float, float]], at: float) -> float:
    for (t0, y0), (t1, y1) in pairwise(points):
        if t0 <= at <= t1:
            return y0 + (y1 - y0) * (at - t0) / (t1 - t0) if t1 > t0 else y0
    return points[-1][1]


def _area(points: list[tuple[float, float]], begin: float, end: float) -> float:
    """The integral from `begin` to `end` by trapezoids."""
    inside = [point for point in points if begin < point[0] < end]
    edges = [(begin, _interpolated(points, begin)), *inside, (end, _interpolated(points, end))]
    return sum((y0 + y1) / 2 * (t1 - t0) for (t0, y0), (t1, y1) in pairwise(edges))
