"""The one line that says why a batch size is the best one."""

from __future__ import annotations

from phitui.autotune.steptime import StepTime

# Throughput that still grows by so much with the rows doubled is held back by memory, not by the device.
_STILL_GROWING = 1.10


def why(steps: StepTime, depth: float, best: int, top: int, most: int) -> str:
    """What bounds throughput at `best` rows of `depth` cached tokens each, with the figures of the fit that say so.

    `top` is the largest batch that fits into memory, `most` the largest that is tried: where they are the same, it says
    that not memory ended the search.
    """
    capped = f"; capped at {top} rows, the most that are tried" if top >= most else ""
    return _bound(steps, depth, best, top, most) + capped


def _bound(steps: StepTime, depth: float, best: int, top: int, most: int) -> str:
    step = steps.step_s(best, depth) or 1.0
    shares = {
        "fixed": steps.fixed_s / step,
        "rows": best * steps.row_s / step,
        "cache": best * steps.token_s * depth / step,
    }
    growth = steps.decode_rate(2 * best, depth) / (steps.decode_rate(best, depth) or 1.0)
    part = f"{shares['fixed']:.0%} of a step is the same whatever the batch"
    if best == top >= most and growth >= _STILL_GROWING:
        return f"throughput still grows at {top} rows ({part}, {growth - 1:.0%} more with twice the rows)"
    if best == top and growth >= _STILL_GROWING:
        more = f"{growth - 1:.0%} more with twice the rows"
        return f"memory-bound at {top} rows: the limit ends the search while throughput still grows ({part}, {more})"
    if shares["cache"] > max(shares["rows"], shares["fixed"]):
        return f"KV-bound at {best} rows: {shares['cache']:.0%} of a step goes with the cached tokens"
    if shares["fixed"] > shares["rows"]:
        return f"weight-bound up to {best} rows: {part}; more rows than {best} bring less than 3 %"
    return f"compute-bound from {best} rows on: {part}; more rows than {best} bring less than 3 %"
