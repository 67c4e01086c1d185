"""The answers of a server's tuning in words, in a column as wide as there is room."""

from __future__ import annotations

import math

from phitui.tui.charts.cells import ACCENT, BAD, MUTED, NOTHING, WARN, Row
from phitui.tui.tuner.answers import said
from phitui.workbench.tune.run_state import ServerRunState
from phitui.workbench.tune.server import ServerTuneResult


def server_answer_rows(run_state: ServerRunState | None, width: int, with_notes: bool = True) -> list[Row]:
    """The answer, or what is known on the way to it."""
    if run_state is None:
        return said("", "No tuning yet. s begins one: how many requests at once, in a handful of probes.", width)
    if run_state.result is None:
        return _on_the_way(run_state, width)
    return [*_result(run_state, run_state.result, width), *([[], *notes(run_state, width)] if with_notes else [])]


def notes(run_state: ServerRunState | None, width: int) -> list[Row]:
    """What the figures have to be read with."""
    if run_state is None or run_state.result is None:
        return []
    return [row for note in run_state.result.notes for row in said("Note", note, width, MUTED)]


def server_in_a_line(result: ServerTuneResult) -> str:
    """The answer where there is one row for it."""
    answer = result.answer
    slo = "" if answer.c_slo is None else f" · C_slo {answer.c_slo}"
    return f"C* {at_once(answer.c_best)}: {answer.tokens_per_s:.0f} output tok/s · C_max {answer.c_max}{slo}"


def at_once(count: int) -> str:
    """E.g. "1 request at once"."""
    return f"{count} request{'s' * (count != 1)} at once"


def _on_the_way(run_state: ServerRunState, width: int) -> list[Row]:
    goal = run_state.form.goal
    rows = said("Limit", f"KV cache up to {goal.kv_limit:.0%} full", width)
    if goal.slo_itl_s is not None:
        rows += said("C_slo", f"for {goal.slo_itl_s * 1000:g} ms a token", width)
    rows += _fit(run_state, width)
    refused = next((one for one in reversed(run_state.probes) if one.judged == "failed"), None)
    if refused is not None and run_state.state != "failed":
        rows += said(f"At {refused.probe.concurrency}", refused.outcome.detail, width, WARN)
    if run_state.state == "failed":
        rows += said("Failed", run_state.error, width, BAD)
    elif run_state.state == "cancelled":
        rows += said("", "Cancelled before there was an answer.", width)
    return rows


def _result(run_state: ServerRunState, result: ServerTuneResult, width: int) -> list[Row]:
    answer, remote = result.answer, result.remote
    spread = "" if answer.spread is None else f" ± {answer.spread:.1f}"
    speed = f"{answer.tokens_per_s:.1f}{spread} output tok/s"
    return [
        *said("C*", f"{at_once(answer.c_best)}: {speed} (N = {answer.measurements})", width, ACCENT),
        *said("C_max", at_once(answer.c_max), width),
        *said("C_slo", _slo(result), width),
        *_fit(run_state, width),
        *said("Server", f"{remote.name}: {remote.kind} at {remote.host}", width),
        *said("Why", answer.why, width),
    ]


def _slo(result: ServerTuneResult) -> str:
    asked = result.goal.slo_itl_s
    if asked is None:
        return f"{NOTHING} no latency was asked for"
    if result.answer.c_slo is None:
        return f"{NOTHING} no number keeps {asked * 1000:g} ms"
    return f"{at_once(result.answer.c_slo)}, {asked * 1000:g} ms"


def _fit(run_state: ServerRunState, width: int) -> list[Row]:
    """n requests take so many seconds, and how far their throughput by that is from the measured one where all went
    well: the root mean square."""
    fit = run_state.fit
    if fit is None:
        return []
    rates = [(one.probe.concurrency, one.outcome.rate) for one in run_state.probes if one.judged == "ok"]
    errors = [(fit.rate(size) / rate - 1) ** 2 for size, rate in rates if rate]
    off = f", {100 * math.sqrt(sum(errors) / len(errors)):.1f} % off" if errors else ""
    return said("Fit", f"n take {fit.fixed_s:.3g} + n × {fit.request_s:.3g} s{off}", width)
