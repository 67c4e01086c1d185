"""What a server did in the last minute, from its readings: rates, and percentiles of what came in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the console has this module before it has httpx
    from phitui.engine.remote.histogram import Histogram
    from phitui.engine.remote.metrics import ServerLoad

WINDOW_S = 60.0
# A rate over less would jump with every reading.
_RATE_S = 4.0


@dataclass(frozen=True)
class LoadFigures:
    """`kv_use` and `prefix_share` are 0 to 1, times in seconds. What is not known is None, with its reason in
    `missing`: running, waiting, kv_use, prefix, ttft, itl, rate."""

    running: int | None = None
    waiting: int | None = None
    kv_use: float | None = None
    prefix_share: float | None = None
    ttft_s: tuple[float, float] | None = None
    itl_s: tuple[float, float] | None = None
    tokens_per_s: float | None = None
    missing: dict[str, str] = field(default_factory=dict)


def figures(loads: Sequence[ServerLoad]) -> LoadFigures:
    """Of readings of one server, oldest first, at least one. p50 and p90 are of what came between the first and the
    last; so is the share of prompt tokens that were in the prefix cache."""
    first, last = loads[0], loads[-1]
    missing = {name: why for name, why in last.missing.items() if not name.endswith("_tokens")}
    quiet = f"no request in the last {last.at - first.at:.0f} s"
    ttft, itl = _percentiles(first.ttft, last.ttft), _percentiles(first.itl, last.itl)
    prefix = _share(first, last)
    rate = _rate(loads)
    for name, value in (("ttft", ttft), ("itl", itl), ("prefix", prefix)):
        if value is None:
            missing.setdefault(name, quiet)
    if rate is None:
        why = last.missing.get("generated_tokens", "known from the second reading on")
        missing["rate"] = why
    return LoadFigures(last.running, last.waiting, last.kv_use, prefix, ttft, itl, rate, missing)


def _percentiles(first: Histogram | None, last: Histogram | None) -> tuple[float, float] | None:
    if last is None or first is None:
        return None
    came = last.since(first)
    half, most = came.percentile_s(0.5), came.percentile_s(0.9)
    return None if half is None or most is None else (half, most)


def _share(first: ServerLoad, last: ServerLoad) -> float | None:
    if None in (first.prefix_queries, first.prefix_hits, last.prefix_queries, last.prefix_hits):
        return None
    queries = (last.prefix_queries or 0) - (first.prefix_queries or 0)
    hits = (last.prefix_hits or 0) - (first.prefix_hits or 0)
    return hits / queries if queries > 0 and 0 <= hits <= queries else None


def _rate(loads: Sequence[ServerLoad]) -> float | None:
    last = loads[-1]
    before = next((load for load in reversed(loads) if last.at - load.at >= _RATE_S), loads[0])
    if last.generated_tokens is None or before.generated_tokens is None or last.at <= before.at:
        return None
    made = last.generated_tokens - before.generated_tokens
    return made / (last.at - before.at) if made >= 0 else None
