"""The search for how many requests to send to a server at once, in a handful of probes.

It begins with one request and with the configured number, doubles, and stops where the server lets requests wait, its
KV cache is nearly full, it refuses some, or throughput has stopped growing. What failed is bisected, the place where
throughput levels off is measured, and what decides runs again. Pure: a generator that yields probes and is sent
outcomes, as `phitui.autotune.search` is for the engine's own memory.
"""

from __future__ import annotations

import statistics
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from phitui.autotune.search import GOOD_ENOUGH
from phitui.autotune.steptime import StepSample, fit_steps, nonnegative_least_squares
from phitui.core.errors import PhituiError

Bound = Literal["waiting", "kv", "failed", "throughput", "most"]
_MOST_BISECTIONS = 4
_MOST_CONTENDERS = 3
_CLOSE = 0.92


@dataclass(frozen=True)
class ServerGoal:
    """Prompts of `prompt_tokens`, answers of `new_tokens`. `start` and `most` are requests at once; `kv_limit` is how
    full the KV cache may be (share); `slo_itl_s` the latency that 95 % of the gaps are to keep, None for none. The
    search makes at most `most_probes`, and repeats what decides `repeats` times."""

    prompt_tokens: int
    new_tokens: int
    start: int = 8
    most: int = 512
    kv_limit: float = 0.95
    slo_itl_s: float | None = None
    most_probes: int = 12
    repeats: int = 2


class ServerProbe(NamedTuple):
    """So many requests at once, what for, and the output tokens/s that the fit of earlier probes predicts (None: of
    fewer than two there is no fit)."""

    concurrency: int
    why: str
    predicted_rate: float | None = None
    again: bool = False

    @property
    def size(self) -> int:
        """Requests at once."""
        return self.concurrency


@dataclass(frozen=True)
class ServerOutcome:
    """What a probe gave. `rate` is in output tokens/s with the prefill, `seconds` from the first request to the last
    token, `step_s` the mean time per token after the first, `gap_p95_s` the 95th percentile of the gaps between pieces.
    `waiting` requests and `kv_use` (share) are the most that was seen, None where nothing tells. Of a "failed" one only
    `detail` is there."""

    kind: Literal["ok", "failed"]
    rate: float = 0.0
    seconds: float = 0.0
    step_s: float | None = None
    gap_p95_s: float | None = None
    ttft_s: float | None = None
    waiting: int | None = None
    kv_use: float | None = None
    detail: str = ""


class ServerVerdict(NamedTuple):
    """A probe, its outcome, and how it was judged: "ok", "waiting", "kv" or "failed"."""

    probe: ServerProbe
    outcome: ServerOutcome
    judged: str

    @property
    def rate(self) -> float | None:
        """Output tokens/s, prefill included; None where a request failed."""
        return self.outcome.rate if self.outcome.kind == "ok" else None


@dataclass(frozen=True)
class ServerTuneAnswer:
    """`c_max` is the largest number of requests at once that none waits at and the KV cache has room for, `bound` what
    ended the search there; `c_best` the smallest within 3 % of the best throughput; `c_slo` the largest that keeps the
    asked latency (None: not asked, or not even one request does). `tokens_per_s` is `c_best`'s, the mean of
    `measurements` runs with their standard deviation `spread`."""

    c_max: int
    c_best: int
    c_slo: int | None
    bound: Bound
    tokens_per_s: float
    spread: float | None
    measurements: int
    why: str
    fixed_s: float
    request_s: float
    probes: list[ServerVerdict]

    @property
    def sizes(self) -> tuple[int, int, int | None]:
        """The best, the largest, and the largest that keeps the latency."""
        return self.c_best, self.c_max, self.c_slo


class ServerFit(NamedTuple):
    """n requests at once take `fixed_s` + n × `request_s`, and bring n × `tokens_each` output tokens."""

    fixed_s: float
    request_s: float
    tokens_each: float

    def rate(self, size: float) -> float:
        """Output tokens/s of so many requests at once."""
        seconds = self.fixed_s + size * self.request_s
        return size * self.tokens_each / seconds if seconds > 0 else 0.0


ServerSearch = Generator[ServerProbe, ServerOutcome, ServerTuneAnswer]
_Step = Generator[ServerProbe, ServerOutcome, ServerVerdict]
_Steps = Generator[ServerProbe, ServerOutcome, None]


