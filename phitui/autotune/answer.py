"""What a search knows so far, and the answer that it makes of it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from phitui.autotune.memory import FittedMemory, Measured, MemoryModel, Shape, fit
from phitui.autotune.probes import Goal, NothingFitsError, Verdict
from phitui.autotune.steptime import PrefillSample, PrefillTime, StepSample, StepTime, fit_prefill, fit_steps
from phitui.autotune.why import why

# How far below the limit a prediction has to stay: before anything was measured, from two points, and from more.
_PRIOR_SAFETY, _TWO_POINTS_SAFETY, _LEAST_SAFETY, _MOST_SAFETY = 0.10, 0.02, 0.005, 0.05
_FEW_ROWS = 16
# A size within 3 % of the best throughput is as good as the best; one within 8 % may be, by the noise of single runs.
_BEST, _CLOSE, MOST_CONTENDERS = 0.97, 0.92, 3
# Total lengths, in tokens, that the table has rows for.
LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)


@dataclass(frozen=True)
class LengthRow:
    """For rows of `total_tokens`, prompt and answer in the goal's proportion: the largest batch within the limit, the
    best one, and its throughput in output tokens/s. Predicted, but for the goal's own length: that is the answer."""

    total_tokens: int
    b_max: int
    b_best: int
    tokens_per_s: float


@dataclass(frozen=True)
class TuneAnswer:
    """The batch sizes for a goal.

    `b_max` is the largest that fits, `b_best` the smallest within 3 % of the best throughput, `b_slo` the largest that
    keeps the asked inter-token latency (None: not asked, or not even one row does). `kv_token_budget` is how many
    tokens of KV cache fit: b_max × tokens of a row. `tokens_per_s` is the output throughput of `b_best` with prefill,
    the mean of `measurements` runs whose standard deviation is `spread` (None: of fewer than two).
    """

    b_max: int
    b_best: int
    b_slo: int | None
    kv_token_budget: int
    tokens_per_s: float
    spread: float | None
    measurements: int
    limit_bytes: int
    why: str
    table: list[LengthRow]
    memory: FittedMemory
    steps: StepTime
    prefill: PrefillTime
    probes: list[Verdict]

    @property
    def sizes(self) -> tuple[int, int, int | None]:
        """The best, the largest, and the largest that keeps the latency."""
        return self.b_best, self.b_max, self.b_slo


