"""The tuner on the demo model and this CPU: its search against two others and a sweep, its answer against defaults
and against llama.cpp.

- search: one configuration, a memory limit that binds. The others are written from their descriptions: doubling from 2
  and bisecting with whole runs (Lightning's BatchSizeFinder), and from 512 down by ×0.9 (accelerate's
  find_executable_batch_size). Memory that runs out is real: the engine's process may not take more than the limit.
- peers: what `tune` answers, against CTranslate2's defaults (one worker, all cores, glibc's allocator as it is) at
  batch 26 and for one prompt alone, and against llama.cpp's server (Q8_0) at its best of one and two compute threads
  and of concurrencies up to 32: the same prompts, in turn. Here the limit is far above what is worth having.
- memory: the predicted peak of whole runs against the measured one, for 1 and 2 workers, above rest: each by the fit to
  the search's probes in that configuration. Once more with blocks from 1 MiB on mapped by themselves: they leave
  no holes in glibc's heap, smaller ones do.

With `--part` one of them; the others' figures are taken from the result file. Together about 15 minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import time
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from baseline_searches import Bench, Found, descent, doubling_and_bisection, neighbours, sweep
from demo_home import demo_home
from llamacpp import VERSION
from llamacpp_ways import CONCURRENCIES, Llama, prompts_of
from report import CACHE, RESULTS, machine, publish, summary

from phitui.autotune.answer import Knowledge
from phitui.autotune.memory import Shape
from phitui.autotune.probes import Goal, Outcome
from phitui.autotune.search import Search, confirm, explore
from phitui.config.layers import load_config
from phitui.engine.protocol.api import Load
from phitui.engine.worker.memory_model import memory_model
from phitui.engine.worker.threads import usable_cores
from phitui.models.manifest import read_manifest
from phitui.workbench.measure.probing import ProbingEngine
from phitui.workbench.tune.local import tune
from phitui.workbench.tune.setups import Limit, Setup

DEFAULT_BATCH = 26
# Whole runs that the fit has not seen, as shares of B_max.
UNSEEN = (0.3, 0.45, 0.6, 0.75, 0.9)
# A heap with fewer holes, at the price of its speed.
_MAPPED = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1048576:glibc.malloc.trim_threshold=67108864"
LOG = CACHE / "tuner-engine.log"


class Searched(NamedTuple):
    """One configuration after the search: what it knows, and memory with nothing running (bytes)."""

    know: Knowledge
    rest_bytes: int
    found: Found
    confirm_s: float


async def our_search(engine: ProbingEngine, load: Load, goal: Goal, limit: int) -> tuple[Bench, Searched]:
    """phitui's search on a fresh engine, then its repetitions, timed apart: the others have none."""
    loaded = await engine.load(load)
    room = await engine.warm_up(16)
    model = memory_model(read_manifest(Path(load.folder)), loaded.compute_type, loaded.workers)
    bench = Bench(engine, goal, limit)
    know = Knowledge(goal, model, room.rest_bytes - model.rotary(16), limit)

    async def ours(bench: Bench) -> int:
        await drive(bench, explore(know))
        return know.b_max()

    found = await bench.timed(ours)
    begun = time.perf_counter()
    await drive(bench, confirm(know))
    return bench, Searched(know, room.rest_bytes, found, round(time.perf_counter() - begun, 2))


async def drive(bench: Bench, asked: Search) -> None:
    """Answer a search's probes."""
    try:
        probe = next(asked)
        while True:
            made = await bench.run(0, probe.shape)
            fields = {name: getattr(made, name) for name in ("peak_bytes", "step_s", "step_p95_s", "prefill_s")}
            kind = "failed" if made.kind == "cancelled" else made.kind
            probe = asked.send(Outcome(kind, bench.limit, **fields, seconds=made.seconds))
    except StopIteration:
        return


