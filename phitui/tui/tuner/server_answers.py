"""The answers of a server's tuning in words, in a column as wide as there is room."""

from __future__ import annotations

import math

from phitui.tui.charts.cells import ACCENT, BAD, MUTED, NOTHING, WARN, Row
from phitui.tui.tuner.answers import said
from phitui.workbench.tune.run_state import ServerCourse
from phitui.workbench.tune.server import LoadResult


def load_answer_rows(course: ServerCourse | None, width: int, with_notes: bool = True) -> list[Row]:
    """The answer, or what is known on the way to it."""
    if course is None:
        return said("", "No tuning yet. s begins one: how many requests at once, in a handful of probes.", width)
    if course.result is None:
        return _on_the_way(course, width)
    return [*_result(course, course.result, width), *([[], *notes(course, width)] if with_notes else [])]


def notes(course: ServerCourse | None, width: int) -> list[Row]:
    """What the figures have to be read with."""
    if course is None or course.result is None:
        return []
    return [row for note in course.result.notes for row in said("Note", note, width, MUTED)]


def load_in_a_line(result: LoadResult) -> str:
    """The answer where there is one row for it."""
    answer = result.answer
    slo = "" if answer.c_slo is None else f" · C_slo {answer.c_slo}"
    return f"C* {at_once(answer.c_best)}: {answer.tokens_per_s:.0f} output tok/s · C_max {answer.c_max}{slo}"


def at_once(count: int) -> str:
    """E.g. "1 request at once"."""
    return f"{count} request{'s' * (count != 1)} at once"


def _on_the_way(course: ServerCourse, width: int) -> list[Row]:
    goal = course.wish.goal
    rows = said("Limit", f"KV cache up to {goal.kv_limit:.0%} full", width)
    if goal.slo_itl_s is not None:
        rows += said("C_slo", f"for {goal.slo_itl_s * 1000:g} ms a token", width)
    rows += _fit(course, width)
    refused = next((one for one in reversed(course.probes) if one.judged == "failed"), None)
    if refused is not None and course.state != "failed":
        rows += said(f"At {refused.probe.concurrency}", refused.outcome.detail, width, WARN)
    if course.state == "failed":
        rows += said("Failed", course.error, width, BAD)
    elif course.state == "cancelled":
        rows += said("", "Cancelled before there was an answer.", width)
    return rows


def _result(course: ServerCourse, result: LoadResult, width: int) -> list[Row]:
    answer, remote = result.answer, result.remote
    spread = "" if answer.spread is None else f" ± {answer.spread:.1f}"
    speed = f"{answer.tokens_per_s:.1f}{spread} output tok/s"
    return [
        *said("C*", f"{at_once(answer.c_best)}: {speed} (N = {answer.measurements})", width, ACCENT),
        *said("C_max", at_once(answer.c_max), width),
        *said("C_slo", _slo(result), width),
        *_fit(course, width),
        *said("Server", f"{remote.name}: {remote.kind} at {remote.host}", width),
        *said("Why", answer.why, width),
    ]


def _slo(result: LoadResult) -> str:
    asked = result.goal.slo_itl_s
    if asked is None:
        return f"{NOTHING} no latency was asked for"
    if result.answer.c_slo is None:
        return f"{NOTHING} no number keeps {asked * 1000:g} ms"
    return f"{at_once(result.answer.c_slo)}, {asked * 1000:g} ms"


def _fit(course: ServerCourse, width: int) -> list[Row]:
    """n requests take so many seconds, and how far their throughput by that is from the measured one where all went
    well: the root mean square."""
    fit = course.fit
    if fit is None:
        return []
    rates = [(one.probe.concurrency, one.outcome.rate) for one in course.probes if one.judged == "ok"]
    errors = [(fit.rate(size) / rate - 1) ** 2 for size, rate in rates if rate]
    off = f", {100 * math.sqrt(sum(errors) / len(errors)):.1f} % off" if errors else ""
    return said("Fit", f"n take {fit.fixed_s:.3g} + n × {fit.request_s:.3g} s{off}", width)
