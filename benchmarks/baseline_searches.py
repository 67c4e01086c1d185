"""The searches that phitui's is compared with, and whole runs of one configuration within a limit."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from phitui.autotune.memory import Shape
from phitui.autotune.probes import Goal
from phitui.engine.protocol.api import Probed
from phitui.workbench.measure.probing import ProbingEngine


class Found(NamedTuple):
    """A search's batch, what it took, and how many of its runs went above the limit."""

    batch: int
    runs: int
    seconds: float
    over: int


class Bench:
    """One engine in one configuration with a limit. A run is a whole one: all rows, all tokens of the goal."""

    def __init__(self, engine: ProbingEngine, goal: Goal, limit_bytes: int) -> None:
        self._engine, self.goal, self.limit = engine, goal, limit_bytes
        self.runs: list[Probed] = []

    async def run(self, batch: int, shape: Shape | None = None) -> Probed:
        made = await self._engine.probe(shape or self.goal.shape(batch), self.limit)
        self.runs.append(made)
        return made

    async def fits(self, batch: int) -> bool:
        made = await self.run(batch)
        return made.kind == "ok" and (made.peak_bytes or 0) <= self.limit

    async def timed(self, search: Callable[[Bench], Awaitable[int]]) -> Found:
        before, begun = len(self.runs), time.perf_counter()
        batch = await search(self)
        mine = self.runs[before:]
        over = sum(one.kind != "ok" or (one.peak_bytes or 0) > self.limit for one in mine)
        return Found(batch, len(mine), round(time.perf_counter() - begun, 2), over)


async def doubling_and_bisection(bench: Bench) -> int:
    """×2 from 2 until it fails, then bisect between the last that ran and the first that did not."""
    good, bad = 0, 2
    while await bench.fits(bad):
        good, bad = bad, 2 * bad
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if await bench.fits(middle) else (good, middle)
    return good


async def descent(bench: Bench) -> int:
    """×0.9 from 512 until it runs."""
    batch = 512
    while not await bench.fits(batch):
        batch = int(batch * 0.9)
    return batch


async def sweep(bench: Bench, step: int, also: Iterable[int] = ()) -> tuple[int, dict[int, float]]:
    """Every `step`-th size, and those of `also`, until one fails: the largest that ran, and output tokens/s of each."""
    rates: dict[int, float] = {}
    for batch in heapq.merge(itertools.count(step, step), sorted(set(also))):
        if batch in rates:
            continue
        made = await bench.run(batch)
        if made.kind != "ok" or (made.peak_bytes or 0) > bench.limit:
            break
        rates[batch] = batch * bench.goal.new_tokens / made.seconds
    return max(rates, default=0), rates


def neighbours(*batches: int) -> set[int]:
    """Each of them, one row less and one more."""
    return {size for batch in batches for size in (batch - 1, batch, batch + 1) if size > 0}
