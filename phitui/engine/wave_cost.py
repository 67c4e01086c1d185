"""What a wave costs: one call of generate_batch on one worker, predicted from the tuner's fits. Pure.

CTranslate2 reads the first min(length) − 1 tokens of all prompts together. The rest of longer prompts is fed one token
a decode step, and rows that end leave. So with m the shortest length, a row of length p that makes r tokens takes part
in p − m + r steps, and the wave has as many steps as its longest row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


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

    def steps_s(self, alive: int, cached: float, steps: float) -> float:
        """`steps` decode steps of `alive` rows that begin with `cached` tokens each."""
        per_step = self.fixed_s + alive * (self.row_s + self.token_s * (cached + steps / 2))
        return steps * per_step

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


class _Sums:
    """The cost of a wave in closed form, as rows join it. With m the shortest length and E = length + left, a row takes
    part in e = E − m steps, of c + e / 2 cached tokens in the mean, c = prefix + m − 1."""

    def __init__(self, cost: WaveCost, prefix: int) -> None:
        self._cost, self._prefix = cost, prefix
        self._rows, self._shortest = 0, 0
        self._last = self._ends = self._squares = 0.0

    def join(self, need: Need) -> float:
        """Seconds of the wave with this row in it."""
        end = need.length + need.left
        self._shortest = min(self._shortest, need.length) if self._rows else need.length
        self._rows += 1
        self._last = max(self._last, end)
        self._ends += end
        self._squares += end * end
        rows, m, cost = self._rows, self._shortest, self._cost
        steps = self._ends - rows * m
        halves = (self._squares - 2 * m * self._ends + rows * m * m) / 2
        decode = cost.row_s * steps + cost.token_s * (steps * (self._prefix + m - 1) + halves)
        return cost.call_s + cost.prefill_s * rows * (m - 1) + cost.fixed_s * (self._last - m) + decode


def whole_s(cost: WaveCost, needs: Sequence[Need], prefix: int = 0) -> float:
    """Seconds of a wave that runs until its last row has ended."""
    sums, seconds = _Sums(cost, prefix), 0.0
    for need in needs:
        seconds = sums.join(need)
    return seconds


def cheapest_cuts(cost: WaveCost, needs: Sequence[Need], rows: int, prefix: int = 0) -> list[int]:
    """Sizes of waves of neighbours, at most `rows` each, whose seconds are the least in all."""
    best, size = [0.0], [0]
    for stop in range(1, len(needs) + 1):
        sums, least, chosen = _Sums(cost, prefix), float("inf"), 1
        for start in range(stop - 1, max(stop - rows, 0) - 1, -1):
            seconds = best[start] + sums.join(needs[start])
            if seconds < least:
                least, chosen = seconds, stop - start
        best.append(least)
        size.append(chosen)
    sizes, at = [], len(needs)
    while at:
        sizes.append(size[at])
        at -= size[at]
    return sizes[::-1]


def expected(left: int, ending: float) -> float:
    """How many tokens a row makes that may make `left` more and ends by itself at each with probability `ending`."""
    if ending <= 0:
        return float(left)
    survive: float = (1 - ending) ** left
    return (1 - survive) / ending