@dataclass
class Knowledge:
    """All outcomes, and the fits to them."""

    goal: Goal
    model: MemoryModel
    rest_bytes: int
    limit_bytes: int
    verdicts: list[Verdict] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memory = FittedMemory(self.model, self.rest_bytes)

    def learn(self, verdict: Verdict) -> None:
        """Take in an outcome and fit anew."""
        self.verdicts.append(verdict)
        self.limit_bytes = verdict.outcome.limit_bytes
        measured = [
            Measured(one.probe.shape, one.outcome.peak_bytes)
            for one in self.verdicts
            if one.outcome.peak_bytes is not None and one.judged in ("ok", "over")
        ]
        self.memory = fit(self.model, self.rest_bytes, measured)

    @property
    def good(self) -> list[Verdict]:
        """The probes that ran within the limit, smallest batch first."""
        return sorted((one for one in self.verdicts if one.judged == "ok"), key=lambda one: one.probe.shape.batch)

    @property
    def largest_good(self) -> int:
        return max((one.probe.shape.batch for one in self.good), default=0)

    @property
    def smallest_bad(self) -> int | None:
        """The smallest batch that failed, of those above what is known to run."""
        sizes = [one.probe.shape.batch for one in self.verdicts if one.judged != "ok"]
        return min((size for size in sizes if size > self.largest_good), default=None)

    @property
    def last_failed(self) -> bool:
        """Whether the last probe ended in a way that the memory model did not foresee."""
        return bool(self.verdicts) and self.verdicts[-1].judged in ("oom", "failed", "slow")

    @property
    def searched(self) -> int:
        """How many probes the search has made; repetitions are none."""
        return sum(not one.probe.again for one in self.verdicts)

    @property
    def late(self) -> bool:
        """Whether the time is used up."""
        return sum(one.outcome.seconds for one in self.verdicts) >= self.goal.budget_s

    @property
    def spent(self) -> bool:
        """Whether probes or time are used up."""
        return self.searched >= self.goal.most_probes or self.late

    @property
    def safety(self) -> float:
        """The share of the limit that predictions keep away from it."""
        if self.memory.error is None:
            return _PRIOR_SAFETY
        if self.memory.points < 2:
            return _MOST_SAFETY
        # Of few rows each is a large share: there the fit does not reach far beyond what was measured.
        least = _TWO_POINTS_SAFETY if self.memory.points == 2 and self.largest_good > _FEW_ROWS else _LEAST_SAFETY
        return min(max(least, 2 * self.memory.error), _MOST_SAFETY)

    def largest(self, safety: float) -> int:
        """The largest batch of the goal's shape that is predicted to fit, `safety` below the limit."""
        return self.memory.largest(self.goal.shape(1), int(self.limit_bytes * (1 - safety)), self.goal.most)

    def probe_shape(self, batch: int, real_prompt: bool = False) -> Shape:
        """A short way to the goal's memory: a prompt nearly as long as the whole row and a few decode steps, as long as
        reading that prompt takes no more memory than the goal itself."""
        goal = self.goal
        steps = min(goal.decode_steps, goal.new_tokens)
        if real_prompt:
            return Shape(batch, goal.prompt_tokens, steps)
        deepest = goal.prompt_tokens + goal.new_tokens - steps
        whole = goal.shape(batch)
        within = self.model.peak(whole) - self.model.rotary(whole.total)
        return Shape(batch, max(goal.prompt_tokens, self.model.largest_prompt(batch, deepest, within)), steps)

    def expected_peak(self, shape: Shape) -> int:
        """What a run of this shape takes: the most that it took before, else by the fit."""
        ran = [one.outcome.peak_bytes for one in self.verdicts if one.probe.shape == shape and one.outcome.peak_bytes]
        return max(ran, default=self.memory.peak(shape))

    def goal_peak(self, shape: Shape, measured_bytes: int) -> float:
        """What the goal takes at this batch, from what a probe of it took."""
        more = self.model.peak(self.goal.shape(shape.batch)) - self.model.peak(shape)
        return measured_bytes + self.memory.scale * more

    def step_time(self) -> StepTime:
        """The fit of all steps within the limit."""
        return fit_steps(
            StepSample(one.probe.shape.batch, one.probe.shape.total - one.probe.shape.new / 2, one.outcome.step_s)
            for one in self.good
            if one.outcome.step_s
        )

    @property
    def steps(self) -> StepTime | None:
        """As `step_time`; None while nothing has run within the limit."""
        return self.step_time() if self.good else None

    def prefill_time(self) -> PrefillTime:
        samples = [
            PrefillSample(one.probe.shape.batch, one.probe.shape.prompt, one.outcome.prefill_s)
            for one in self.good
            if one.outcome.prefill_s
        ]
        return fit_prefill(samples) if samples else PrefillTime(0.0, 0.0, None)

    def rate(self, batch: int, step_s: float) -> float:
        """Output tokens per second of the goal's work at this batch, its prefill included."""
        prefill_s = self.prefill_time().seconds(batch, self.goal.prompt_tokens)
        return batch * self.goal.new_tokens / (prefill_s + self.goal.new_tokens * step_s)

    @property
    def mean_cached(self) -> float:
        """Tokens in a row's cache, in the mean over the goal's decode steps."""
        return self.goal.prompt_tokens + self.goal.new_tokens / 2

    def samples(self) -> dict[int, list[float]]:
        """The goal's throughput by batch size, once for each run: measured step times, carried to the goal's mean depth
        by the fit. Of a size that ran in several shapes the shape with the most runs, so that they can be compared."""
        steps = self.step_time()
        shapes: dict[int, dict[Shape, list[float]]] = {}
        for one in self.good:
            shape = one.probe.shape
            there = steps.step_s(shape.batch, shape.total - shape.new / 2)
            factor = steps.step_s(shape.batch, self.mean_cached) / there if there > 0 else 1.0
            rate = self.rate(shape.batch, (one.outcome.step_s or 0.0) * factor)
            shapes.setdefault(shape.batch, {}).setdefault(shape, []).append(rate)
        return {batch: max(each.values(), key=len) for batch, each in shapes.items()}

    def measured_rates(self) -> dict[int, float]:
        """The goal's throughput by batch size, in the mean of its runs."""
        return {batch: statistics.fmean(runs) for batch, runs in self.samples().items()}

    def contenders(self) -> list[int]:
        """The best size first, and up to two that noise alone may have put below or above it."""
        best, rates = self.best(_BEST), self.measured_rates()
        close = [size for size, rate in rates.items() if size <= self.b_max() and rate >= _CLOSE * max(rates.values())]
        ranked = sorted(close, key=lambda size: rates[size], reverse=True)
        return [best, *[size for size in ranked if size != best][: MOST_CONTENDERS - 1]]

    def knee(self, share: float) -> int:
        """The smallest size predicted to have `share` of the best throughput, in whole tiles above the first."""
        steps, top = self.step_time(), self.b_max()
        sizes: list[int] = sorted({*(size for size in (1, 2, 4, 8, 12) if size <= top), *range(16, top + 1, 16), top})
        predicted = {size: self.rate(size, steps.step_s(size, self.mean_cached)) for size in sizes}
        best = max(predicted.values())
        return min(size for size, rate in predicted.items() if rate >= share * best)

    def measured_near(self, batch: int, distance: int) -> bool:
        """Whether a size less than `distance` away has been measured."""
        return any(abs(one.probe.shape.batch - batch) < distance for one in self.verdicts)

    def best(self, share: float) -> int:
        """The smallest measured size within `share` of the best measured throughput, of those that fit. The largest
        that fits counts as well where it was not measured itself: then by the fit."""
        top = self.b_max()
        rates = {top: self.rate(top, self.step_time().step_s(top, self.mean_cached))}
        rates.update({size: rate for size, rate in self.measured_rates().items() if size <= top})
        return min(size for size, rate in rates.items() if rate >= share * max(rates.values()))

    def b_max(self) -> int:
        """The largest size that ran and still fits; where free memory has shrunk since, the largest predicted to.
        Raises NothingFitsError where it has shrunk so far that no row does."""
        fitting = [
            one.probe.shape.batch
            for one in self.good
            if self.goal_peak(one.probe.shape, one.outcome.peak_bytes or 0) <= self.limit_bytes
        ]
        if self.largest_good in fitting:
            return self.largest_good
        top = max([*fitting, min(self.largest(self.safety), self.largest_good)])
        if top < 1:
            raise nothing_fits(self, self.verdicts[-1] if self.verdicts else None)
        return top

    def answer(self) -> TuneAnswer:
        """The answer from what is known now."""
        steps, top, best = self.step_time(), self.b_max(), self.best(_BEST)
        runs = self.samples().get(best, [])
        rate = statistics.fmean(runs) if runs else self.rate(best, steps.step_s(best, self.mean_cached))
        return TuneAnswer(
            b_max=top,
            b_best=best,
            b_slo=self._slo(steps, top),
            kv_token_budget=top * self.goal.shape(1).total,
            tokens_per_s=rate,
            spread=statistics.stdev(runs) if len(runs) > 1 else None,
            measurements=len(runs),
            limit_bytes=self.limit_bytes,
            why=why(steps, self.mean_cached, best, top, self.goal.most),
            table=[*self._shorter(steps), LengthRow(self.goal.shape(1).total, top, best, rate)],
            memory=self.memory,
            steps=steps,
            prefill=self.prefill_time(),
            probes=self.verdicts,
        )

    def _slo(self, steps: StepTime, top: int) -> int | None:
        """The largest size whose 95th percentile of step times, at full depth, keeps the latency."""
        limit = self.goal.slo_itl_s
        if limit is None:
            return None
        ratios = [
            one.outcome.step_p95_s / one.outcome.step_s
            for one in self.good
            if one.outcome.step_p95_s and one.outcome.step_s
        ]
        tail = max(ratios, default=1.0)
        depth = float(self.goal.shape(1).total)
        kept = [size for size in range(1, top + 1) if steps.step_s(size, depth) * tail <= limit]
        return max(kept, default=None)

    def _shorter(self, steps: StepTime) -> list[LengthRow]:
        """Each length below the goal's, predicted: a longer one than was measured is not guessed."""
        goal, rows = self.goal, []
        total = goal.prompt_tokens + goal.new_tokens
        for length in (size for size in LENGTHS if size < total):
            prompt = max(1, round(length * goal.prompt_tokens / total))
            shape = Shape(1, prompt, max(1, length - prompt))
            top = self.memory.largest(shape, int(self.limit_bytes * (1 - self.safety)), goal.most)
            if top >= 1:
                rows.append(self._length_row(steps, shape, top))
        return rows

    def _length_row(self, steps: StepTime, shape: Shape, top: int) -> LengthRow:
        prefill, cached = self.prefill_time(), shape.prompt + shape.new / 2

        def rate(size: int) -> float:
            seconds = prefill.seconds(size, shape.prompt) + shape.new * steps.step_s(size, cached)
            return size * shape.new / seconds if seconds > 0 else 0.0

        best = max(rate(size) for size in range(1, top + 1))
        size = next(size for size in range(1, top + 1) if rate(size) >= _BEST * best)
        return LengthRow(shape.total, top, size, rate(size))


def nothing_fits(know: Knowledge, verdict: Verdict | None = None) -> NothingFitsError:
    """The error that says so, with what is needed and what may be used; `verdict` is the probe that showed it."""
    shape, limit = know.goal.shape(1), know.limit_bytes
    said = f" ({verdict.outcome.detail or verdict.judged})" if verdict else ""
    row = max(0, know.memory.peak(shape) - know.rest_bytes)
    return NothingFitsError(
        f"nothing fits, not even one row of {shape.total} tokens{said}: "
        f"the weights need {know.rest_bytes / 2**30:.2f} GiB, the row {row / 2**30:.2f} GiB more, "
        f"{limit / 2**30:.2f} GiB may be used",
        "Stop other programs that use the memory, raise the limit, or ask for shorter prompts and answers",
    )
