"""The tuner's result for a person and for a script."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from phitui.autotune.answer import TuneAnswer
from phitui.autotune.probes import Goal
from phitui.autotune.server_search import ServerGoal, ServerTuneAnswer
from phitui.autotune.steptime import PrefillTime, StepTime
from phitui.cli.markdown import columns
from phitui.cli.output import headed
from phitui.workbench.measure.preflight import Preflight
from phitui.workbench.tune.events import LocalEnded, Trial, TuneResult
from phitui.workbench.tune.headline import headline, noise

_COLUMNS = ("configuration", "rows", "prompt", "new", "predicted GB", "measured GB", "step ms", "tok/s", "outcome")


def report(result: TuneResult) -> dict[str, Any]:
    """The contract's object, and more. Bytes, seconds; what is not known is null."""
    answer, goal, memory = result.answer, result.goal, result.answer.memory
    return {
        "b_max": answer.b_max,
        "b_best": answer.b_best,
        "b_slo": answer.b_slo,
        "kv_token_budget": answer.kv_token_budget,
        "config": result.setup._asdict(),
        "why": answer.why,
        "limit_bytes": answer.limit_bytes,
        "probes": [_probe(one) for one in result.probes],
        "model": result.manifest.name,
        "device": result.loaded.device,
        "goal": goal_report(goal),
        "preflight": None if result.before is None else _before(result.before),
        **speed_report(answer),
        "rest_bytes": result.rest_bytes,
        "usable_bytes": result.usable_bytes,
        "memory_fit": {
            "base_bytes": round(memory.base_bytes),
            "scale": round(memory.scale, 4),
            "worst_error": memory.error,
            "n": memory.points,
        },
        "step_fit": _fit(answer.steps),
        "prefill_fit": _fit(answer.prefill),
        "trials": [_trial(trial, result) for trial in result.trials],
        "lengths": [{**asdict(row), "tokens_per_s": round(row.tokens_per_s, 3)} for row in answer.table],
    }


def goal_report(goal: Goal | ServerGoal) -> dict[str, Any]:
    """What was tuned for."""
    return {
        "prompt_tokens": goal.prompt_tokens,
        "max_tokens": goal.new_tokens,
        "start": goal.start,
        "slo_itl_ms": ms(goal.slo_itl_s),
    }


def speed_report(answer: TuneAnswer | ServerTuneAnswer) -> dict[str, Any]:
    """Throughput at the best size."""
    return {
        "tokens_per_s": round(answer.tokens_per_s, 3),
        "tokens_per_s_sigma": None if answer.spread is None else round(answer.spread, 3),
        "tokens_per_s_n": answer.measurements,
    }


def ms(seconds: float | None, digits: int = 4) -> float | None:
    """Milliseconds; what is not known stays that."""
    return None if seconds is None else round(seconds * 1000, digits)


def _fit(times: StepTime | PrefillTime) -> dict[str, Any]:
    found = asdict(times)
    found["rms_error"] = found.pop("error")
    return found


def _before(before: Preflight) -> dict[str, Any]:
    others = before.others
    return {
        "load1": before.load1,
        "cores": before.cores,
        "throttle_reasons": before.throttle_reasons,
        "others": others and [{"pid": one.pid, "name": one.name, "used_bytes": one.used_bytes} for one in others],
        "missing": before.missing or None,
    }


def _probe(one: LocalEnded) -> dict[str, Any]:
    verdict = one.verdict
    shape, outcome = verdict.probe.shape, verdict.outcome
    return {
        "batch": shape.batch,
        "prompt_tokens": shape.prompt,
        "new_tokens": shape.new,
        "predicted_bytes": verdict.predicted_bytes,
        "measured_bytes": outcome.peak_bytes,
        "tokens_per_s": None if verdict.rate is None else round(verdict.rate, 3),
        "outcome": verdict.judged,
        "purpose": verdict.probe.why,
        "config": one.of.setup._asdict(),
        "step_ms": ms(outcome.step_s),
        "step_p95_ms": ms(outcome.step_p95_s),
        "prefill_ms": ms(outcome.prefill_s, 3),
        "seconds": round(outcome.seconds, 3),
        "limit_bytes": outcome.limit_bytes,
        "detail": outcome.detail,
        "repeated": verdict.probe.again,
        "driver_bytes": outcome.driver_bytes,
        "driver_note": outcome.driver_note or None,
    }


