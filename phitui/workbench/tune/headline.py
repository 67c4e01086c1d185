"""The answer of a tuning in a sentence, for whoever has never heard of B*."""

from __future__ import annotations

from phitui.autotune.memory import Shape
from phitui.core.text import counted
from phitui.storage.tunings import ServerTuning, Tuning
from phitui.workbench.tune.events import ServerTuneResult, TuneResult

_GB = 1e9
# From here on measurements are so far from each other, or from their fit, that another run may say something else.
_NOISE = 0.10


def headline(result: TuneResult) -> str:
    """What to use, what it brings, and how much better that is than the batch that it began with."""
    answer, setup = result.answer, result.setup
    kind = f" in {setup.compute_type}" if setup.compute_type != result.present.setup.compute_type else ""
    first = result.goal.start
    before = result.present.rates.get(first) if first != answer.b_best else None
    gain = f", {answer.tokens_per_s / before:.1f} × batch {first}" if before else ""
    peak_bytes = answer.memory.peak(Shape(answer.b_best, result.goal.prompt_tokens, result.goal.new_tokens))
    what = f"batch {answer.b_best}{_on(setup.workers)}{kind}"
    return _sentence(what, answer.tokens_per_s, gain, peak_bytes, answer.limit_bytes)


def server_headline(result: ServerTuneResult) -> str:
    """As `headline`, of a server."""
    answer = result.answer
    return _server_sentence(answer.c_best, answer.tokens_per_s, answer.c_max)


def earlier_headline(tuning: Tuning | ServerTuning) -> str:
    """As `headline`, of one that was kept: what it was compared with is not."""
    if isinstance(tuning, ServerTuning):
        return _server_sentence(tuning.c_best, tuning.tokens_per_s, tuning.c_max)
    what = f"batch {tuning.batch}{_on(tuning.workers)}"
    return _sentence(what, tuning.tokens_per_s, "", tuning.peak_bytes, tuning.limit_bytes)


def _on(workers: int) -> str:
    return f" on {workers} workers" if workers > 1 else ""


def _sentence(what: str, rate: float, gain: str, peak_bytes: int, limit_bytes: int) -> str:
    memory = f"{peak_bytes / _GB:.2f} of {limit_bytes / _GB:.2f} GB"
    return f"Use {what}: about {rate:,.0f} tok/s{gain}, in {memory}."


def _server_sentence(best: int, rate: float, most: int) -> str:
    many = f"{counted(best, 'request')} at once"
    return f"Send {many}: about {rate:,.0f} tok/s. Up to {most} find room."


def noise(result: TuneResult | ServerTuneResult) -> str:
    """That the figures are unsure, by how much, and what to do; "" where they are not."""
    answer = result.answer
    of_runs = answer.spread / answer.tokens_per_s if answer.spread and answer.tokens_per_s else 0.0
    of_fit = (result.answer.steps.error or 0.0) if isinstance(result, TuneResult) else 0.0
    share = max(of_runs, of_fit)
    if share < _NOISE:
        return ""
    return f"The measurements differ by ±{100 * share:.0f} %, as on a busy machine: run it again when it is quiet."
