"""The answer of a tuning in a sentence, for whoever has never heard of B*."""

from __future__ import annotations

from phitui.autotune.memory import Shape
from phitui.workbench.tune.events import ServerTuneResult, TuneResult

_GB = 1e9
# From here on measurements are so far from each other, or from their fit, that another run may say something else.
_NOISE = 0.10


def headline(result: TuneResult) -> str:
    """What to use, what it brings, and how much better that is than the batch that it began with."""
    answer, setup = result.answer, result.setup
    where = f" on {setup.workers} workers" if setup.workers > 1 else ""
    kind = f" in {setup.compute_type}" if setup.compute_type != result.present.setup.compute_type else ""
    first = result.goal.start
    before = result.present.rates.get(first) if first != answer.b_best else None
    gain = f", {answer.tokens_per_s / before:.1f} × batch {first}" if before else ""
    shape = Shape(answer.b_best, result.goal.prompt_tokens, result.goal.new_tokens)
    memory = f"{answer.memory.peak(shape) / _GB:.2f} of {answer.limit_bytes / _GB:.2f} GB"
    return f"Use batch {answer.b_best}{where}{kind}: about {answer.tokens_per_s:.0f} tok/s{gain}, in {memory}."


def server_headline(result: ServerTuneResult) -> str:
    """As `headline`, of a server."""
    answer = result.answer
    many = f"{answer.c_best} request{'s' * (answer.c_best != 1)} at once"
    return f"Send {many}: about {answer.tokens_per_s:.0f} tok/s. Up to {answer.c_max} find room."


def noise(result: TuneResult | ServerTuneResult) -> str:
    """That the figures are unsure, by how much, and what to do; "" where they are not."""
    answer = result.answer
    of_runs = answer.spread / answer.tokens_per_s if answer.spread and answer.tokens_per_s else 0.0
    of_fit = (result.answer.steps.error or 0.0) if isinstance(result, TuneResult) else 0.0
    share = max(of_runs, of_fit)
    if share < _NOISE:
        return ""
    return f"The measurements differ by ±{100 * share:.0f} %, as on a busy machine: run it again when it is quiet."
