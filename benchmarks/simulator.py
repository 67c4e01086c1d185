"""What a policy would take, by the cost model: the real scheduler on workers that only count seconds. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from phitui.engine.worker.batching.scheduler import Item, Limits, Policy, Scheduler
from phitui.engine.worker.batching.wave_cost import WaveCost


class Work(NamedTuple):
    """A row to simulate: the scheduler sees `limit`, the row ends after `makes` tokens (at most `limit`)."""

    prompt: int
    limit: int
    makes: int


class Simulated(NamedTuple):
    """`seconds` until the last row is done, `waves` that ran, `stopped` of them before their rows had ended."""

    seconds: float
    tokens: int
    waves: int
    stopped: int

    @property
    def tokens_per_s(self) -> float:
        """Useful output tokens per second, prefill and waste included."""
        return self.tokens / self.seconds if self.seconds > 0 else 0.0


def simulate(work: Sequence[Work], policy: Policy, limits: Limits, workers: int, cost: WaveCost) -> Simulated:
    """Run all rows. Each is done exactly once: an AssertionError says that the scheduler has lost one."""
    return _Run(work, policy, limits, workers, cost).run()


def steps_s(cost: WaveCost, alive: int, cached: float, steps: float) -> float:
    """`steps` decode steps of `alive` rows that begin with `cached` tokens each."""
    return steps * (cost.fixed_s + alive * (cost.row_s + cost.token_s * (cached + steps / 2)))


class _Wave:
    """A wave on its way. `left` is what each row really makes still; steps count from the end of the prefill."""

    def __init__(self, items: list[Item], left: dict[int, int], begun: float, cost: WaveCost) -> None:
        self.items = items
        self._shortest = min(item.length for item in items)
        self._ends = {item.key: item.length - self._shortest + left[item.key] for item in items}
        self._cost = cost
        self.now = begun + cost.read_s(len(items), self._shortest)
        self._steps = 0

    def next_end(self) -> float:
        """When the next row ends."""
        steps = min(self._ends.values()) - self._steps
        cached = self.items[0].prefix + self._shortest - 1 + self._steps
        return self.now + steps_s(self._cost, len(self._ends), cached, steps)

    def advance(self) -> list[Item]:
        """Go on to there; the rows that have ended."""
        self.now, self._steps = self.next_end(), min(self._ends.values())
        done = [item for item in self.items if self._ends.get(item.key) == self._steps]
        for item in done:
            del self._ends[item.key]
        return done

    def alive(self) -> list[Item]:
        """The rows that go on, as they are now. One whose prompt has not been read to the end has made nothing."""
        made = {item.key: max(0, self._steps - (item.length - self._shortest)) for item in self.items}
        return [
            item._replace(length=item.length + made[item.key], left=item.left - made[item.key])
            for item in self.items
            if item.key in self._ends
        ]


class _Run:
    def __init__(self, work: Sequence[Work], policy: Policy, limits: Limits, workers: int, cost: WaveCost) -> None:
        self._work, self._limits, self._cost = work, limits, cost
        self._scheduler = Scheduler(policy, workers, cost)
        self._left = {key: one.makes for key, one in enumerate(work)}
        self._scheduler.add(Item(key, one.prompt, one.limit) for key, one in enumerate(work))
        self._idle = workers
        self._running: dict[int, _Wave] = {}
        self._events: list[tuple[float, int]] = []
        self._waves = self._stopped = 0

    def run(self) -> Simulated:
        now = 0.0
        self._fill(now)
        while self._events:
            now, number = heapq.heappop(self._events)
            wave = self._running.get(number)
            if wave is None:
                continue
            for item in wave.advance():
                one = self._work[item.key]
                self._scheduler.learn(one.makes, one.makes < one.limit)
                del self._left[item.key]
            self._after(number, wave)
            self._fill(now)
        assert not self._left and not len(self._scheduler), "rows were lost"
        return Simulated(now, sum(one.makes for one in self._work), self._waves, self._stopped)

    def _after(self, number: int, wave: _Wave) -> None:
        alive = wave.alive()
        if not alive:
            self._end(number)
        elif self._scheduler.should_stop(alive, self._limits.rows):
            self._stop(number, alive)
        else:
            heapq.heappush(self._events, (wave.next_end(), number))

    def _end(self, number: int) -> None:
        del self._running[number]
        self._idle += 1

    def _stop(self, number: int, alive: list[Item]) -> None:
        self._stopped += 1
        for item in alive:
            before = self._work[item.key].limit - item.left
            self._left[item.key] = self._work[item.key].makes - before
        self._scheduler.add(alive)
        self._end(number)

    def _fill(self, now: float) -> None:
        while self._idle and (items := self._scheduler.take(self._limits)):
            self._waves += 1
            self._idle -= 1
            wave = self._running[self._waves] = _Wave(items, self._left, now, self._cost)
            heapq.heappush(self._events, (wave.next_end(), self._waves))
