"""The tuner on the demo model and this CPU: its search against two blind ones and a sweep, its answer against defaults.

- Search: one configuration, a memory limit that binds. The others are written from their descriptions: doubling from 2
  and bisecting with whole runs (Lightning's BatchSizeFinder), and from 512 down by ×0.9 (accelerate's
  find_executable_batch_size). Memory that runs out is real: the engine's process may not take more than the limit.
- Configuration: what `tune` answers against CTranslate2's defaults (one worker, all cores, glibc's allocator as it is)
  at batch 26 and for one prompt alone, in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from demo_home import demo_home
from report import CACHE, machine, publish, summary

from phitui.config import load_config
from phitui.engine.api import Load, Probed
from phitui.engine.threads import usable_cores
from phitui.jobs.probing import ProbingEngine
from phitui.jobs.tune import tune
from phitui.jobs.tuning_model import Limit, Setup, memory_model
from phitui.models.manifest import read_manifest
from phitui.tuner.answer import Knowledge
from phitui.tuner.memory import Shape
from phitui.tuner.probes import Goal, Outcome
from phitui.tuner.search import explore

DEFAULT_BATCH = 26
LOG = CACHE / "tuner-engine.log"


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


async def sweep(bench: Bench, step: int) -> tuple[int, dict[int, float]]:
    """Every `step`-th size until one fails: the largest that ran, and output tokens/s of each."""
    rates: dict[int, float] = {}
    batch = step
    while True:
        made = await bench.run(batch)
        if made.kind != "ok" or (made.peak_bytes or 0) > bench.limit:
            return max(rates), rates
        rates[batch] = batch * bench.goal.new_tokens / made.seconds
        batch += step


async def searches(load: Load, goal: Goal, limit: int, step: int) -> dict[str, Any]:
    """All searches in turn on one engine."""
    manifest = read_manifest(Path(load.folder))
    engine = ProbingEngine(LOG, _quiet)
    try:
        loaded = await engine.load(load)
        room = await engine.warm_up(16)
        model = memory_model(manifest, loaded.compute_type, loaded.workers)
        rest = room.rest_bytes - model.rotary(16)
        bench = Bench(engine, goal, limit)
        know = Knowledge(goal, model, rest, limit)

        async def ours(bench: Bench) -> int:
            asked = explore(know)
            try:
                probe = next(asked)
                while True:
                    made = await bench.run(0, probe.shape)
                    fields = {name: getattr(made, name) for name in ("peak_bytes", "step_s", "step_p95_s", "prefill_s")}
                    kind = "failed" if made.kind == "cancelled" else made.kind
                    probe = asked.send(Outcome(kind, limit, **fields, seconds=made.seconds))
            except StopIteration:
                return know.b_max()

        phitui = await bench.timed(ours)
        best = know.best(0.97)
        lightning = await bench.timed(doubling_and_bisection)
        accelerate = await bench.timed(descent)
        b_max, rates = await sweep(bench, step)
        whole = await bench.run(best)
        errors = [
            (know.memory.peak(one.probe.shape) - one.outcome.peak_bytes) / (one.outcome.peak_bytes - room.rest_bytes)
            for one in know.verdicts
            if one.outcome.peak_bytes and one.outcome.peak_bytes > room.rest_bytes
        ]
    finally:
        await engine.stop()
    return {
        "limit_bytes": limit,
        "phitui": {
            **phitui._asdict(),
            "b_best": best,
            "b_best_tokens_per_s": whole.seconds and best * goal.new_tokens / whole.seconds,
        },
        "doubling_and_bisection": lightning._asdict(),
        "descent": accelerate._asdict(),
        "sweep": {"b_max": b_max, "step": step, "tokens_per_s": {str(k): round(v, 1) for k, v in rates.items()}},
        "share_of_their_time": {
            "doubling_and_bisection": round(phitui.seconds / lightning.seconds, 3),
            "descent": round(phitui.seconds / accelerate.seconds, 3),
        },
        "memory_error_above_rest_pct": {"worst": round(100 * max(map(abs, errors)), 2), "n": len(errors)},
    }


async def against_defaults(load: Load, goal: Goal, limit: int, rounds: int) -> dict[str, Any]:
    """Tune, then the answer and the defaults in turn."""
    config = load_config(None, {"model": {"name": load.folder}, "engine": {"device": "cpu"}})
    result = await tune(config, goal, Limit(1.0, limit), _quiet)
    default = Setup(1, usable_cores(), "int8_float32")
    arms = {
        "defaults_at_26": (default, DEFAULT_BATCH),
        "tuned": (result.setup, result.answer.b_best),
        "defaults_one_prompt": (default, 1),
        "tuned_one_prompt": (result.setup, 1),
    }
    rates: dict[str, list[float]] = {name: [] for name in arms}
    engine = ProbingEngine(LOG, _quiet)
    try:
        for _ in range(rounds):
            for setup in {setup for setup, _ in arms.values()}:
                with allocator(plain=setup == default):
                    await engine.load(configured(load, setup))
                await engine.warm_up(16)
                for name, (of, batch) in arms.items():
                    if of == setup:
                        made = await engine.probe(goal.shape(batch), 0)
                        rates[name].append(batch * goal.new_tokens / made.seconds)
    finally:
        await engine.stop()
    figures = {name: summary(values, 1) for name, values in rates.items()}
    return {
        "tuned": {**result.setup._asdict(), "batch": result.answer.b_best, "probes": len(result.probes)},
        "output_tokens_per_s": figures,
        "gain_over_defaults_at_26": round(figures["tuned"]["median"] / figures["defaults_at_26"]["median"], 2),
        "gain_for_one_prompt": round(
            figures["tuned_one_prompt"]["median"] / figures["defaults_one_prompt"]["median"], 2
        ),
    }


def configured(load: Load, setup: Setup) -> Load:
    return Load(load.folder, "cpu", setup.compute_type, setup.threads, load.profiles, 0.0, setup.workers)


@contextmanager
def allocator(plain: bool) -> Iterator[None]:
    """With `plain` the engine's process has glibc's own settings, as a bare program has."""
    if plain:
        os.environ["GLIBC_TUNABLES"] = ""
    try:
        yield
    finally:
        os.environ.pop("GLIBC_TUNABLES", None)


def _quiet(_: object) -> None:
    """Nobody watches."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=3, help="rounds of the configurations in turn")
    parser.add_argument("--limit-mb", type=int, default=800)
    parser.add_argument("--prompt-tokens", type=int, default=48)
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--step", type=int, default=8, help="of the sweep")
    args = parser.parse_args()
    home = demo_home()
    about = machine()
    load = Load(str(home / "models" / "smollm2-135m"), "cpu", "int8", 1, str(home / "profiles.json"))
    goal = Goal(args.prompt_tokens, args.max_tokens, spills=False)
    limit = args.limit_mb * 10**6
    figures = asyncio.run(searches(load, goal, limit, args.step))
    tuned = asyncio.run(against_defaults(load, goal, limit, args.n))
    lengths = {"prompt_tokens": goal.prompt_tokens, "max_tokens": goal.new_tokens}
    publish("tuner", {"machine": about, "goal": lengths, "search": figures, "configuration": tuned})


if __name__ == "__main__":
    main()
