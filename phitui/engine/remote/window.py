"""What a server did in the last minute, from its readings: rates, and percentiles of what came in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the console has this module before it has httpx
    from phitui.engine.remote.histogram import Histogram
    from phitui.engine.remote.metrics import ServerLoad

WINDOW_S = 60.0
# A rate over less would jump with every reading.
_RATE_S = 4.0
_ONE = "known from the second reading on"
_AT_END = "the server counts an answer's tokens when it ends"


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
    """Of readings of one server, oldest first, at least one. p50 and p90 are of what came between the first reading
    that has the figure and the last; so is the share of prompt tokens that were in the prefix cache."""
    last = loads[-1]
    missing = {name: why for name, why in last.missing.items() if not name.endswith("_tokens")}
    began = {
        "ttft": _first(loads, lambda load: load.ttft),
        "itl": _first(loads, lambda load: load.itl),
        "prefix": _first(loads, lambda load: None if load.prefix_queries is None else load.prefix_hits),
    }
    ttft, itl = _percentiles(began["ttft"].ttft, last.ttft), _percentiles(began["itl"].itl, last.itl)
    prefix = _share(began["prefix"], last)
    rate = _rate(loads)
    for name, value in (("ttft", ttft), ("itl", itl), ("prefix", prefix)):
        if value is None:
            seconds = last.at - began[name].at
            missing.setdefault(name, f"no request in the last {seconds:.0f} s" if seconds > 0 else _ONE)
    if rate is None:
        missing["rate"] = last.missing.get("generated_tokens", _AT_END if _waits_for_ends(loads) else _ONE)
    return LoadFigures(last.running, last.waiting, last.kv_use, prefix, ttft, itl, rate, missing)


def _first(loads: Sequence[ServerLoad], figure: Callable[[ServerLoad], object]) -> ServerLoad:
    """The first reading that has the figure, the last one where none has."""
    return next((load for load in loads if figure(load) is not None), loads[-1])


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


def _waits_for_ends(loads: Sequence[ServerLoad]) -> bool:
    """Whether answers are being made whose tokens count when they end: that none came is no rate of 0."""
    return loads[-1].at_end and bool(loads[-1].running)


def _rate(loads: Sequence[ServerLoad]) -> float | None:
    last = loads[-1]
    known = [load for load in loads if load.generated_tokens is not None] or [last]
    before = next((load for load in reversed(known) if last.at - load.at >= _RATE_S), known[0])
    if last.generated_tokens is None or before.generated_tokens is None or last.at <= before.at:
        return None
    made = last.generated_tokens - before.generated_tokens
    if made == 0 and _waits_for_ends(loads):
        return None
    return made / (last.at - before.at) if made >= 0 else None
