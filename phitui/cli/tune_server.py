"""The result of a server's tuning for a person and for a script."""

from __future__ import annotations

from typing import Any

from phitui.autotune.server_search import ServerVerdict
from phitui.cli import markdown
from phitui.cli.output import headed
from phitui.cli.tune_table import goal_report, kept_latency, ms, speed_report
from phitui.core.text import one_line
from phitui.workbench.tune.events import ServerTuneResult
from phitui.workbench.tune.headline import noise, server_headline

_COLUMNS = ("at once", "predicted/s", "output/s", "step ms", "gap p95 ms", "TTFT ms", "waiting", "KV", "outcome", "for")


def report(result: ServerTuneResult) -> dict[str, Any]:
    """One object. What is not known is null."""
    answer, goal, remote = result.answer, result.goal, result.remote
    return {
        "c_max": answer.c_max,
        "c_best": answer.c_best,
        "c_slo": answer.c_slo,
        "bound": answer.bound,
        "why": answer.why,
        **speed_report(answer),
        "engine": {"name": remote.name, "host": remote.host, "kind": remote.kind, "model": remote.model},
        "goal": {**goal_report(goal), "kv_limit": goal.kv_limit},
        "fit": {"fixed_s": answer.fixed_s, "request_s": answer.request_s},
        "probes": [_probe(one) for one in answer.probes],
        "notes": result.notes,
    }


def _probe(one: ServerVerdict) -> dict[str, Any]:
    probe, outcome = one.probe, one.outcome
    return {
        "concurrency": probe.concurrency,
        "predicted_tokens_per_s": None if probe.predicted_rate is None else round(probe.predicted_rate, 3),
        "tokens_per_s": None if one.rate is None else round(one.rate, 3),
        "step_ms": ms(outcome.step_s),
        "gap_p95_ms": ms(outcome.gap_p95_s),
        "ttft_ms": ms(outcome.ttft_s, 3),
        "waiting": outcome.waiting,
        "kv_use": outcome.kv_use,
        "outcome": one.judged,
        "purpose": probe.why,
        "repeated": probe.again,
        "detail": outcome.detail,
    }


def table(result: ServerTuneResult) -> str:
    """Probes, notes, and the answer last."""
    answer, goal, remote = result.answer, result.goal, result.remote
    spread = "" if answer.spread is None else f" ± {answer.spread:,.1f}"
    lines = [*headed(markdown.table([_COLUMNS, *(_row(one) for one in answer.probes)], left=0)), ""]
    lines += [f"- {one_line(note, 300)}" for note in result.notes]
    lines += [
        "",
        "engine  " + one_line(f"{remote.name}: {remote.model}, {remote.kind} at {remote.host}", 300),
        f"C*      {answer.c_best} at once, the fastest: {answer.tokens_per_s:,.1f}{spread} (N = {answer.measurements}) "
        "output tok/s, prefill included",
        f"C_max   {answer.c_max} at once, the most that find room",
        f"C_slo   {kept_latency(goal, answer.c_slo, 'at once', 'number')}",
        f"why     {one_line(answer.why, 500)}",
        "",
        " ".join(filter(None, (server_headline(result), noise(result)))),
    ]
    return "\n".join(lines) + "\n"


def _row(one: ServerVerdict) -> tuple[str, ...]:
    probe, outcome = one.probe, one.outcome

    times = (ms(seconds) for seconds in (outcome.step_s, outcome.gap_p95_s, outcome.ttft_s))
    figures = (probe.predicted_rate, one.rate, *times)
    return (
        str(probe.concurrency),
        *("–" if figure is None else f"{figure:,.1f}" for figure in figures),
        "–" if outcome.waiting is None else str(outcome.waiting),
        "–" if outcome.kv_use is None else f"{outcome.kv_use:.0%}",
        one.judged,
        probe.why,
    )
