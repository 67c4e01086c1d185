"""phitui tune on a server's engine: how many requests at once."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from phitui.autotune.probes import Goal
from phitui.autotune.server_search import ServerGoal, ServerVerdict
from phitui.cli.markdown import table
from phitui.cli.output import narrate, write
from phitui.cli.probe_bar import ProbeBar
from phitui.cli.signals import cancel_on_signals
from phitui.config.layers import Config, shown_path
from phitui.core.errors import ExitCode, PhituiError, UsageError
from phitui.core.text import one_line
from phitui.engine.protocol.rows_api import DEFAULT_CONCURRENCY
from phitui.workbench.tune.apply import apply, check_place, in_words, settings
from phitui.workbench.tune.saved_server import remember_load
from phitui.workbench.tune.server import (
    EarlierServerTuning,
    ServerProbeBegan,
    ServerProbeEnded,
    ServerTuneEvent,
    ServerTuneResult,
    tune_server,
)
from phitui.workbench.tune.setups import parse_limit

_COLUMNS = ("at once", "predicted/s", "output/s", "step ms", "gap p95 ms", "TTFT ms", "waiting", "KV", "outcome", "for")


def run_on_server(config: Config, lengths: Goal, args: argparse.Namespace) -> int:
    """Tune and return the exit code. Raises PhituiError."""
    name = config.engine.name
    if args.apply:
        check_place({f"engines.{name}.concurrency": "C*"}, config)
    goal = goal_of(config, lengths, args)
    result = asyncio.run(_tune(config, goal))
    write(json.dumps(report(result), ensure_ascii=sys.stdout.isatty()) + "\n" if args.json else shown(result))
    try:
        if problem := remember_load(result.remote, result.goal, result.answer):
            narrate(f"phitui: {problem}")
    except PhituiError as error:
        narrate(f"phitui: {error}")
    if args.apply:
        chosen = settings(result)
        path = apply(chosen)
        narrate(f"written to {shown_path(path)}: {in_words(chosen)}")
    return int(ExitCode.DONE)


def goal_of(config: Config, lengths: Goal, args: argparse.Namespace) -> ServerGoal:
    """What is asked for; --limit is a share of the KV cache. Raises UsageError."""
    limit = parse_limit(args.limit) if args.limit is not None else None
    if limit is not None and limit.most_bytes:
        raise UsageError("--limit: of a server a share of its KV cache, as 0.9: its memory is not read")
    return ServerGoal(
        prompt_tokens=lengths.prompt_tokens,
        new_tokens=lengths.new_tokens,
        start=args.start or DEFAULT_CONCURRENCY,
        kv_limit=limit.share if limit is not None else config.tuner.limit,
        slo_itl_s=lengths.slo_itl_s,
    )


async def _tune(config: Config, goal: ServerGoal) -> ServerTuneResult:
    cancel_on_signals()
    bar = ProbeBar()

    def tell(event: ServerTuneEvent) -> None:
        bar.clear()
        _tell(event)
        if isinstance(event, ServerProbeBegan):
            bar.draw(event.number, event.most, f"{event.probe.concurrency} at once")

    try:
        return await tune_server(config, goal, tell)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        bar.clear()


def _tell(event: ServerTuneEvent) -> None:
    if isinstance(event, ServerProbeEnded):
        outcome = event.verdict.outcome
        parts = [f"{outcome.rate:.1f} output tok/s"] if outcome.kind == "ok" else [one_line(outcome.detail, 300)]
        parts += [f"{outcome.waiting} waiting"] if outcome.waiting else []
        narrate(f"probe {event.number}: {event.verdict.probe.concurrency} at once: {', '.join(parts)}")
    elif isinstance(event, EarlierServerTuning):
        found = event.tuning
        if found is None:
            narrate(f"phitui: {event.problem}")
            return
        state = f"stale: {event.problem}" if event.problem else "it still holds"
        narrate(
            one_line(
                f"found before, {found.made}: {found.c_best} at once, {found.tokens_per_s:.0f} tok/s ({state})", 300
            )
        )


def report(result: ServerTuneResult) -> dict[str, Any]:
    """One object. What is not known is null."""
    answer, goal, remote = result.answer, result.goal, result.remote
    return {
        "c_max": answer.c_max,
        "c_best": answer.c_best,
        "c_slo": answer.c_slo,
        "bound": answer.bound,
        "why": answer.why,
        "tokens_per_s": round(answer.tokens_per_s, 3),
        "tokens_per_s_sigma": None if answer.spread is None else round(answer.spread, 3),
        "tokens_per_s_n": answer.measurements,
        "engine": {"name": remote.name, "host": remote.host, "kind": remote.kind, "model": remote.model},
        "goal": {
            "prompt_tokens": goal.prompt_tokens,
            "max_tokens": goal.new_tokens,
            "start": goal.start,
            "kv_limit": goal.kv_limit,
            "slo_itl_ms": None if goal.slo_itl_s is None else goal.slo_itl_s * 1000,
        },
        "fit": {"fixed_s": answer.fixed_s, "request_s": answer.request_s},
        "probes": [_probe(one) for one in answer.probes],
        "notes": result.notes,
    }


def _probe(one: ServerVerdict) -> dict[str, Any]:
    probe, outcome = one.probe, one.outcome
    known = outcome.kind == "ok"
    return {
        "concurrency": probe.concurrency,
        "predicted_tokens_per_s": None if probe.predicted_rate is None else round(probe.predicted_rate, 3),
        "tokens_per_s": round(outcome.rate, 3) if known else None,
        "step_ms": None if outcome.step_s is None else round(outcome.step_s * 1000, 4),
        "gap_p95_ms": None if outcome.gap_p95_s is None else round(outcome.gap_p95_s * 1000, 4),
        "ttft_ms": None if outcome.ttft_s is None else round(outcome.ttft_s * 1000, 3),
        "waiting": outcome.waiting,
        "kv_use": outcome.kv_use,
        "outcome": one.judged,
        "purpose": probe.why,
        "repeated": probe.again,
        "detail": outcome.detail,
    }


def shown(result: ServerTuneResult) -> str:
    """Probes, notes, and the answer last."""
    answer, goal, remote = result.answer, result.goal, result.remote
    spread = "" if answer.spread is None else f" ± {answer.spread:.1f}"
    slo = "not asked for" if goal.slo_itl_s is None else "no number keeps it"
    lines = [*table([_COLUMNS, *(_row(one) for one in answer.probes)], left=0), ""]
    lines += [f"- {one_line(note, 300)}" for note in result.notes]
    lines += [
        "",
        "engine  " + one_line(f"{remote.name}: {remote.model}, {remote.kind} at {remote.host}", 300),
        f"C*      {answer.c_best} at once: {answer.tokens_per_s:.1f}{spread} (N = {answer.measurements}) output tok/s, "
        "prefill included",
        f"C_max   {answer.c_max} at once",
        f"C_slo   {slo if answer.c_slo is None else f'{answer.c_slo} at once'}",
        f"why     {one_line(answer.why, 500)}",
    ]
    return "\n".join(lines) + "\n"


def _row(one: ServerVerdict) -> tuple[str, ...]:
    probe, outcome = one.probe, one.outcome

    def ms(seconds: float | None) -> str:
        return "–" if seconds is None else f"{1000 * seconds:.1f}"

    return (
        str(probe.concurrency),
        "–" if probe.predicted_rate is None else f"{probe.predicted_rate:.1f}",
        f"{outcome.rate:.1f}" if outcome.kind == "ok" else "–",
        ms(outcome.step_s),
        ms(outcome.gap_p95_s),
        ms(outcome.ttft_s),
        "–" if outcome.waiting is None else str(outcome.waiting),
        "–" if outcome.kv_use is None else f"{outcome.kv_use:.0%}",
        one.judged,
        probe.why,
    )
