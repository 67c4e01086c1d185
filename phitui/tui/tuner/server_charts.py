"""What the two charts show of a server's tuning: throughput, and what bounds it, against requests at once."""

from __future__ import annotations

from phitui.autotune.server_search import LoadVerdict
from phitui.tui.charts.cells import ACCENT, BAD, MUTED, VALUE, WARN
from phitui.tui.charts.plot import Guide, Mark, Plot
from phitui.tui.tuner.charts import MEASURED, REFUSED, ROOM, RUNNING, blank, plain
from phitui.workbench.tune.run_state import ServerCourse

WAITING = "▲"
THROUGHPUT, BOUNDS = (
    "Output tok/s against requests at once",
    "KV use and waiting in % against requests at once",
)
_FEWEST = 8.0
_ALL = 108.0  # % at the top of the chart


def throughput(course: ServerCourse) -> Plot:
    """Output tokens/s of all requests together, prefill included, as each probe has measured it, and the fit."""
    marks = [_measured(verdict) for verdict in course.probes]
    curve = course.fit.rate if course.fit is not None else None
    most = _most(course)
    if course.running is not None:
        size = course.running.probe.concurrency
        marks.append(Mark(size, curve(size) if curve else 0.0, RUNNING, ACCENT))
    highest = max([mark.y for mark in marks] + ([curve(most)] if curve else []), default=0.0)
    scale = plain if highest else blank
    return Plot(THROUGHPUT, most, highest * ROOM or 1.0, scale, curve, tuple(marks), upright=_knee(course))


def bounds(course: ServerCourse) -> Plot:
    """How full the KV cache was, its limit, and how many of the requests waited. There is no fit of them."""
    marks = [mark for verdict in course.probes for mark in _bounds(verdict)]
    if course.running is not None:
        marks.append(Mark(course.running.probe.concurrency, 0.0, RUNNING, ACCENT))
    limit = 100 * course.wish.goal.kv_limit
    upright = Guide(course.result.answer.c_max, f"C_max {course.result.answer.c_max}") if course.result else None
    level = Guide(limit, f"KV limit {limit:g} %")
    return Plot(BOUNDS, _most(course), _ALL, plain, None, tuple(marks), level, upright)


def empty() -> list[Plot]:
    """Both charts before there is a tuning."""
    return [Plot(title, 100.0, 1.0, blank) for title in (THROUGHPUT, BOUNDS)]


def _measured(verdict: LoadVerdict) -> Mark:
    size, rate = verdict.probe.concurrency, verdict.outcome.rate
    if verdict.judged == "ok":
        return Mark(size, rate, MEASURED, VALUE)
    return Mark(size, rate, REFUSED, BAD if verdict.judged == "failed" else WARN)


def _bounds(verdict: LoadVerdict) -> list[Mark]:
    """The KV cache over the waiting requests: where both are the same, the latter is 0 mostly."""
    size, outcome = verdict.probe.concurrency, verdict.outcome
    if outcome.kind != "ok":
        return [Mark(size, 0.0, REFUSED, BAD)]
    marks = []
    if outcome.waiting is not None:
        marks.append(Mark(size, 100 * outcome.waiting / size, WAITING, WARN if outcome.waiting else MUTED))
    if outcome.kv_use is not None:
        marks.append(Mark(size, 100 * outcome.kv_use, MEASURED, VALUE))
    return marks


def _knee(course: ServerCourse) -> Guide | None:
    """C*; before it is known the knee of the fit."""
    if course.result is not None:
        best = course.result.answer.c_best
        return Guide(best, f"C* {best}")
    return Guide(course.knee, f"knee {course.knee}") if course.knee is not None else None


def _most(course: ServerCourse) -> float:
    """How far both charts reach, in requests."""
    sizes = [verdict.probe.concurrency for verdict in course.probes]
    if course.running is not None:
        sizes.append(course.running.probe.concurrency)
    return max([float(size) for size in sizes] + [_FEWEST / ROOM]) * ROOM
