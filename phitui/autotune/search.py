"""The search for the best batch size, in a handful of probes.

It starts at the configured batch, measures one row beside it, and from the two knows memory and step time well enough
to jump close to the limit, then on to it. What it learns on the way tells where throughput stops growing; that place is
measured, too. Running out of memory is an answer like any other. It is pure: a generator that yields probes and is sent
outcomes.
"""

from __future__ import annotations

from collections.abc import Generator

from phitui.autotune.answer import MOST_CONTENDERS, Knowledge, TuneAnswer, nothing_fits
from phitui.autotune.probes import Goal, Outcome, Probe, Verdict

Search = Generator[Probe, Outcome, TuneAnswer]
_Step = Generator[Probe, Outcome, Verdict]
_Steps = Generator[Probe, Outcome, None]

# int8 products are padded to multiples of 16 rows, and cards work on tiles of 16 and more.
TILE = 16
# The first jump goes this far towards what the fit of small batches promises.
_FIRST_JUMP = 0.9
# The fit is trusted to the limit when it has been measured to a third of it.
_TRUSTED_REACH = 3.0
_MOST_BISECTIONS = 4
# A size within 3 % of the best throughput is as good as the best.
GOOD_ENOUGH = 0.97
# Rows that cost so much more than fewer ones did: memory has gone elsewhere (Windows spills it silently).
_SPILLED = 0.8


def explore(know: Knowledge) -> Search:
    """Find the batch sizes for `know.goal`: yields a Probe, takes its Outcome, returns the answer; `know` can be looked
    at on the way. Raises NothingFitsError where one row does not fit."""
    yield from _start(know)
    yield from _climb(know)
    yield from _knee(know)
    yield from _length(know)
    yield from _neighbours(know)
    return know.answer()


def confirm(know: Knowledge) -> Search:
    """Run the sizes that the answer hangs on again, in turn, so that a drift of the machine meets all of them. Their
    means decide then, and the answer has the spread. One that the limit leaves no room for any more is not run."""
    sizes = know.contenders()
    for _ in range(know.goal.repeats):
        for size in sizes:
            yield from _repeat(know, size)
    for _ in sizes if know.goal.repeats else []:  # the others may have fallen behind one that ran less often
        best = know.best(GOOD_ENOUGH)
        for _ in range(know.goal.repeats + 1 - len(know.samples().get(best, []))):
            yield from _repeat(know, best)
    return know.answer()


def most_repetitions(goal: Goal) -> int:
    """How many probes `confirm` makes at most: each contender's, and those of sizes that become the best by them."""
    return MOST_CONTENDERS * (2 * goal.repeats + 1) if goal.repeats else 0


def _repeat(know: Knowledge, size: int) -> _Steps:
    """Once more, as far as time and the limit allow."""
    if not know.late and know.expected_peak(know.probe_shape(size)) <= know.limit_bytes:
        yield from _ask(know, size, "again, for the noise", again=True)


def run_again(know: Knowledge, batch: int) -> _Steps:
    """One repetition of this size: to compare configurations in turn."""
    yield from _ask(know, batch, "again, to compare", again=True)


def try_sizes(know: Knowledge, batches: list[int]) -> _Steps:
    """Measure these sizes alone, or the largest that fits where one does not: to compare configurations. Raises
    NothingFitsError where not one row does."""
    tried: set[int] = set()
    for batch in batches:
        if know.largest(safety=0.0) < 1:
            raise nothing_fits(know)
        size = min(batch, max(1, know.largest(know.safety)))
        if size not in tried and not know.spent:
            tried.add(size)
            yield from _ask(know, size, "to compare")


def _ask(know: Knowledge, batch: int, why: str, real_prompt: bool = False, again: bool = False) -> _Step:
    """One probe, judged and learned from."""
    shape = know.probe_shape(batch, real_prompt)
    predicted = know.memory.peak(shape)
    probe = Probe(shape, why, predicted, again)
    outcome = yield probe
    verdict = Verdict(probe, outcome, predicted, _judge(know, probe, outcome))
    know.learn(verdict)
    return verdict


def _judge(know: Knowledge, probe: Probe, outcome: Outcome) -> str:
    if outcome.kind != "ok" or outcome.peak_bytes is None or outcome.step_s is None:
        return outcome.kind if outcome.kind != "ok" else "failed"
    if know.goal_peak(probe.shape, outcome.peak_bytes) > outcome.limit_bytes:
        return "over"
    smaller = [
        one.probe.shape.batch / (one.outcome.step_s or 1.0)
        for one in know.good
        # Of rows at least as deep: shorter ones are faster for another reason.
        if one.probe.shape.batch < probe.shape.batch and one.probe.shape.total >= probe.shape.total
    ]
    if know.goal.spills and smaller and probe.shape.batch / outcome.step_s < _SPILLED * max(smaller):
        return "slow"
    return "ok"


