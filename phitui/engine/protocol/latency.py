"""From the times at which tokens were made to TTFT, TPOT, ITL and throughput. Pure.

A row is one request: the times of its tokens in seconds since its batch was begun, in order. The definitions are those
of vLLM's benchmarks, percentiles apart: here they are nearest ranks, values that were really measured, where numpy's
default goes between two of them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

Row = Sequence[float]


class Spread(NamedTuple):
    """What `n` values are like, in their own unit."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    n: int


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` of all are not above (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def spread(values: Sequence[float]) -> Spread | None:
    """Mean and nearest-rank percentiles; None where there are no values."""
    if not values:
        return None
    ranked = sorted(values)
    p50, p90, p95, p99 = (percentile(ranked, share) for share in (0.5, 0.9, 0.95, 0.99))
    return Spread(statistics.fmean(ranked), p50, p90, p95, p99, len(ranked))


def ttft(row: Row) -> float:
    """Time to the first token, in seconds."""
    return row[0]


def tpot(row: Row, tokens: int | None = None) -> float | None:
    """Time per output token after the first: (last - first) / (tokens - 1), in seconds; None below two tokens. `tokens`
    where the times are not one for each."""
    count = len(row) if tokens is None else tokens
    return (row[-1] - row[0]) / (count - 1) if count > 1 and len(row) > 1 else None


def gaps(rows: Iterable[Row]) -> list[float]:
    """Inter-token latencies: every gap between two tokens of a row, of all rows in one list, in seconds."""
    return [later - earlier for row in rows for earlier, later in pairwise(row)]


def output_rate(rows: Sequence[Row], tokens: int | None = None) -> float:
    """Output tokens per second of all rows, prefill included: tokens / (begin to the last token of all). `tokens` of
    all rows where the times are not one for each."""
    return (sum(map(len, rows)) if tokens is None else tokens) / max(row[-1] for row in rows)


def decode_rate(rows: Sequence[Row], tokens: int | None = None) -> float | None:
    """Output tokens per second without the prefill: the tokens after the first of each row, over the time from the
    first token of all to the last. None where no row has two tokens. `tokens` as in `output_rate`."""
    steps = (sum(map(len, rows)) if tokens is None else tokens) - len(rows)
    seconds = max(row[-1] for row in rows) - min(row[0] for row in rows)
    return steps / seconds if steps and seconds > 0 else None