async def searches(load: Load, goal: Goal, limit: int, step: int) -> dict[str, Any]:
    """All searches in turn on one engine."""
    engine = ProbingEngine(LOG, _quiet)
    try:
        bench, ours = await our_search(engine, load, goal, limit)
        answer = ours.know.answer()
        lightning = await bench.timed(doubling_and_bisection)
        accelerate = await bench.timed(descent)
        b_max, rates = await sweep(bench, step, neighbours(answer.b_best, answer.b_max))
        # The answer and the sweep's best once more, in turn: the best of single runs is the luckiest.
        best_of_sweep = max(rates, key=lambda size: rates[size])
        again = await in_turn(bench, [answer.b_best, best_of_sweep], 3)
    finally:
        await engine.stop()
    return {
        "limit_bytes": limit,
        "phitui": {**ours.found._asdict(), "b_best": answer.b_best, "seconds_of_repetitions": ours.confirm_s,
                   "tokens_per_s": round(answer.tokens_per_s, 1), "sigma": answer.spread and round(answer.spread, 1),
                   "n": answer.measurements},
        "doubling_and_bisection": lightning._asdict(),
        "descent": accelerate._asdict(),
        "sweep": {"b_max": b_max, "step": step, "tokens_per_s": {str(k): round(v, 1) for k, v in rates.items()}},
        "b_best_against_the_sweeps": {
            "b_best": summary(again[answer.b_best], 1),
            "sweeps_best": {"batch": best_of_sweep, **summary(again[best_of_sweep], 1)},
            "share": round(median(again[answer.b_best]) / median(again[best_of_sweep]), 3),
        },
        "share_of_their_time": {
            name: {
                "without_repetitions": round(ours.found.seconds / other.seconds, 3),
                "with_repetitions": round((ours.found.seconds + ours.confirm_s) / other.seconds, 3),
            }
            for name, other in (("doubling_and_bisection", lightning), ("descent", accelerate))
        },
    }  # fmt: skip


async def in_turn(bench: Bench, batches: list[int], rounds: int) -> dict[int, list[float]]:
    """Output tokens/s of whole runs of each batch, in turn."""
    rates: dict[int, list[float]] = {batch: [] for batch in batches}
    for _ in range(rounds):
        for batch in rates:
            made = await bench.run(batch)
            rates[batch].append(batch * bench.goal.new_tokens / made.seconds)
    return rates


async def memory(load: Load, goal: Goal, limit: int) -> dict[str, Any]:
    """Predicted against measured peaks above rest, for one and two workers of one thread: of the probes that the fit
    was made from, and of whole runs that it has not seen."""
    figures: dict[str, Any] = {}
    for workers, mapped in itertools.product((1, 2), (False, True)):
        with allocator(_MAPPED if mapped else None):
            setup = Setup(workers, 1, "int8_float32")
            name = f"{workers} × 1 thread{', blocks from 1 MiB on mapped' if mapped else ''}"
            figures[name] = await memory_of(configured(load, setup), goal, limit)
    return figures


async def memory_of(load: Load, goal: Goal, limit: int) -> dict[str, Any]:
    """The figures of one configuration."""
    engine = ProbingEngine(LOG, _quiet)
    try:
        bench, ours = await our_search(engine, load, goal, limit)
        know, rest = ours.know, ours.rest_bytes
        seen = [error_above(know, rest, one.probe.shape, one.outcome.peak_bytes) for one in know.verdicts]
        before = [  # the first probe's is the prior's, which nothing has been measured for
            (one.predicted_bytes - one.outcome.peak_bytes) / (one.outcome.peak_bytes - rest)
            for one in know.verdicts[1:]
            if one.outcome.peak_bytes is not None and one.outcome.peak_bytes > rest
        ]
        unseen, rates = [], []
        for share in UNSEEN:
            shape = goal.shape(max(1, int(share * know.b_max())))
            made = await bench.run(0, shape)
            rates.append(shape.batch * goal.new_tokens / made.seconds)
            unseen.append((shape.batch, error_above(know, rest, shape, made.peak_bytes)))
    finally:
        await engine.stop()
    known = [error for error in seen if error is not None]
    return {
        "b_max": know.b_max(),
        "fit_of_probes_worst_pct": round(100 * max(map(abs, known)), 2),
        "n": len(known),
        "predicted_before_each_probe_pct": [round(100 * error, 2) for error in before],
        "whole_runs_pct": {str(batch): error and round(100 * error, 2) for batch, error in unseen},
        "whole_runs_tokens_per_s": [round(rate) for rate in rates],
        "scale": round(know.memory.scale, 3),
    }


def error_above(know: Knowledge, rest: int, shape: Shape, peak_bytes: int | None) -> float | None:
    """(predicted − measured) / (measured − rest); None where nothing was measured."""
    if peak_bytes is None or peak_bytes <= rest:
        return None
    return (know.memory.peak(shape) - peak_bytes) / (peak_bytes - rest)