def _start(know: Knowledge) -> _Steps:
    """The configured batch, or what the prior allows; then one row."""
    if know.largest(safety=0.0) < 1:
        raise nothing_fits(know)
    batch = max(1, min(know.goal.start, know.goal.most, know.largest(know.safety)))
    while not know.spent:
        verdict = yield from _ask(know, batch, "start")
        if verdict.judged == "ok":
            break
        if batch == 1:
            raise nothing_fits(know, verdict)
        batch = max(1, min(batch // 2, know.largest(know.safety)))
        if know.searched == know.goal.most_probes - 1:  # the last one tells whether anything fits
            batch = 1
    if not know.good:
        raise nothing_fits(know, know.verdicts[-1] if know.verdicts else None)
    if batch > 2 and not know.spent:
        yield from _ask(know, 1, "one row")


def _climb(know: Knowledge) -> _Steps:
    """Up to the limit, whatever that gains: B_max is asked for, and it is told by measuring alone. A size that fails
    bounds what is tried after it."""
    bisections = 0
    while not know.spent and bisections <= _MOST_BISECTIONS:
        reached, top = know.largest_good, min(know.largest(know.safety), know.goal.most)
        if know.smallest_bad is not None:
            top = min(top, know.smallest_bad - 1)
            bisections += 1
            # The fit has been wrong about it: the middle is the better guess.
            if know.last_failed or bisections > 1:
                top = min(top, (reached + know.smallest_bad) // 2)
        elif top > _TRUSTED_REACH * reached:
            top = round_down(reached + int(_FIRST_JUMP * (top - reached)), reached)
        if top - reached < step(reached):
            return
        yield from _ask(know, top, "towards the limit" if know.smallest_bad is None else "below what failed")


def _knee(know: Knowledge) -> _Steps:
    """The smallest size that is as fast as the best one, measured: the fit only says where to look."""
    for _ in range(2):
        batch = know.knee(GOOD_ENOUGH)
        if know.spent or know.measured_near(batch, step(batch)):
            break
        yield from _ask(know, batch, "where throughput levels off")
    # Rows are padded to whole tiles: a size just above one can be slower than the tile below it.
    best, top = know.best(GOOD_ENOUGH), know.b_max()
    whole = best - best % TILE if top >= 3 * TILE else top - top % TILE
    if whole and not know.spent and not know.measured_near(whole, 1):
        yield from _ask(know, whole, "the whole tiles below")


def _length(know: Knowledge) -> _Steps:
    """The real prompt at the best size, not at full depth: how step time grows with length, and the real prefill."""
    goal = know.goal
    shallow = goal.prompt_tokens + goal.decode_steps
    if know.spent or 1.5 * shallow > goal.prompt_tokens + goal.new_tokens:
        return
    yield from _ask(know, know.best(GOOD_ENOUGH), "the real prompt", real_prompt=True)


def _neighbours(know: Knowledge) -> _Steps:
    """Sizes between the best and the next measured ones, for step times are smooth in the model alone: whole tiles, and
    not only powers of two."""
    for _ in range(2):
        best = know.best(GOOD_ENOUGH)
        sizes = [one.probe.shape.batch for one in know.good]
        below = max((size for size in sizes if size < best), default=best)
        above = min((size for size in sizes if size > best), default=best)
        wider_first = sorted([(below, best), (best, above)], key=lambda gap: gap[1] / gap[0], reverse=True)
        size = next((found for gap in wider_first if (found := _between(know, *gap)) is not None), None)
        if size is None or know.spent or know.searched >= know.goal.neighbour_probes:
            return
        yield from _ask(know, size, "a neighbour of the best")


def _between(know: Knowledge, low: int, high: int) -> int | None:
    """A size half-way between two measured ones; None where that is no distance from them."""
    if high - low < 2 * step(high):
        return None
    middle = (low + high) // 2
    tiles = middle - middle % TILE
    size = tiles if low < tiles else middle
    if size & (size - 1) == 0 and size + TILE < high:
        size += TILE
    return None if know.measured_near(size, step(size)) else size


def step(batch: int) -> int:
    """Sizes closer than this are taken for the same: a tile, or 3 % where the sizes are small."""
    return TILE if batch >= 3 * TILE else max(1, round(0.03 * batch))


def round_down(batch: int, above: int) -> int:
    """`batch`, or the whole tiles in it where those are more than `above`."""
    tiles = batch - batch % TILE
    return tiles if tiles > above and batch >= 2 * TILE else batch
