"""A card that answers probes: a memory and a time model of its own, with noise, tiles, spills and other programs."""

from __future__ import annotations

import random
from dataclasses import dataclass

from phitui.autotune.answer import Knowledge, TuneAnswer
from phitui.autotune.memory import MemoryModel, Shape
from phitui.autotune.probes import Goal, Outcome, Probe
from phitui.autotune.search import Search, confirm, explore

PHI3 = MemoryModel(32, 32, 3072, 3072, 8192, 32064, 96, 2, int8=True)
PHI3_WEIGHTS = 3_825_598_976
GB = 10**9


@dataclass
class Card:
    """`limit_share` of what others leave may be used. With `spills` memory above the total slows steps down instead of
    ending in an OOM. A probe takes up to the share `fragments` more than its need, by holes: as much more for each run
    of one shape. `knowingly` are the probes predicted above the limit that the search had been told, unless a run of
    the same shape had kept it."""

    seed: int
    total_bytes: int = 24 * GB
    limit_share: float = 0.95
    scale: float = 1.0
    memory_noise: float = 0.0
    time_noise: float = 0.0
    others_bytes: int = 0
    others_move: int = 0
    tile: int = 1
    fixed_s: float = 5e-3
    row_s: float = 1e-4
    token_s: float = 4e-7
    prefill_token_s: float = 5e-5
    spills: bool = False
    slow_from: int | None = None
    hump: range = range(0)
    fragments: float = 0.0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.rest_bytes = PHI3_WEIGHTS + 450_000_000
        self.probes: list[Probe] = []
        self.over: list[Probe] = []
        self.knowingly: list[Probe] = []
        self._told, self._kept = self.limit_bytes, dict[Shape, int]()
        self.seconds = 0.0

    @property
    def searched(self) -> int:
        """Probes without the repetitions."""
        return sum(not probe.again for probe in self.probes)

    @property
    def limit_bytes(self) -> int:
        return int(self.limit_share * (self.total_bytes - self.others_bytes))

    def true_peak(self, shape: Shape) -> float:
        holes = random.Random(f"{self.seed} {shape}").uniform(0, self.fragments)
        return self.rest_bytes + self.scale * (1 + holes) * PHI3.peak(shape)

    def step_s(self, batch: int, cached: float) -> float:
        rows = -(-batch // self.tile) * self.tile
        step = self.fixed_s + rows * (self.row_s + self.token_s * cached)
        step *= 0.9 if batch in self.hump else 1.0
        return step * (2.0 if self.slow_from is not None and batch >= self.slow_from else 1.0)

    def fits(self, shape: Shape, slack: float = 0.0) -> bool:
        return self.true_peak(shape) * (1 - slack) <= self.total_bytes - self.others_bytes

    def run(self, probe: Probe) -> Outcome:
        self.probes.append(probe)
        if self._kept.get(probe.shape, probe.predicted_bytes) > self._told:
            self.knowingly.append(probe)
        if self.others_move:
            self.others_bytes = max(0, self.others_bytes + self.random.randint(-self.others_move, self.others_move))
        shape, limit = probe.shape, self.limit_bytes
        self._told = limit
        used = self.true_peak(shape) * (1 + abs(self.random.gauss(0, self.memory_noise)))
        if used > limit:
            self.over.append(probe)
        slow = 1.0
        if used > self.total_bytes - self.others_bytes:
            if not self.spills:
                self.seconds += 2.0
                return Outcome("oom", limit, seconds=2.0, detail="CUDA failed with error out of memory")
            slow, used = 5.0, float(self.total_bytes - self.others_bytes)
        self._kept[shape] = max(int(used), self._kept.get(shape, 0))
        noise = 1 + self.random.gauss(0, self.time_noise)
        step = max(1e-6, self.step_s(shape.batch, shape.prompt + shape.new / 2) * slow * noise)
        prefill = self.prefill_token_s * shape.batch * shape.prompt * slow
        seconds = prefill + shape.new * step
        self.seconds += seconds
        return Outcome("ok", limit, int(used), step, step * 1.1, prefill, seconds)


def search(goal: Goal, model: MemoryModel, rest_bytes: int, limit_bytes: int) -> Search:
    """A whole one: what decides runs again at its end."""
    know = Knowledge(goal, model, rest_bytes, limit_bytes)
    yield from explore(know)
    return (yield from confirm(know))


def solve(card: Card, goal: Goal) -> TuneAnswer:
    """Run the search on the card."""
    return drive(card, search(goal, PHI3, card.rest_bytes, card.limit_bytes))


def drive(card: Card, asked: Search) -> TuneAnswer:
    """Answer a search's probes."""
    try:
        probe = next(asked)
        while True:
            probe = asked.send(card.run(probe))
    except StopIteration as end:
        answer: TuneAnswer = end.value
        return answer


def sweep(card: Card, goal: Goal) -> tuple[int, int, dict[int, float]]:
    """The truth: the largest batch within the limit, the best one, and the throughput of each."""
    rates: dict[int, float] = {}
    for batch in range(1, goal.most + 1):
        if card.true_peak(goal.shape(batch)) > card.limit_bytes:
            break
        depth = goal.prompt_tokens + goal.new_tokens / 2
        prefill = card.prefill_token_s * batch * goal.prompt_tokens
        rates[batch] = batch * goal.new_tokens / (prefill + goal.new_tokens * card.step_s(batch, depth))
    best = max(rates, key=lambda size: rates[size])
    return max(rates), best, rates
