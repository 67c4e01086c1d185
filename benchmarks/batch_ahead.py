"""How long a prompt waits for its first token while rows run: it goes ahead of them, within a bound."""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
from typing import Any

from batch_arms import PhituiArm, rows_of
from report import summary

from phitui.engine.api import BatchEnded, Cost, Delta, Finished, Sampling, Turn
from phitui.engine.scheduler import WINDOW, Item, Limits, Scheduler

_PROMPT = [Turn("user", "Say in one sentence which city is the capital of France.")]
_GREEDY = Sampling(4, 0.0, 0, 1.0, 1.0)
# Between two prompts, so that they come at any moment of a wave: in its prefill, in its steps, at its end.
_PAUSE_S = (0.1, 2.5)


async def ahead_part(
    ours: PhituiArm, cost: Cost, shapes: list[tuple[int, int]], batch: int, asks: int
) -> dict[str, Any]:
    """First-token times of `asks` prompts on an engine that is idle, and of as many at random moments of a batch, of
    waves of `batch` rows.

    The bound (docs/ARCHITECTURE.md): laying out new waves, the rest of the prefills of all waves where all are in
    theirs, one step of the wave that makes way, and the prompt's own first token, which computes beside other waves.
    """
    draw = random.Random(11)
    idle = [await _first_token_s(ours) for _ in range(asks)]
    rows = ours.workers * batch
    number = await ours.client.open_batch(rows, 0, cost, None, "waves")
    await ours.client.add_rows(number, rows_of(shapes, 3), last=True)
    beside = []
    for _ in range(asks):
        await asyncio.sleep(draw.uniform(*_PAUSE_S))
        beside.append(await _first_token_s(ours))
        print(f"ahead: {beside[-1]:.3f} s", file=sys.stderr, flush=True)
    await ours.client.cancel(number)
    while not isinstance(await ours.event(), BatchEnded):
        pass
    # All workers read at once what the fits are of: their rows together. Words are taken as tokens.
    longest = sorted((words for words, _ in shapes), reverse=True)[:rows]
    parts = {
        "layout_s": _layout_s(shapes, batch, ours.workers),
        "prefill_of_the_longest_waves_s": cost.prefill_call_s + cost.prefill_token_s * sum(longest),
        "step_s": cost.step_fixed_s + rows * (cost.step_row_s + cost.step_token_s * 2 * longest[0]),
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


def _layout_s(shapes: list[tuple[int, int]], batch: int, workers: int) -> float:
    """What laying out a window of these rows takes here, which prompts wait for."""
    scheduler = Scheduler("waves", workers, None)
    scheduler.add(Item(key, words + 1, makes) for key, (words, makes) in enumerate(shapes[:WINDOW]))
    begun = time.perf_counter()
    scheduler.take(Limits(batch, lambda _: True))
    return time.perf_counter() - begun


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
