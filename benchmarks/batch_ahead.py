"""How long a prompt waits for its first token while rows run: it goes ahead of them, within a bound."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from typing import Any

from batch_arms import PhituiArm, rows_of
from report import summary

from phitui.engine.api import BatchEnded, Cost, Delta, Finished, Sampling, Turn

_PROMPT = [Turn("user", "Say in one sentence which city is the capital of France.")]
_GREEDY = Sampling(4, 0.0, 0, 1.0, 1.0)
# Between two prompts, so that they come at any moment of a wave: in its prefill, in its steps, at its end.
_PAUSE_S = (0.1, 2.5)


async def ahead_part(
    ours: PhituiArm, cost: Cost, shapes: list[tuple[int, int]], batch: int, asks: int
) -> dict[str, Any]:
    """First-token times of `asks` prompts on an engine that is idle, and of as many at random moments of a batch.

    The bound (docs/ARCHITECTURE.md): one step of the wave that makes way, or the rest of the prefills of all waves
    where all are in theirs, and the prompt's own prefill, which computes beside other waves.
    """
    draw = random.Random(11)
    idle = [await _first_token_s(ours) for _ in range(asks)]
    number = await ours.client.open_batch(batch, 0, cost, None, "waves")
    await ours.client.add_rows(number, rows_of(shapes, 3), last=True)
    beside = []
    for _ in range(asks):
        await asyncio.sleep(draw.uniform(*_PAUSE_S))
        beside.append(await _first_token_s(ours))
        print(f"ahead: {beside[-1]:.3f} s", file=sys.stderr, flush=True)
    await ours.client.cancel(number)
    while not isinstance(await ours.event(), BatchEnded):
        pass
    return {
        "prompts": asks,
        "idle_first_token_s": summary(idle),
        "beside_a_batch_first_token_s": summary(beside),
        "beside_a_batch_first_token_s_p90": round(sorted(beside)[int(0.9 * len(beside))], 3),
        "a_waves_prefill_s": round(cost.prefill_call_s + cost.prefill_token_s * _mean_wave(shapes, batch), 3),
        "a_step_s": round(cost.step_fixed_s + cost.step_row_s * batch, 3),
    }


def _mean_wave(shapes: list[tuple[int, int]], batch: int) -> float:
    """Words of the prompts that a wave reads at the mean, taken as tokens."""
    return batch * sum(words for words, _ in shapes) / len(shapes)


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
