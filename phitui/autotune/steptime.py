"""The time of a decode step and of a prefill against batch and length, fitted to what probes measure.

A step reads all weights once (`fixed_s`), does some work for each row (`row_s`), and reads each row's KV cache
(`token_s` for each cached token of each row):

    step = fixed_s + row_s × batch + token_s × batch × cached tokens

All three are at least 0. It is near to linear in the batch on cards as on CPUs, which is why throughput levels off:
batch / step tends to 1 / (row_s + token_s × cached).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

_TINY = 1e-12


class StepSample(NamedTuple):
    """Decode steps of `batch` rows with `cached` tokens each (the mean over the steps) took `step_s` (the median)."""

    batch: int
    cached: float
    step_s: float


class PrefillSample(NamedTuple):
    """Reading `batch` prompts of `prompt` tokens took `seconds`."""

    batch: int
    prompt: int
    seconds: float


@dataclass(frozen=True)
class StepTime:
    """The fitted model. `error` is the root mean square of the relative deviations, None without a sample."""

    fixed_s: float
    row_s: float
    token_s: float
    error: float | None

    def step_s(self, batch: float, cached: float) -> float:
        """Seconds of one decode step."""
        return self.fixed_s + batch * (self.row_s + self.token_s * cached)

    def decode_rate(self, batch: float, cached: float) -> float:
        """Tokens per second of all rows together while they decode."""
        step = self.step_s(batch, cached)
        return batch / step if step > 0 else 0.0


@dataclass(frozen=True)
class PrefillTime:
    """prefill = `call_s` + `token_s` × batch × prompt."""

    call_s: float
    token_s: float
    error: float | None

    def seconds(self, batch: int, prompt: int) -> float:
        """Seconds until the prompts are read."""
        return self.call_s + self.token_s * batch * prompt


def fit_steps(samples: Iterable[StepSample]) -> StepTime:
    """Least squares of the relative errors. Samples of one batch size alone give a time that grows with the batch only
    as far as they tell: nothing is read into them. Raises ValueError without a sample."""
    known = list(samples)
    rows = [(1.0, float(one.batch), one.batch * one.cached) for one in known]
    # Without samples of different depth the cost of the cache is in the cost of a row.
    columns = 3 if _spread([one.cached for one in known]) else 2
    fixed, row, *token = nonnegative_least_squares([one[:columns] for one in rows], [one.step_s for one in known])
    made = StepTime(fixed, row, token[0] if token else 0.0, None)
    deviations = [made.step_s(one.batch, one.cached) / one.step_s - 1 for one in known]
    return StepTime(made.fixed_s, made.row_s, made.token_s, _rms(deviations))


def fit_prefill(samples: Iterable[PrefillSample]) -> PrefillTime:
    """As `fit_steps`, for the prompts. Raises ValueError without a sample."""
    known = list(samples)
    rows = [(1.0, float(one.batch * one.prompt)) for one in known]
    call, token = nonnegative_least_squares(rows, [one.seconds for one in known])
    made = PrefillTime(call, token, None)
    deviations = [made.seconds(one.batch, one.prompt) / one.seconds - 1 for one in known]
    return PrefillTime(call, token, _rms(deviations))


def nonnegative_least_squares(rows: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """The x ≥ 0 with the smallest sum of squared relative errors of rows · x against `values` (> 0).

    Tries every set of columns that may be above 0: there are at most seven. Of equal ones the set with the later
    columns wins, so that with one sample alone time grows with the batch. Raises ValueError without rows.
    """
    if not rows:
        raise ValueError("nothing was measured")
    width = len(rows[0])
    scaled = [[entry / value for entry in row] for row, value in zip(rows, values, strict=True)]
    best, best_error = [0.0] * width, float("inf")
    for size in range(width, 0, -1):
        for columns in reversed(list(combinations(range(width), size))):
            part = _solve([[row[column] for column in columns] for row in scaled])
            if part is None or min(part) < 0:
                continue
            full = [0.0] * width
            for column, value in zip(columns, part, strict=True):
                full[column] = value
            error = sum((sum(a * x for a, x in zip(row, full, strict=True)) - 1) ** 2 for row in scaled)
            if error < best_error - _TINY:
                best, best_error = full, error
    return best


def _solve(rows: list[list[float]]) -> list[float] | None:
    """x with the least sum of (row · x − 1)², by the normal equations; None where they have no single solution."""
    width = len(rows[0])
    sizes = [max(abs(row[i]) for row in rows) or 1.0 for i in range(width)]
    rows = [[entry / size for entry, size in zip(row, sizes, strict=True)] for row in rows]
    table = [
        [sum(row[i] * row[j] for row in rows) for j in range(width)] + [sum(row[i] for row in rows)]
        for i in range(width)
    ]
    for i in range(width):
        pivot = max(range(i, width), key=lambda k: abs(table[k][i]))
        table[i], table[pivot] = table[pivot], table[i]
        if abs(table[i][i]) < 1e-9 * len(rows):
            return None
        for k in range(width):
            if k != i:
                factor = table[k][i] / table[i][i]
                table[k] = [a - factor * b for a, b in zip(table[k], table[i], strict=True)]
    return [table[i][width] / table[i][i] / sizes[i] for i in range(width)]


def _spread(values: list[float]) -> bool:
    return max(values, default=0.0) > 1.5 * min(values, default=0.0) + 1


def _rms(deviations: list[float]) -> float:
    return float((sum(d * d for d in deviations) / len(deviations)) ** 0.5)
