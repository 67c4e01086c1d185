"""What the two charts show of a server's tuning: throughput, and what bounds it, against requests at once."""

from __future__ import annotations

from phitui.autotune.server_search import ServerVerdict
from phitui.tui.charts.cells import ACCENT, BAD, MUTED, VALUE, WARN
from phitui.tui.charts.plot import Guide, Mark, Plot
from phitui.tui.tuner.charts import MEASURED, REFUSED, ROOM, RUNNING, blank, plain
from phitui.workbench.tune.run_state import ServerRunState

WAITING = "▲"
THROUGHPUT, BOUNDS = (
    "Output tok/s against requests at once",
    "KV use and waiting in % against requests at once",
)
_FEWEST = 8.0
_ALL = 108.0  # % at the top of the chart


def throughput(run_state: ServerRunState) -> Plot:
    """Output tokens/s of all requests together, prefill included, as each probe has measured it, and the fit."""
    marks = [_measured(verdict) for verdict in run_state.probes]
    curve = run_state.fit.rate if run_state.fit is not None else None
    most = _most(run_state)
    if run_state.running is not None:
        size = run_state.running.probe.concurrency
        marks.append(Mark(size, curve(size) if curve else 0.0, RUNNING, ACCENT))
    highest = max([mark.y for mark in marks] + ([curve(most)] if curve else []), default=0.0)
    scale = plain if highest else blank
    return Plot(THROUGHPUT, most, highest * ROOM or 1.0, scale, curve, tuple(marks), upright=_knee(run_state))


def bounds(run_state: ServerRunState) -> Plot:
    """How full the KV cache was, its limit, and how many of the requests waited. There is no fit of them."""
    marks = [mark for verdict in run_state.probes for mark in _bounds(verdict)]
    if run_state.running is not None:
        marks.append(Mark(run_state.running.probe.concurrency, 0.0, RUNNING, ACCENT))
    limit = 100 * run_state.form.goal.kv_limit
    upright = (
        Guide(run_state.result.answer.c_max, f"C_max {run_state.result.answer.c_max}") if run_state.result else None
    )
    level = Guide(limit, f"KV limit {limit:g} %")
    return Plot(BOUNDS, _most(run_state), _ALL, plain, None, tuple(marks), level, upright)


def empty() -> list[Plot]:
    """Both charts before there is a tuning."""
    return [Plot(title, 100.0, 1.0, blank) for title in (THROUGHPUT, BOUNDS)]


def _measured(verdict: ServerVerdict) -> Mark:
    size, rate = verdict.probe.concurrency, verdict.outcome.rate
    if verdict.judged == "ok":
        return Mark(size, rate, MEASURED, VALUE)
    return Mark(size, rate, REFUSED, BAD if verdict.judged == "failed" else WARN)


def _bounds(verdict: ServerVerdict) -> list[Mark]:
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


def _knee(run_state: ServerRunState) -> Guide | None:
    """C*; before it is known the knee of the fit."""
    if run_state.result is not None:
        best = run_state.result.answer.c_best
        return Guide(best, f"C* {best}")
    return Guide(run_state.knee, f"knee {run_state.knee}") if run_state.knee is not None else None


def _most(run_state: ServerRunState) -> float:
    """How far both charts reach, in requests."""
    sizes = [verdict.probe.concurrency for verdict in run_state.probes]
    if run_state.running is not None:
        sizes.append(run_state.running.probe.concurrency)
    return max([float(size) for size in sizes] + [_FEWEST / ROOM]) * ROOM
