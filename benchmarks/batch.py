"""Batches: phitui's scheduler against CTranslate2's own generate_batch, on the demo model, on this CPU.

- rows: 400 rows with log-normal prompts and answers, each with its own max_tokens: useful output tokens/s of phitui's
  engine ÷ CTranslate2 over the whole list (it sorts by itself, a callback ends each row at its limit), and ÷ the same
  rows in file order, in turn. All have the same workers, threads, compute type, allocator, rows of one batch.
- equal: rows of equal length, all with the same limit: ÷ bare generate_batch without a callback.
  phitui finds by itself what all rows begin with (the chat template's system prompt) and has it read once. CTranslate2
  does that only for who finds it and hands it over as `static_prompt`: "own_prefix" and "bare_prefix" do.
- ahead: a prompt's time to its first token while rows run, at random moments, and on an idle engine, beside the bound
  that docs/ARCHITECTURE.md states; with two workers and with one.
- alone: rows in float32 in batches, and each of them alone: how many have other tokens.
- agree: on small workloads (9 or 12 rows that make 1 to 32 tokens, 2 or 3 rows of a batch) whether the simulator names
  the faster of two policies. Each policy runs twice, in the order ABBA or BAAB; the faster is the one with the smaller
  geometric mean. Counted over all trials (where the simulator says "equally long" it has not agreed), over those where
  it says a difference of at least 3 %, and over those whose measured difference is more than two standard errors, by
  the noise between the two runs of a policy, pooled over all trials. Nothing is left out or drawn again.
- simulate: 1000 workloads by the cost model alone, with the cost measured here and with a card's.

The end token is one that never comes, so that every row makes its max_tokens. phitui's time includes rendering and
tokenizing, both ways between the processes, and texts; CTranslate2's begins with tokens. Tokens per second of the
engine's CPU time stand beside, since they say the same on a machine that has other work too, but for idle workers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from batch_agree import Trial, agreement
from batch_ahead import ahead_part
from batch_arms import BareArm, PhituiArm, Run, endless_demo, rows_of, shared
from msgspec.structs import replace
from report import RESULTS, machine, publish, summary
from simulator import Simulated, Work, simulate

from phitui.engine.protocol.api import Cost, Load
from phitui.engine.worker.batching.prefixes import Prefixes
from phitui.engine.worker.batching.scheduler import Limits, Policy
from phitui.engine.worker.batching.wave_cost import WaveCost, WaveShape

PARTS = ("rows", "equal", "ahead", "alone", "agree", "simulate")
# A card of the RTX 4090's kind with an int8 model of 3.8 billion parameters: 12 ms a step, KV traffic three times over.
CARD = WaveCost(fixed_s=0.012, row_s=0.0001, token_s=2e-6, call_s=0.01, prefill_s=0.00012)
WORKERS, THREADS, COMPUTE_TYPE = 2, 1, "int8"


def heavy_tailed(
    count: int, seed: int, words: float = 8, makes: float = 8, tail: float = 0.9, most: int = 300
) -> list[tuple[int, int]]:
    """(words in the prompt, tokens to make): log-normal, with medians of `words` and `makes`, at most `most` each."""
    draw = random.Random(seed)

    def one(median: float, sigma: float) -> int:
        return max(1, min(most, round(draw.lognormvariate(math.log(median), sigma))))

    return [(one(words, 0.7), one(makes, tail)) for _ in range(count)]


def anything(_: WaveShape) -> bool:
    """Memory is no bound here."""
    return True


async def warm_up(ours: PhituiArm, bare: BareArm, cost: Cost, batch: int) -> None:
    """A little of what is measured, on both: first allocations, and the common beginning, which is kept from there."""
    rows = rows_of([(8, 8)] * ours.workers * batch, 0)
    await ours.run(rows, ours.workers * batch, cost)
    for share_prefix in (False, True):
        bare.run(rows, batch, "own", share_prefix=share_prefix)


async def rows_part(
    ours: PhituiArm,
    bare: BareArm,
    cost: Cost,
    count: int,
    batch: int,
    rounds: int,
    makes: float = 8,
    endless: bool = True,
) -> dict[str, Any]:
    """The heavy-tailed workload, all in turn, another one first each round; another workload each round. Without
    `endless` a row may end by itself, and not in the same place on all sides."""
    rates: dict[str, list[float]] = {"phitui": [], "own": [], "own_prefix": [], "file": []}
    cpu: dict[str, list[float]] = {name: [] for name in rates}
    waves = []
    await warm_up(ours, bare, cost, batch)
    for number in range(rounds):
        rows = rows_of(heavy_tailed(count, number, makes=makes), number)
        runs: dict[str, Run] = {}
        names = [*rates][number % 4 :] + [*rates][: number % 4]
        for name in names if number // 4 % 2 == 0 else reversed(names):
            if name == "phitui":
                runs[name] = told(name, await ours.run(rows, ours.workers * batch, cost))
            else:
                order, share = name.removesuffix("_prefix"), name.endswith("_prefix")
                runs[name] = told(name, bare.run(rows, batch, order, share_prefix=share))
        if endless and len({run.tokens for run in runs.values()}) != 1:
            raise AssertionError(f"not the same tokens: {runs}")
        waves.append([runs["phitui"].waves, runs["phitui"].stopped])
        for name, run in runs.items():
            rates[name].append(run.tokens_per_s)
            cpu[name].append(run.tokens / run.cpu_s)
    return {
        "rows": count,
        "rows_of_a_batch": batch,
        "waves_and_those_stopped_to_pool": waves,
        "useful_tokens_per_s": {name: summary(values, 1) for name, values in rates.items()},
        "phitui_over_own_order": ratio(rates["phitui"], rates["own"]),
        "phitui_over_own_order_with_a_static_prompt": ratio(rates["phitui"], rates["own_prefix"]),
        "phitui_over_file_order": ratio(rates["phitui"], rates["file"]),
        "by_cpu_time_over_own_order": ratio(cpu["phitui"], cpu["own"]),
        "by_cpu_time_over_file_order": ratio(cpu["phitui"], cpu["file"]),
    }


def told(name: str, run: Run) -> Run:
    """For who watches."""
    print(f"{name}: {run.tokens} tokens in {run.seconds:.1f} s, {run.cpu_s:.1f} s of CPU", file=sys.stderr, flush=True)
    return run


def ratio(ours: list[float], theirs: list[float]) -> dict[str, float | int]:
    """Of each round: the two were taken one after the other."""
    return summary([a / b for a, b in zip(ours, theirs, strict=True)])


async def equal_part(ours: PhituiArm, bare: BareArm, cost: Cost, batch: int, rounds: int) -> dict[str, Any]:
    rates: dict[str, list[float]] = {"phitui": [], "bare": [], "bare_prefix": []}
    cpu: dict[str, list[float]] = {name: [] for name in rates}
    await warm_up(ours, bare, cost, batch)
    for number in range(rounds):
        rows = rows_of([(24, 40)] * (4 * batch), number)
        length = min(len(bare.tokens(row)) for row in rows)
        rows = [row for row in rows if len(bare.tokens(row)) == length] or rows
        rows = [rows[i % len(rows)] for i in range(4 * batch)]
        rows = [type(row)(key, row.turns, row.sampling) for key, row in enumerate(rows)]
        runs: dict[str, Callable[[], Any]] = {
            "phitui": lambda rows=rows: ours.run(rows, ours.workers * batch, cost),  # type: ignore[misc]
            "bare": lambda rows=rows: bare.run(rows, batch, "own", stop=False),  # type: ignore[misc]
            "bare_prefix": lambda rows=rows: bare.run(rows, batch, "own", False, True),  # type: ignore[misc]
        }
        for name in sorted(runs, reverse=bool(number % 2)):
            run = runs[name]()
            made = told(f"equal, {name}", await run if asyncio.iscoroutine(run) else run)
            rates[name].append(made.tokens_per_s)
            cpu[name].append(made.tokens / made.cpu_s)
    return {
        "rows": 4 * batch,
        "tokens_per_s": {name: summary(values, 1) for name, values in rates.items()},
        "phitui_over_bare": ratio(rates["phitui"], rates["bare"]),
        "phitui_over_bare_with_a_static_prompt": ratio(rates["phitui"], rates["bare_prefix"]),
        "by_cpu_time_over_bare": ratio(cpu["phitui"], cpu["bare"]),
    }


async def agree_part(ours: PhituiArm, bare: BareArm, cost: Cost, trials: int) -> dict[str, Any]:
    """Real runs of two policies on the same engine, and the simulator's word on which is faster."""
    draw, found = random.Random(7), []
    pairs: tuple[tuple[Policy, Policy], ...] = (("waves", "in order"), ("sorted", "in order"), ("waves", "sorted"))
    await ours.run(rows_of([(8, 8)] * 8, 0), WORKERS * 4, cost)  # reads the common prefix, which is kept from then on
    begun = time.perf_counter()
    for number in range(trials):
        batch, words = draw.choice((2, 3)), draw.choice((4, 16))
        rows = rows_of(heavy_tailed(draw.choice((9, 12)), 100 + number, words, 5, 1.0, most=32), number)
        # As the engine reads them: what all begin with stands in its cache.
        prompts = [bare.tokens(row) for row in rows]
        behind = len(Prefixes().choose(prompts, 0))
        work = [
            Work(len(prompt) - behind, row.sampling.max_tokens, row.sampling.max_tokens)
            for prompt, row in zip(prompts, rows, strict=True)
        ]
        names = pairs[number % len(pairs)]
        said = [simulate(work, name, Limits(batch, anything), WORKERS, shared(cost, WORKERS)).seconds for name in names]
        order = (0, 1, 1, 0) if number % 2 else (1, 0, 0, 1)  # what drifts falls on both
        times: tuple[list[float], list[float]] = ([], [])
        for place in order:
            times[place].append((await ours.run(rows, WORKERS * batch, cost, names[place])).seconds)
        found.append(Trial(said[1] / said[0], (times[0][0], times[0][1]), (times[1][0], times[1][1])))
        print(f"agree, {names[0]} and {names[1]}: {found[-1]}", file=sys.stderr, flush=True)
    return {**agreement(found), "seconds": round(time.perf_counter() - begun, 1)}


