"""The tuner's result for a person and for a script."""

from __future__ import annotations

from typing import Any

from phitui.autotune.answer import TuneAnswer
from phitui.autotune.probes import Verdict
from phitui.workbench.measure.preflight import Preflight
from phitui.workbench.tune.events import Trial, TuneResult
from phitui.workbench.tune.setups import Setup

_COLUMNS = ("configuration", "rows", "prompt", "new", "predicted GB", "measured GB", "step ms", "tok/s", "outcome")


def report(result: TuneResult) -> dict[str, Any]:
    """The contract's object, and more. Bytes, seconds; what is not known is null."""
    answer, setup, goal = result.answer, result.setup, result.goal
    return {
        "b_max": answer.b_max,
        "b_best": answer.b_best,
        "b_slo": answer.b_slo,
        "kv_token_budget": answer.kv_token_budget,
        "config": {"workers": setup.workers, "threads": setup.threads, "compute_type": setup.compute_type},
        "why": answer.why,
        "limit_bytes": answer.limit_bytes,
        "probes": [_probe(of, verdict) for of, verdict in result.probes],
        "model": result.manifest.name,
        "device": result.loaded.device,
        "goal": {
            "prompt_tokens": goal.prompt_tokens,
            "max_tokens": goal.new_tokens,
            "start": goal.start,
            "slo_itl_ms": None if goal.slo_itl_s is None else goal.slo_itl_s * 1000,
        },
        "preflight": None if result.before is None else _before(result.before),
        "tokens_per_s": round(answer.tokens_per_s, 3),
        "tokens_per_s_sigma": None if answer.spread is None else round(answer.spread, 3),
        "tokens_per_s_n": answer.measurements,
        "rest_bytes": result.rest_bytes,
        "usable_bytes": result.usable_bytes,
        "memory_fit": {
            "base_bytes": round(answer.memory.base_bytes),
            "scale": round(answer.memory.scale, 4),
            "worst_error": answer.memory.error,
            "n": answer.memory.points,
        },
        "step_fit": {
            "fixed_s": answer.steps.fixed_s,
            "row_s": answer.steps.row_s,
            "token_s": answer.steps.token_s,
            "rms_error": answer.steps.error,
        },
        "prefill_fit": {
            "call_s": answer.prefill.call_s,
            "token_s": answer.prefill.token_s,
            "rms_error": answer.prefill.error,
        },
        "trials": [_trial(trial, result) for trial in result.trials],
        "lengths": [
            {
                "total_tokens": r.total_tokens,
                "b_max": r.b_max,
                "b_best": r.b_best,
                "tokens_per_s": round(r.tokens_per_s, 3),
            }
            for r in answer.table
        ],
    }


def _before(before: Preflight) -> dict[str, Any]:
    others = before.others
    return {
        "load1": before.load1,
        "cores": before.cores,
        "throttle_reasons": before.throttle_reasons,
        "others": None
        if others is None
        else [{"pid": one.pid, "name": one.name, "used_bytes": one.used_bytes} for one in others],
        "missing": before.missing or None,
    }


def _probe(setup: Setup, verdict: Verdict) -> dict[str, Any]:
    shape, outcome = verdict.probe.shape, verdict.outcome
    return {
        "batch": shape.batch,
        "prompt_tokens": shape.prompt,
        "new_tokens": shape.new,
        "predicted_bytes": verdict.predicted_bytes,
        "measured_bytes": outcome.peak_bytes,
        "tokens_per_s": round(shape.batch / outcome.step_s, 3) if outcome.step_s else None,
        "outcome": verdict.judged,
        "purpose": verdict.probe.why,
        "config": {"workers": setup.workers, "threads": setup.threads, "compute_type": setup.compute_type},
        "step_ms": None if outcome.step_s is None else round(outcome.step_s * 1000, 4),
        "step_p95_ms": None if outcome.step_p95_s is None else round(outcome.step_p95_s * 1000, 4),
        "prefill_ms": None if outcome.prefill_s is None else round(outcome.prefill_s * 1000, 3),
        "seconds": round(outcome.seconds, 3),
        "limit_bytes": outcome.limit_bytes,
        "detail": outcome.detail,
        "repeated": verdict.probe.again,
        "driver_bytes": outcome.driver_bytes,
        "driver_note": outcome.driver_note or None,
    }


def _trial(trial: Trial, result: TuneResult) -> dict[str, Any]:
    faster = result.faster(trial)
    return {
        "config": {
            "workers": trial.setup.workers,
            "threads": trial.setup.threads,
            "compute_type": trial.setup.compute_type,
        },
        "tokens_per_s": {str(batch): round(rate, 3) for batch, rate in sorted(trial.rates.items())},
        "faster_from_batch": faster[0] if faster and faster[0] else None,
        "faster_to_batch": faster[1] if faster and faster[1] else None,
        "problem": trial.problem or None,
    }


