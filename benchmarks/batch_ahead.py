"""How long a prompt waits for its first token while rows run: it goes ahead of them, within a bound."""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from batch_arms import PhituiArm, common_beginning, rows_of, shared
from report import summary
from simulator import steps_s

from phitui.engine.protocol.api import BatchEnded, Cost, Delta, Finished, OpenBatch, Row, Sampling, Turn
from phitui.engine.worker.batching.scheduler import Item, Limits, Scheduler
from phitui.engine.worker.batching.wave_cost import WaveCost
from phitui.engine.worker.prompt import ChatPrompt
from phitui.models.manifest import read_manifest

_PROMPT = [Turn("user", "Say in one sentence which city is the capital of France.")]
_GREEDY = Sampling(4, 0.0, 0, 1.0, 1.0)
# Between two prompts, so that they come at any moment of a wave: in its prefill, in its steps, at its end.
_PAUSE_S = (0.1, 2.5)


async def ahead_part(
    ours: PhituiArm, cost: Cost, shapes: list[tuple[int, int]], batch: int, asks: int
) -> dict[str, Any]:
    """First-token times of `asks` prompts on an engine that is idle, and of as many at random moments of a batch, of
    waves of `batch` rows.

    The bound (docs/ARCHITECTURE.md): laying out new waves, the longest that any wave takes to make way when it has
    just begun, and the prompt's own first token, which computes beside other waves.
    """
    draw = random.Random(11)
    idle = [await _first_token_s(ours) for _ in range(asks)]
    rows = ours.workers * batch
    number = await ours.client.open_batch(OpenBatch(batch=rows, cost=cost, policy="waves"))
    await ours.client.add_rows(number, rows_of(shapes, 3), last=True)
    beside = []
    for _ in range(asks):
        await asyncio.sleep(draw.uniform(*_PAUSE_S))
        beside.append(await _first_token_s(ours))
        print(f"ahead: {beside[-1]:.3f} s", file=sys.stderr, flush=True)
    await ours.client.cancel(number)
    while not isinstance(await ours.event(), BatchEnded):
        pass
    parts = {
        **_layout_and_way_s(ours, rows_of(shapes, 3), [makes for _, makes in shapes], batch, cost),
        "own_first_token_s": ours.workers * statistics.median(idle),
    }
    bound = sum(parts.values())
    return {
        "prompts": asks,
        "idle_first_token_s": summary(idle),
        "beside_a_batch_first_token_s": summary(beside),
        "beside_a_batch_first_token_s_p90": round(sorted(beside)[int(0.9 * len(beside))], 3),
        "bound_s": round(bound, 3),
        "bound_is_of": {name: round(seconds, 3) for name, seconds in parts.items()},
        "within_the_bound": sum(seconds <= bound for seconds in beside),
    }


def _layout_and_way_s(ours: PhituiArm, rows: list[Row], makes: list[int], batch: int, cost: Cost) -> dict[str, float]:
    """What laying out a window of these rows takes here, and the longest that a wave of them takes to make way."""
    prompt = ChatPrompt(Path(ours.load.folder), read_manifest(Path(ours.load.folder)))
    prompts = [prompt.tokens(row.turns) for row in rows]
    prefix = len(common_beginning(prompts))
    seconds = shared(cost, ours.workers)
    scheduler = Scheduler("waves", ours.workers, seconds)
    scheduler.add(Item(key, len(tokens) - prefix, makes[key], prefix=prefix) for key, tokens in enumerate(prompts))
    limits = Limits(batch, lambda _: True)
    begun = time.perf_counter()
    wave = scheduler.take(limits)
    layout = time.perf_counter() - begun
    longest = 0.0
    while wave:
        longest = max(longest, _until_it_has_stopped_s(seconds, [item.length for item in wave], prefix))
        wave = scheduler.take(limits)
    return {"layout_s": layout, "longest_wave_until_it_has_stopped_s": longest}


def _until_it_has_stopped_s(cost: WaveCost, lengths: list[int], prefix: int) -> float:
    """A wave that is told to stop as it begins: the prefill of what all have, then steps of the rows that are still
    fed; each row leaves with the first token that it makes."""
    shortest = min(lengths)
    seconds = cost.read_s(len(lengths), shortest)
    for step in range(max(lengths) - shortest + 1):
        fed = sum(length - shortest >= step for length in lengths)
        seconds += steps_s(cost, fed, prefix + shortest - 1 + step, 1)
    return seconds


async def _first_token_s(ours: PhituiArm) -> float:
    asked = time.perf_counter()
    number = await ours.client.generate(_PROMPT, _GREEDY)
    first = 0.0
    while True:
        event = await ours.event()
        if isinstance(event, BatchEnded):
            raise AssertionError("the batch was over: more rows are needed")
        if getattr(event, "id", None) != number:
            continue
        if isinstance(event, Delta) and not first:
            first = time.perf_counter() - asked
        elif isinstance(event, Finished):
            return first or time.perf_counter() - asked