def simulate_part(cost: Cost | None, workloads: int) -> dict[str, Any]:
    """Gains of "waves" over the others. "by itself": limits of 256 that rows end before."""
    settings = {"card, 26 rows": (CARD, 1, 26, False), "card, 26 rows, ending by themselves": (CARD, 1, 26, True)}
    if cost is not None:
        settings["this CPU, 26 rows"] = (shared(cost, WORKERS), WORKERS, 26, False)
        settings["this CPU, 26 rows, ending by themselves"] = (shared(cost, WORKERS), WORKERS, 26, True)
    return {name: _gains(*setting, workloads // len(settings)) for name, setting in settings.items()}


def _gains(cost: WaveCost, workers: int, batch: int, by_itself: bool, workloads: int) -> dict[str, Any]:
    gains: dict[str, list[float]] = {"sorted": [], "in order": []}
    stopped = []
    for number in range(workloads):
        shapes = heavy_tailed(120, number, words=80, makes=60)
        work = [Work(words, 300 if by_itself else makes, makes) for words, makes in shapes]
        runs: dict[Policy, Simulated] = {
            policy: simulate(work, policy, Limits(batch, anything), workers, cost)
            for policy in ("waves", "sorted", "in order")
        }
        gains["sorted"].append(runs["sorted"].seconds / runs["waves"].seconds)
        gains["in order"].append(runs["in order"].seconds / runs["waves"].seconds)
        stopped.append(runs["waves"].stopped / runs["waves"].waves)
    return {
        "over_sorted": summary(gains["sorted"]),
        "over_in_order": summary(gains["in order"]),
        "waves_stopped_to_pool": round(statistics.mean(stopped), 3),
    }


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    parts = args.part or PARTS
    figures: dict[str, Any] = {}
    cost = None
    if set(parts) - {"simulate"}:
        load = Load(str(endless_demo()), "cpu", COMPUTE_TYPE, THREADS, "", 0.0, WORKERS)
        ours = PhituiArm(load)
        await ours.start()
        try:
            with BareArm(load) as bare:
                cost = await ours.cost()
                figures["cost"] = {name: round(getattr(cost, name), 7) for name in cost.__struct_fields__}
                if "rows" in parts:
                    figures["rows"] = await rows_part(ours, bare, cost, args.rows, args.batch, args.n)
                if "equal" in parts:
                    figures["equal"] = await equal_part(ours, bare, cost, args.batch, args.n)
                if "ahead" in parts:
                    shapes = heavy_tailed(5 * args.rows, 5)  # enough for all asks
                    figures["ahead"] = {"2 workers": await ahead_part(ours, cost, shapes, args.batch, args.asks)}
                if "agree" in parts:
                    figures["agree"] = await agree_part(ours, bare, cost, args.trials)
        finally:
            await ours.stop()
        figures["notes"] = ours.notes
        if "ahead" in parts:
            figures["ahead"]["1 worker"] = await ahead_alone(replace(load, workers=1), args)
        if "alone" in parts:
            figures["alone"] = await alone_part(replace(load, compute_type="float32"), args.alone, args.batch)
    if "simulate" in parts:
        figures["simulated"] = simulate_part(cost, args.workloads)
    return figures


async def ahead_alone(load: Load, args: argparse.Namespace) -> dict[str, Any]:
    """The part ahead with one worker, where the rows have to make way."""
    ours = PhituiArm(load)
    await ours.start()
    try:
        return await ahead_part(ours, await ours.cost(), heavy_tailed(5 * args.rows, 5), args.batch, args.asks)
    finally:
        await ours.stop()


async def alone_part(load: Load, count: int, batch: int) -> dict[str, Any]:
    """Whether rows of the heavy-tailed workload have the tokens in float32 that each has alone."""
    ours = PhituiArm(load)
    await ours.start()
    try:
        rows = rows_of(heavy_tailed(count, 17, most=60), 17)
        cost = await ours.cost()
        together = await ours.run(rows, load.workers * batch, cost)
        differ = []
        for row in rows:
            alone = await ours.run([row], 1, None)
            if alone.made[row.key] != together.made[row.key]:
                differ.append(row.key)
        return {"rows": count, "tokens": together.tokens, "rows_that_differ_from_alone": differ}
    finally:
        await ours.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=3, help="rounds")
    parser.add_argument(
        "--part", action="append", choices=PARTS, help="only this, the others' figures stay; may be given again"
    )
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--batch", type=int, default=26, help="rows of one batch of CTranslate2")
    parser.add_argument("--alone", type=int, default=60, help="rows of the part alone")
    parser.add_argument("--asks", type=int, default=20, help="prompts of the part ahead")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--workloads", type=int, default=1000)
    args = parser.parse_args()
    about = machine()
    setup = {"workers": WORKERS, "threads": THREADS, "compute_type": COMPUTE_TYPE}
    made = asyncio.run(measure(args))
    loads = dict.fromkeys(args.part or PARTS, about["load_before"])
    before = kept() if args.part else {}
    loads = {**before.pop("load_before_of_each_part", {}), **loads}
    publish("batch", {**before, "machine": about, "engine": setup, "load_before_of_each_part": loads, **made})


def kept() -> dict[str, Any]:
    """The figures of the parts that are not run now."""
    path = RESULTS / "batch.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


if __name__ == "__main__":
    main()