def table(result: TuneResult) -> str:
    """Probes, configurations, lengths, and the answer last: that is where a terminal's cursor ends."""
    answer, goal = result.answer, result.goal
    lines = [*_probe_rows(result), ""]
    lines += _aligned([("configuration", "rows", "output tok/s", "faster than the present one"), *_trial_rows(result)])
    lengths = [(str(r.total_tokens), str(r.b_max), str(r.b_best), f"{r.tokens_per_s:.0f}") for r in answer.table]
    lines += ["", *_aligned([("tokens of a row", "B_max", "B*", "output tok/s"), *lengths]), ""]
    slo = "not asked for" if goal.slo_itl_s is None else "no batch keeps it"
    lines += _aligned(
        [
            ("configuration", str(result.setup)),
            ("B*", f"{answer.b_best} rows: {_rate(answer)} output tok/s, prefill included"),
            ("B_max", f"{answer.b_max} rows within {answer.limit_bytes / 1e9:.3f} GB"),
            ("B_slo", slo if answer.b_slo is None else f"{answer.b_slo} rows"),
            ("KV-token budget", f"{answer.kv_token_budget} tokens"),
            ("memory", _memory(answer)),
            ("why", answer.why),
        ]
    )
    return "\n".join(lines) + "\n"


def _probe_rows(result: TuneResult) -> list[str]:
    """The probes; on a card with the driver's count beside the pool's, and why it is missing where it is."""
    rows = [_COLUMNS, *(_row(setup, verdict) for setup, verdict in result.probes)]
    if result.loaded.device != "cuda":
        return _aligned(rows)
    outcomes = [verdict.outcome for _, verdict in result.probes]
    counts = ["–" if one.driver_bytes is None else f"{one.driver_bytes / 1e9:.3f}" for one in outcomes]
    wide = [(*row[:6], count, *row[6:]) for row, count in zip(rows, ["NVML GB", *counts], strict=True)]
    notes = {one.driver_note: None for one in outcomes if one.driver_note}
    return [*_aligned(wide), *(f"NVML: – is: {note}" for note in notes)]


def _rate(answer: TuneAnswer) -> str:
    """The mean, with its spread and N."""
    spread = "" if answer.spread is None else f" ± {answer.spread:.0f}"
    return f"{answer.tokens_per_s:.0f}{spread} (N = {answer.measurements})"


def _memory(answer: TuneAnswer) -> str:
    """How good the fits of memory and of step times are."""
    memory, steps = answer.memory, answer.steps
    if memory.error is None:
        return "– (nothing measured)"
    times = "" if steps.error is None else f"; that of step times {steps.error:.1%} off (root mean square)"
    return f"the fit is within {memory.error:.1%} of all {memory.points} measured peaks{times}"


def _row(setup: Setup, verdict: Verdict) -> tuple[str, ...]:
    shape, outcome = verdict.probe.shape, verdict.outcome
    return (
        str(setup),
        str(shape.batch),
        str(shape.prompt),
        str(shape.new),
        f"{verdict.predicted_bytes / 1e9:.3f}",
        "–" if outcome.peak_bytes is None else f"{outcome.peak_bytes / 1e9:.3f}",
        "–" if outcome.step_s is None else f"{outcome.step_s * 1000:.2f}",
        "–" if outcome.step_s is None else f"{shape.batch / outcome.step_s:.0f}",
        verdict.judged,
    )


def _trial_rows(result: TuneResult) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for trial in result.trials:
        rate, batch = trial.best
        if batch:
            rows.append((str(trial.setup), str(batch), f"{rate:.0f}", _faster(trial, result)))
        else:
            rows.append((str(trial.setup), "–", "–", trial.problem or "nothing ran"))
    return rows


def _faster(trial: Trial, result: TuneResult) -> str:
    """Where the crossover is, in words."""
    if trial.setup == result.present.setup:
        return "the present one"
    span = result.faster(trial)
    if span is None:
        return "– (measured at one size only)"
    first, last = span
    if not last:
        return "nowhere"
    if last < result.answer.b_max:
        return f"up to {last} row{'s' * (last != 1)}" if first == 1 else f"from {first} to {last} rows"
    return "at all sizes" if first == 1 else f"from {first} rows on"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns two spaces apart: the first and the last to the left, figures between to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    last = len(widths) - 1
    return [
        "  ".join(
            cell if column == last else cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
