"""Percentiles from a Prometheus histogram: of what came between two readings, by the difference of its buckets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from phitui.hardware.exporters.exposition import MetricSample

_MOST_BUCKETS = 500


@dataclass(frozen=True)
class Histogram:
    """`bounds` are the upper ends of the buckets in seconds, rising, without the infinite one; `counts` how many were
    at or below each, with one more for all."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]

    @property
    def total(self) -> float:
        return self.counts[-1]

    def since(self, before: Histogram | None) -> Histogram:
        """What came after `before`: everything, where that is None, has other buckets, or the server began anew."""
        if before is None or before.bounds != self.bounds:
            return self
        counts = tuple(now - then for now, then in zip(self.counts, before.counts, strict=True))
        rising = all(a <= b for a, b in pairwise(counts))
        return Histogram(self.bounds, counts) if rising and counts[0] >= 0 else self

    def percentile_s(self, share: float) -> float | None:
        """As Prometheus' histogram_quantile: linear within the bucket that has it. None where nothing came, or where it
        is above the last bound: then only that bound is known."""
        rank = share * self.total
        if self.total <= 0:
            return None
        below, low = 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if count >= rank and count > below:
                return low + (bound - low) * (rank - below) / (count - below)
            below, low = count, bound
        return None


def histogram(buckets: list[MetricSample]) -> Histogram | None:
    """The `…_bucket` samples of one metric, those of several engines added; None where they are no histogram."""
    sums: dict[float, float] = {}
    for sample in buckets[: _MOST_BUCKETS * 100]:
        try:
            bound = float(sample.labels.get("le", "nan"))
        except ValueError:
            return None
        if math.isnan(bound) or sample.value < 0:
            return None
        sums[bound] = sums.get(bound, 0.0) + sample.value
    bounds = sorted(sums)
    counts = tuple(sums[bound] for bound in bounds)
    if not 2 <= len(bounds) <= _MOST_BUCKETS or bounds[-1] != math.inf or list(counts) != sorted(counts):
        return None
    return Histogram(tuple(bounds[:-1]), counts)
