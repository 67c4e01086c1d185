"""Two results of a bench side by side: ratios, whether they are more than noise, and what else differs. Pure.

The rule: the runs of a batch size are samples. Of the logarithms of their figures Welch's t-test gives a 95 %
confidence interval of the ratio of the (geometric) means. A difference is beyond the noise where that interval does not
hold 1 and the ratio is 3 % or more away from it: the runs of one start are more alike than those of two starts.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

from phitui.core.errors import UsageError
from phitui.workbench.bench.result import BatchResult, BenchResult

WORTH = 0.03
# A load average above this share of the CPUs is a busy machine, as in engine.threads.
_BUSY = 0.5
# Two-sided 95 % quantiles of Student's t by degrees of freedom, from 1 on; rounded up beyond 30 (NIST/SEMATECH
# e-Handbook of Statistical Methods, 1.3.6.7.2).
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
# Figures of a run, their names for a person, and whether more is better.
METRICS = {
    "output_tokens_per_s": ("output/s", True),
    "decode_tokens_per_s": ("decode/s", True),
    "ttft_ms": ("TTFT ms", False),
    "tpot_ms": ("TPOT ms", False),
    "itl_p95_ms": ("ITL p95 ms", False),
    "joules_per_token": ("J/tok", False),
}
Verdict = Literal["better", "worse", "noise", "unknown"]


class Difference(msgspec.Struct, frozen=True):
    """One figure at one batch size. `old` and `new` are geometric means over `n_old` and `n_new` runs, `ratio` is new
    over old, `low` and `high` bound it with 95 % confidence (None: fewer than two runs)."""

    batch: int
    metric: str
    old: float
    new: float
    ratio: float
    low: float | None
    high: float | None
    n_old: int
    n_new: int
    verdict: Verdict


class Comparison(msgspec.Struct, frozen=True):
    """`warnings`: what differs beside the figures, or speaks against them."""

    old_date: str
    new_date: str
    warnings: list[str]
    differences: list[Difference]


def compare(old: BenchResult, new: BenchResult) -> Comparison:
    """Side by side, by the batch sizes that both have. Raises UsageError where there is none."""
    before = {one.batch: one for one in old.results if one.runs}
    pairs = [(before[one.batch], one) for one in new.results if one.runs and one.batch in before]
    if not pairs:
        raise UsageError("the results have no batch size in common", "Run both with the same --batch-sizes")
    differences = [found for pair in pairs for name in METRICS if (found := _difference(*pair, name)) is not None]
    return Comparison(old.date, new.date, warnings(old, new), differences)


def _difference(old: BatchResult, new: BatchResult, name: str) -> Difference | None:
    values = [[value for run in one.runs if (value := getattr(run, name)) is not None] for one in (old, new)]
    if not all(values):
        return None
    first, second = ([math.log(value) for value in each] for each in values)
    shift = statistics.fmean(second) - statistics.fmean(first)
    half = half_width(first, second)
    return Difference(
        batch=new.batch,
        metric=name,
        old=_six(math.exp(statistics.fmean(first))),
        new=_six(math.exp(statistics.fmean(second))),
        ratio=_six(math.exp(shift)),
        low=None if half is None else _six(math.exp(shift - half)),
        high=None if half is None else _six(math.exp(shift + half)),
        n_old=len(first),
        n_new=len(second),
        verdict=_verdict(shift, half, METRICS[name][1]),
    )


def half_width(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Half the 95 % confidence interval of the difference of two means (Welch 1947, "The generalization of Student's
    problem when several different population variances are involved"); None with fewer than two values in one."""
    if min(len(first), len(second)) < 2:
        return None
    parts = [statistics.variance(each) / len(each) for each in (first, second)]
    if sum(parts) == 0:
        return 0.0
    squares = sum(part**2 / (len(each) - 1) for part, each in zip(parts, (first, second), strict=True))
    freedom = max(1, math.floor(sum(parts) ** 2 / squares)) if squares > 0 else 1
    return _T95[min(freedom, len(_T95)) - 1] * math.sqrt(sum(parts))


def _verdict(shift: float, half: float | None, more_is_better: bool) -> Verdict:
    if half is None:
        return "unknown"
    if abs(shift) <= half or abs(math.expm1(shift)) < WORTH:
        return "noise"
    return "better" if (shift > 0) is more_is_better else "worse"


def warnings(old: BenchResult, new: BenchResult) -> list[str]:
    """What differs between the two beside the figures, and what speaks against either. Values are as they stand in the
    files."""
    pairs = {
        "the model's weights": (
            f"{old.model.name} {old.model.sha256[:12]}",
            f"{new.model.name} {new.model.sha256[:12]}",
        ),
        "the device": (_device(old), _device(new)),
        "the driver": (old.device.driver or "none", new.device.driver or "none"),
        "the CPUs": (str(old.device.cpus), str(new.device.cpus)),
        "workers": (str(old.config.workers), str(new.config.workers)),
        "threads": (str(old.config.threads), str(new.config.threads)),
        "the compute type": (old.config.compute_type, new.config.compute_type),
        "prompt tokens": (str(old.workload.prompt_tokens), str(new.workload.prompt_tokens)),
        "answer tokens": (str(old.workload.max_tokens), str(new.workload.max_tokens)),
        **{
            f"the version of {name}": (old.versions.get(name, "none"), new.versions.get(name, "none"))
            for name in sorted(old.versions.keys() | new.versions.keys())
        },
    }
    said = [f"{name}: {first} before, {second} now" for name, (first, second) in pairs.items() if first != second]
    return said + _against("the old result", old) + _against("the new result", new)


def _device(result: BenchResult) -> str:
    return f"{result.device.name} {result.device.uuid or ''}".strip()


def _against(which: str, result: BenchResult) -> list[str]:
    said = []
    load = result.conditions.load1_begin
    if load is not None and load > _BUSY * result.device.cpus:
        said.append(f"{which} was begun on a busy machine: load average {load:g} on {result.device.cpus} CPUs")
    if result.interrupted:
        said.append(f"{which} was interrupted")
    return said


def _six(value: float) -> float:
    return float(f"{value:.6g}")