@dataclass
class ServerKnowledge:
    """All outcomes, and the fit to them: n requests at once take `fixed_s` + n × `request_s`."""

    goal: ServerGoal
    verdicts: list[ServerVerdict] = field(default_factory=list)
    bound: Bound = "most"
    fixed_s: float = 0.0
    request_s: float = 0.0

    def learn(self, verdict: ServerVerdict) -> None:
        self.verdicts.append(verdict)
        known = self.fitted
        if known:
            rows = [(1.0, float(one.probe.concurrency)) for one in known]
            fixed, each = nonnegative_least_squares(rows, [one.outcome.seconds for one in known])
            self.fixed_s, self.request_s = fixed, each

    @property
    def fitted(self) -> list[ServerVerdict]:
        """What the fit is to: requests that wait run after the others, so probes in which some did are only taken while
        fewer than two sizes went well."""
        if len({one.probe.concurrency for one in self.good}) > 1:
            return self.good
        return [one for one in self.verdicts if one.outcome.kind == "ok"]

    @property
    def fit(self) -> ServerFit | None:
        """The fit, the tokens of a request as they were measured; None while fewer than two sizes are."""
        known = {one.probe.concurrency for one in self.fitted}
        return ServerFit(self.fixed_s, self.request_s, self.tokens_each) if len(known) > 1 else None

    def predicted(self, size: int) -> float | None:
        """Output tokens/s of so many requests at once, by the fit."""
        return (self.fit.rate(size) or None) if self.fit is not None else None

    @property
    def knee(self) -> int | None:
        """The smallest size up to c_max that the fit has within 3 % of the best of them; None without a fit."""
        fit = self.fit
        if fit is None or not self.c_max:
            return None
        rates = {size: fit.rate(size) for size in range(1, self.c_max + 1)}
        return min(size for size, rate in rates.items() if rate >= GOOD_ENOUGH * max(rates.values()))

    @property
    def tokens_each(self) -> float:
        """Tokens of an answer, in the mean over the probes: a server may end answers before they are that long."""
        return statistics.fmean(
            one.outcome.rate * one.outcome.seconds / one.probe.concurrency
            for one in self.verdicts
            if one.outcome.kind == "ok"
        )

    @property
    def good(self) -> list[ServerVerdict]:
        return [one for one in self.verdicts if one.judged == "ok"]

    @property
    def c_max(self) -> int:
        return max((one.probe.concurrency for one in self.good), default=0)

    @property
    def smallest_bad(self) -> ServerVerdict | None:
        bad = [one for one in self.verdicts if one.judged != "ok" and one.probe.concurrency > self.c_max]
        return min(bad, key=lambda one: one.probe.concurrency, default=None)

    @property
    def spent(self) -> bool:
        return sum(not one.probe.again for one in self.verdicts) >= self.goal.most_probes

    def samples(self) -> dict[int, list[float]]:
        """Throughputs by requests at once, of the sizes that went well."""
        found: dict[int, list[float]] = {}
        for one in self.verdicts:
            if one.outcome.kind != "ok" or one.probe.concurrency > self.c_max:
                continue
            found.setdefault(one.probe.concurrency, []).append(one.outcome.rate)
        return found

    def rates(self) -> dict[int, float]:
        return {size: statistics.fmean(runs) for size, runs in self.samples().items()}

    def best(self) -> int:
        """The smallest measured size within 3 % of the best."""
        rates = self.rates()
        return min(size for size, rate in rates.items() if rate >= GOOD_ENOUGH * max(rates.values()))

    def contenders(self) -> list[int]:
        """The best, and up to two that noise alone may have put below or above it."""
        rates, best = self.rates(), self.best()
        close = sorted(
            (size for size, rate in rates.items() if rate >= _CLOSE * max(rates.values())), key=rates.__getitem__
        )
        return [best, *[size for size in reversed(close) if size != best][: _MOST_CONTENDERS - 1]]

    def slo(self) -> int | None:
        """The largest size up to c_max whose gaps keep the latency, by the fit of the step times and the worst ratio of
        95th percentile to mean that was measured."""
        limit = self.goal.slo_itl_s
        known = [one for one in self.good if one.outcome.step_s and one.outcome.gap_p95_s is not None]
        if limit is None or not known:
            return None
        steps = fit_steps(StepSample(one.probe.concurrency, 0.0, one.outcome.step_s or 0.0) for one in known)
        tail = max(max(1.0, (one.outcome.gap_p95_s or 0.0) / (one.outcome.step_s or 1.0)) for one in known)
        return max((size for size in range(1, self.c_max + 1) if steps.step_s(size, 0.0) * tail <= limit), default=None)

    def answer(self) -> ServerTuneAnswer:
        best = self.best()
        runs = self.samples()[best]
        return ServerTuneAnswer(
            c_max=self.c_max,
            c_best=best,
            c_slo=self.slo(),
            bound=self.bound,
            tokens_per_s=statistics.fmean(runs),
            spread=statistics.stdev(runs) if len(runs) > 1 else None,
            measurements=len(runs),
            why=why(self, best),
            fixed_s=self.fixed_s,
            request_s=self.request_s,
            probes=self.verdicts,
        )


