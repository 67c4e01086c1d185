"""What a wave costs: one call of generate_batch on one worker, predicted from the tuner's fits. Pure.

CTranslate2 reads the first min(length) − 1 tokens of all prompts together. The rest of longer prompts is fed one token
a decode step, and rows that end leave. So with m the shortest length, a row of length p that makes r tokens takes part
in p − m + r steps, and the wave has as many steps as its longest row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Need(NamedTuple):
    """What a row still needs: `length` tokens to read (prompt and what has been made), `left` tokens to make."""

    length: int
    left: float


class WaveShape(NamedTuple):
    """What a wave takes of memory: rows, the tokens that all of them read together, and the most tokens that its cache
    has at once."""

    rows: int
    together: int
    peak_tokens: int


@dataclass(frozen=True)
class WaveCost:
    """Seconds on one worker while the others are busy as well: each step `fixed_s`, each row in it `row_s` and
    `token_s` for each of its cached tokens; `call_s` for a prefill and `prefill_s` for each token of it."""

    fixed_s: float
    row_s: float
    token_s: float
    call_s: float
    prefill_s: float

    @classmethod
    def share(cls, fixed: float, row: float, token: float, call: float, prefill: float, workers: int) -> WaveCost:
        """From fits over the rows of all workers together: of those each worker has its share only."""
        return cls(fixed, row * workers, token * workers, call, prefill * workers)

    def read_s(self, rows: int, length: int) -> float:
        """Reading `length` tokens of each of `rows` prompts; the last one is the first decode step's."""
        return self.call_s + self.prefill_s * rows * max(length - 1, 0)


# Where nothing was measured: a step's fixed part as that of some rows, and a token to read cheaper than one to make.
NOMINAL = WaveCost(fixed_s=8.0, row_s=1.0, token_s=0.01, call_s=1.0, prefill_s=0.5)


def ends(needs: Sequence[Need]) -> tuple[int, list[float]]:
    """(tokens that are read together and one more, the step at which each row ends, the last first)."""
    shortest = min(need.length for need in needs)
    return shortest, sorted((need.length - shortest + need.left for need in needs), reverse=True)


def shape(needs: Sequence[Need], prefix: int = 0) -> WaveShape:
    """The memory of a wave. At the step where the j-th last row ends, j rows are there. `prefix` tokens stand before
    all of them (a static prompt)."""
    shortest, last = ends(needs)
    peak = max(j * (prefix + shortest + end) for j, end in enumerate(last, 1))
    return WaveShape(len(needs), prefix + shortest - 1, int(peak))


def _seconds(cost: WaveCost, prefix: int, rows: int, m: Any, last: Any, ends: Any, squares: Any) -> Any:
    """The cost of a wave in closed form; numbers, or arrays for many waves of `rows` rows. With m the shortest length
    and E = length + left, of which `last` is the largest, a row takes part in e = E - m steps, of c + e / 2 cached
    tokens in the mean, c = prefix + m - 1."""
    steps = ends - rows * m
    halves = (squares - 2 * m * ends + rows * m * m) / 2
    decode = cost.row_s * steps + cost.token_s * (steps * (prefix + m - 1) + halves)
    return cost.call_s + cost.prefill_s * rows * (m - 1) + cost.fixed_s * (last - m) + decode


def whole_s(cost: WaveCost, needs: Sequence[Need], prefix: int = 0) -> float:
    """Seconds of a wave that runs until its last row has ended."""
    ends = [need.length + need.left for need in needs]
    m = min(need.length for need in needs)
    squares = sum(end * end for end in ends)
    return float(_seconds(cost, prefix, len(ends), m, max(ends), sum(ends), squares))


def cheapest_cuts(cost: WaveCost, needs: Sequence[Need], rows: int, prefix: int = 0) -> list[int]:
    """Sizes of waves of neighbours, at most `rows` each, whose seconds are the least in all."""
    waves = _costs(cost, needs, min(rows, len(needs)), prefix)
    best, size = np.zeros(len(needs) + 1), [0]
    for stop in range(1, len(needs) + 1):
        sizes = min(rows, stop)
        seconds = best[stop - sizes : stop][::-1] + waves[stop - 1, :sizes]
        chosen = int(seconds.argmin())
        best[stop] = seconds[chosen]
        size.append(chosen + 1)
    sizes_back, at = [], len(needs)
    while at:
        sizes_back.append(size[at])
        at -= size[at]
    return sizes_back[::-1]


def _costs(cost: WaveCost, needs: Sequence[Need], rows: int, prefix: int) -> NDArray[np.float64]:
    """(needs, rows) seconds: [i, k] of the wave of k + 1 neighbours that ends with the i-th."""
    length = np.array([need.length for need in needs], dtype=np.float64)
    end = length + np.array([need.left for need in needs])
    square = end * end
    found = np.empty((rows, len(needs)))
    m, last, ends, squares = length, end, end, square
    for more in range(rows):
        if more:  # one more row before each wave
            first = slice(0, len(needs) - more)
            m, last = np.minimum(m[1:], length[first]), np.maximum(last[1:], end[first])
            ends, squares = ends[1:] + end[first], squares[1:] + square[first]
        found[more, more:] = _seconds(cost, prefix, more + 1, m, last, ends, squares)
    return np.ascontiguousarray(found.T)


def expected(left: int, ending: float) -> float:
    """How many tokens a row makes that may make `left` more and ends by itself at each with probability `ending`."""
    if ending <= 0:
        return float(left)
    survive: float = (1 - ending) ** left
    return (1 - survive) / ending