async def peers(load: Load, goal: Goal, limit: int, rounds: int) -> dict[str, Any]:
    """Tune, then the answer, the defaults and llama.cpp in turn."""
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
    prompts = prompts_of(Path(load.folder), max(CONCURRENCIES), goal.prompt_tokens)
    with ExitStack() as stack:
        llama = Llama(stack, goal)
        try:
            for _ in range(rounds):
                for setup in dict.fromkeys(setup for setup, _ in arms.values()):
                    with allocator("" if setup == default else None):
                        await engine.load(configured(load, setup))
                    await engine.warm_up(16)
                    for name, (of, batch) in arms.items():
                        if of == setup:
                            made = await engine.probe(goal.shape(batch), 0)
                            rates[name].append(batch * goal.new_tokens / made.seconds)
                await asyncio.to_thread(llama.round, prompts)
        finally:
            await engine.stop()
    figures = {name: summary(values, 1) for name, values in rates.items()}
    peer = {way: summary(values, 1) for way, values in llama.rates.items()}
    best_way = max(peer, key=lambda way: peer[way]["median"])
    return {
        "limit_bytes": limit,
        "tuned": {
            **result.setup._asdict(), "batch": result.answer.b_best, "probes": len(result.probes),
            "tokens_per_s": round(result.answer.tokens_per_s, 1), "n": result.answer.measurements,
            "sigma": result.answer.spread and round(result.answer.spread, 1),
        },
        "xllamacpp": VERSION,
        "output_tokens_per_s": {**figures, **{str(way): made for way, made in peer.items()}},
        "llamacpp_best": {**best_way._asdict(), **peer[best_way]},
        "llamacpp_failed": {f"{threads} threads": why for threads, why in llama.failed.items()},
        "gain_over_defaults_at_26": round(figures["tuned"]["median"] / figures["defaults_at_26"]["median"], 2),
        "gain_over_llamacpp": round(figures["tuned"]["median"] / peer[best_way]["median"], 2),
        "gain_for_one_prompt": round(
            figures["tuned_one_prompt"]["median"] / figures["defaults_one_prompt"]["median"], 2
        ),
    }  # fmt: skip


def configured(load: Load, setup: Setup) -> Load:
    return Load(load.folder, "cpu", setup.compute_type, setup.threads, load.profiles, 0.0, setup.workers)


@contextmanager
def allocator(tunables: str | None) -> Iterator[None]:
    """The engine's processes that are started meanwhile have these settings of glibc ("": its own, as a bare program
    has), not those that phitui gives them; None leaves them as they are."""
    before = os.environ.get("GLIBC_TUNABLES")
    if tunables is not None:
        os.environ["GLIBC_TUNABLES"] = tunables
    try:
        yield
    finally:
        os.environ.pop("GLIBC_TUNABLES", None)
        if before is not None:
            os.environ["GLIBC_TUNABLES"] = before


def _quiet(_: object) -> None:
    """Nobody watches."""


def kept() -> dict[str, Any]:
    """The figures of the parts that are not run now."""
    file = RESULTS / "tuner.json"
    made: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return {name: made[name] for name in ("search", "memory", "configuration") if name in made}


def taken(part: Coroutine[None, None, dict[str, Any]]) -> dict[str, Any]:
    """A part's figures, with when and on what they were taken: other parts may be of another day."""
    about, now = machine(), datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"taken": {"at": now, **about}, **asyncio.run(part)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=3, help="rounds of the configurations in turn")
    parser.add_argument("--part", choices=("search", "memory", "peers"), help="one part alone")
    parser.add_argument("--limit-mb", type=int, default=800, help="of search and memory")
    parser.add_argument("--peers-limit-mb", type=int, default=3000)
    parser.add_argument("--prompt-tokens", type=int, default=48)
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--step", type=int, default=8, help="of the sweep")
    args = parser.parse_args()
    home = demo_home()
    about = machine()
    load = Load(str(home / "models" / "smollm2-135m"), "cpu", "int8", 1, str(home / "profiles.json"))
    goal = Goal(args.prompt_tokens, args.max_tokens, spills=False)
    limit = args.limit_mb * 10**6
    figures = kept() if args.part else {}
    begun = time.perf_counter()
    if args.part in (None, "search"):
        figures["search"] = taken(searches(load, goal, limit, args.step))
    if args.part in (None, "memory"):
        figures["memory"] = taken(memory(load, goal, limit))
    if args.part in (None, "peers"):
        figures["configuration"] = taken(peers(load, goal, args.peers_limit_mb * 10**6, args.n))
    lengths = {"prompt_tokens": goal.prompt_tokens, "max_tokens": goal.new_tokens}
    seconds = round(time.perf_counter() - begun, 1)
    publish("tuner", {"machine": about, "goal": lengths, "part": args.part or "all", "seconds": seconds, **figures})


if __name__ == "__main__":
    main()