def _trial(trial: Trial, result: TuneResult) -> dict[str, Any]:
    first, last = result.faster(trial) or (0, 0)
    return {
        "config": trial.setup._asdict(),
        "tokens_per_s": {str(batch): round(rate, 3) for batch, rate in sorted(trial.rates.items())},
        "faster_from_batch": first or None,
        "faster_to_batch": last if first else None,
        "problem": trial.problem or None,
    }


def table(result: TuneResult) -> str:
    """Probes, configurations, lengths, and the answer last: that is where a terminal's cursor ends."""
    answer, goal = result.answer, result.goal
    lines = [*headed(_probe_rows(result)), ""]
    heads = ("configuration", "rows", "output tok/s", "faster than the present")
    lines += headed(columns([heads, *_trial_rows(result)], right=(1, 2)))
    lengths = [(f"{r.total_tokens:,}", str(r.b_max), str(r.b_best), f"{r.tokens_per_s:,.0f}") for r in answer.table]
    by_length = columns([("tokens of a row", "B_max", "B*", "output tok/s"), *lengths], right=(0, 1, 2, 3))
    lines += ["", *headed(by_length), ""]
    lines += columns(
        [
            ("configuration", str(result.setup)),
            ("B*", f"{answer.b_best} rows, the fastest: {_rate(answer)} output tok/s, prefill included"),
            ("B_max", f"{answer.b_max} rows, the most that fit {answer.limit_bytes / 1e9:.3f} GB"),
            ("B_slo", kept_latency(goal, answer.b_slo, "rows", "batch")),
            ("KV-token budget", f"{answer.kv_token_budget:,} tokens"),
            ("error of the fit", _errors(answer)),
            ("why", answer.why),
        ]
    )
    lines += ["", " ".join(filter(None, (headline(result), noise(result))))]
    return "\n".join(lines) + "\n"


def kept_latency(goal: Goal | ServerGoal, found: int | None, unit: str, noun: str) -> str:
    """What keeps the latency that was asked for, in words."""
    if goal.slo_itl_s is None:
        return "not asked for (--slo-itl-ms)"
    within = f"{goal.slo_itl_s * 1000:g} ms a token"
    return f"no {noun} keeps {within}" if found is None else f"{found} {unit}, the most within {within}"


def _probe_rows(result: TuneResult) -> list[str]:
    """The probes; on a card with the driver's count beside the pool's, and why it is missing where it is."""
    rows = [_COLUMNS, *(_row(one) for one in result.probes)]
    if result.loaded.device != "cuda":
        return columns(rows, range(1, 8))
    outcomes = [one.verdict.outcome for one in result.probes]
    counts = ["–" if one.driver_bytes is None else f"{one.driver_bytes / 1e9:.3f}" for one in outcomes]
    wide = [(*row[:6], count, *row[6:]) for row, count in zip(rows, ["NVML GB", *counts], strict=True)]
    notes = {one.driver_note: None for one in outcomes if one.driver_note}
    return [*columns(wide, range(1, 9)), *(f"NVML: – is: {note}" for note in notes)]


def _rate(answer: TuneAnswer) -> str:
    """The mean, with its spread and N."""
    spread = "" if answer.spread is None else f" ± {answer.spread:,.0f}"
    return f"{answer.tokens_per_s:,.0f}{spread} (N = {answer.measurements})"


def _errors(answer: TuneAnswer) -> str:
    """How good the fits of memory and of step times are."""
    memory, steps = answer.memory, answer.steps
    if memory.error is None:
        return "– (nothing measured)"
    times = "" if steps.error is None else f", step times {100 * steps.error:.1f} % (root mean square)"
    return f"memory {100 * memory.error:.1f} % (the worst of {memory.points} peaks){times}"


def _row(one: LocalEnded) -> tuple[str, ...]:
    verdict = one.verdict
    shape, outcome = verdict.probe.shape, verdict.outcome
    return (
        str(one.of.setup),
        str(shape.batch),
        str(shape.prompt),
        str(shape.new),
        f"{verdict.predicted_bytes / 1e9:.3f}",
        "–" if outcome.peak_bytes is None else f"{outcome.peak_bytes / 1e9:.3f}",
        "–" if outcome.step_s is None else f"{outcome.step_s * 1000:.2f}",
        "–" if verdict.rate is None else f"{verdict.rate:,.0f}",
        verdict.judged,
    )


def _trial_rows(result: TuneResult) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for trial in result.trials:
        rate, batch = trial.best
        if batch:
            rows.append((str(trial.setup), str(batch), f"{rate:,.0f}", _faster(trial, result)))
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