def explore_server(know: ServerKnowledge) -> ServerSearch:
    """Find the numbers for the goal; what is known on the way is in `know`. Raises PhituiError where not even one
    request is answered."""
    goal = know.goal
    first = yield from _ask(know, 1, "one request")
    if first.judged == "failed":
        raise PhituiError(f"not even one request is answered: {first.outcome.detail}")
    if first.judged != "ok":  # somebody else's load: one is the least that there is
        know.verdicts[0] = first._replace(judged="ok")
    yield from _climb(know)
    yield from _bisect(know)
    yield from _knee(know)
    sizes = know.contenders()
    for _ in range(goal.repeats):
        for size in sizes:
            yield from _ask(know, size, "again, for the noise", again=True)
    while goal.repeats and len(know.samples()[know.best()]) < 2:  # the others fell behind one that was run once
        yield from _ask(know, know.best(), "again, for the noise", again=True)
    return know.answer()


def most_repetitions(goal: ServerGoal, sizes: int) -> int:
    """How many repetitions there are at most where so many sizes have run: the contenders', and one of each other size
    that comes to be the best by them."""
    contenders = min(sizes, _MOST_CONTENDERS)
    return contenders * goal.repeats + sizes - contenders if goal.repeats else 0


def _ask(know: ServerKnowledge, size: int, purpose: str, again: bool = False) -> _Step:
    probe = ServerProbe(size, purpose, know.predicted(size) if know.verdicts else None, again)
    outcome = yield probe
    verdict = ServerVerdict(probe, outcome, _judge(know.goal, outcome))
    know.learn(verdict)
    return verdict


def _judge(goal: ServerGoal, outcome: ServerOutcome) -> str:
    if outcome.kind != "ok":
        return "failed"
    if outcome.kv_use is not None and outcome.kv_use > goal.kv_limit:
        return "kv"
    return "waiting" if outcome.waiting else "ok"


def _climb(know: ServerKnowledge) -> _Steps:
    """Double until something ends it."""
    size = max(2, know.goal.start)
    while not know.spent and size <= know.goal.most:
        before = max(know.rates().values())
        verdict = yield from _ask(know, size, "start" if size == max(2, know.goal.start) else "twice as many")
        if verdict.judged != "ok":
            know.bound = verdict.judged  # type: ignore[assignment]
            return
        if verdict.outcome.rate < before / GOOD_ENOUGH and size > know.goal.start:
            know.bound = "throughput"
            return
        size = min(2 * size, know.goal.most) if size < know.goal.most else know.goal.most + 1


def _bisect(know: ServerKnowledge) -> _Steps:
    """Between the largest that went well and the smallest that did not."""
    for _ in range(_MOST_BISECTIONS):
        bad, good = know.smallest_bad, know.c_max
        if know.spent or bad is None or bad.probe.concurrency - good < _distance(bad.probe.concurrency):
            return
        know.bound = bad.judged  # type: ignore[assignment]
        yield from _ask(know, (good + bad.probe.concurrency) // 2, "below what failed")
    if know.smallest_bad is not None:
        know.bound = know.smallest_bad.judged  # type: ignore[assignment]


def _distance(size: int) -> int:
    """Sizes closer than this are the same: one request, or 6 % where there are many."""
    return max(2, round(0.06 * size))


def _knee(know: ServerKnowledge) -> _Steps:
    """The smallest size that the fit has within 3 % of the best, measured; and one between the best and the next
    smaller one, since step times are smooth in the fit alone."""
    for _ in range(2):
        knee = know.knee or 1
        if know.spent or any(abs(size - knee) < _distance(knee) for size in know.rates()):
            break
        yield from _ask(know, knee, "where throughput levels off")
    best = know.best()
    below = max((size for size in know.rates() if size < best), default=best)
    if not know.spent and best - below >= 2 * _distance(best):
        yield from _ask(know, (below + best) // 2, "a neighbour of the best")


def why(know: ServerKnowledge, best: int) -> str:
    """What bounds it, with the figures that say so."""
    seconds = know.fixed_s + best * know.request_s
    share = f"{know.fixed_s / seconds:.0%} of its time does not depend on their number" if seconds > 0 else "no fit"
    bad = know.smallest_bad
    if know.bound == "throughput" or bad is None:
        largest = max(know.rates())
        more = know.rates()[largest] / know.rates()[best] - 1
        if largest == best:
            return f"throughput still grows at {best} requests, the most that were tried ({share})"
        return f"throughput has stopped growing: {largest} requests bring {more:+.0%} over {best} ({share})"
    at = bad.probe.concurrency
    reasons = {
        "waiting": f"the server lets {bad.outcome.waiting} of {at} requests wait",
        "kv": f"the KV cache is {bad.outcome.kv_use or 0:.0%} full at {at} requests",
        "failed": f"at {at} requests: {bad.outcome.detail}",
    }
    return f"{know.c_max} requests at once go well; {reasons[bad.judged]} ({share} at {best})"
