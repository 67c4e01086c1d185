"""From rows to waves: which rows run together, in which order, and when a wave is stopped to pool what is left. Pure.

A wave is one call of CTranslate2's generate_batch on one worker; it cannot be joined while it runs. Two things waste
its time: prompts of unlike length, whose ends are fed a token a step, and steps with few rows, which cost nearly as
much as full ones. Both can be had small at once, because a row's limit is known: rows are laid out in strips by one of
the two, each strip by the other, and cut into waves where that is cheapest. How many strips, and which way round, is
what the cost model says.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from phitui.engine.worker.batching.wave_cost import (
    NOMINAL,
    Need,
    WaveCost,
    WaveShape,
    cheapest_cuts,
    expected,
    shape,
    whole_s,
)

Policy = Literal["waves", "sorted", "in order"]
# Numbers of strips that are tried, as far as there are waves for them.
_STRIPS = (1, 2, 3, 4, 6, 8)
# Waves are laid out for so many rows at a time: more takes time from the engine's own callbacks.
WINDOW = 512
# Stopping must cost at most this share of going on. It is for rows that end by themselves: simulated, a card without it
# takes 5 to 26 % longer for them. Where limits are what ends rows, the waves were laid out by them, and survivors like
# these hardly come again: there it gained nothing.
_MARGIN = 0.75
# Before so many tokens were made, nothing is said of how often rows end by themselves.
_ENOUGH_TOKENS = 500


class Item(NamedTuple):
    """A row as the scheduler sees it. `length` tokens are to be read, at most `left` to be made. Rows of different
    `group` never run together; `prefix` tokens before `length` are cached already, the same for a whole group."""

    key: int
    length: int
    left: int
    group: Hashable = None
    prefix: int = 0


class Limits(NamedTuple):
    """`rows` of a wave at most; `fits` says whether a wave's memory is there."""

    rows: int
    fits: Callable[[WaveShape], bool]


class Scheduler:
    """The rows that wait, and the waves that are made of them. `cost` of None: nothing is stopped."""

    def __init__(self, policy: Policy, workers: int, cost: WaveCost | None) -> None:
        self._policy, self._workers = policy, workers
        self._pools = cost is not None and policy == "waves"
        self._cost = cost or NOMINAL
        self._waiting: dict[int, Item] = {}
        self._first: list[list[int]] = []
        self._plan: list[list[int]] = []
        self._too_large: set[int] = set()  # keys of rows that do not even fit alone, as things are
        self._tokens = self._ended = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, items: Iterable[Item]) -> None:
        """More rows, or rows that come back from a wave. They are laid out when the present waves have all begun."""
        self._waiting.update((item.key, item) for item in items)

    def first(self, items: Sequence[Item]) -> None:
        """These come back and are the next wave, just so: halves of one that failed."""
        if items:
            self.add(items)
            self._first.append([item.key for item in items])

    def learn(self, tokens: int, by_itself: bool) -> None:
        """A row is done after so many tokens here, by itself or at its limit."""
        self._tokens += tokens
        self._ended += by_itself

    @property
    def ending(self) -> float:
        """How likely a row ends by itself at a token: ends over tokens; 0 while little is known."""
        return self._ended / self._tokens if self._tokens >= _ENOUGH_TOKENS else 0.0

    def take(self, limits: Limits) -> list[Item]:
        """The next wave; its rows do not wait any more. Rows that do not even fit alone are passed over. Empty where no
        others wait."""
        self._look_again(limits)
        while keys := self._next(limits):
            wave = [item for key in keys if (item := self._waiting.get(key)) and key not in self._too_large]
            fitting = _fitting(wave, limits)
            if fitting:
                if fitting < len(wave):
                    self._plan = []
                return self._taken(wave[:fitting])
            self._too_large.update(item.key for item in wave[:1])
            if wave[1:]:
                self._plan.insert(0, [item.key for item in wave[1:]])
        return []

    def take_alone(self) -> list[Item]:
        """A row that does not fit, the one that has waited longest: where nothing else runs it may still go."""
        key = next((key for key in self._waiting if key in self._too_large), None)
        return [] if key is None else self._taken([self._waiting[key]])

    def _taken(self, wave: list[Item]) -> list[Item]:
        for item in wave:
            del self._waiting[item.key]
            self._too_large.discard(item.key)
        return wave

    def _look_again(self, limits: Limits) -> None:
        """There may be room by now for rows that did not fit."""
        waiting = [item for key in self._too_large if (item := self._waiting.get(key))]
        self._too_large = {item.key for item in waiting if not _fitting([item], limits)}

    def _next(self, limits: Limits) -> list[int]:
        if self._first:
            return self._first.pop(0)
        if not self._plan and len(self._too_large) < len(self._waiting):
            self._plan = self._lay_out(limits)
        return self._plan.pop(0) if self._plan else []

    def _lay_out(self, limits: Limits) -> list[list[int]]:
        """Waves of all that waits and fits (of the oldest `WINDOW` rows), the first one first."""
        groups: dict[Hashable, list[Item]] = {}
        for item in itertools.islice(self._fitting_alone(limits), WINDOW):
            groups.setdefault(item.group, []).append(item)
        waves = [wave for items in groups.values() for wave in self._layout_of(items, limits)]
        if self._policy == "waves":  # the longest first, so that no worker is left with a long one at the end
            waves.sort(key=self._seconds, reverse=True)
        elif self._policy == "sorted":
            waves.sort(key=lambda wave: wave[0].length, reverse=True)
        return [[item.key for item in wave] for wave in waves]

    def _fitting_alone(self, limits: Limits) -> Iterator[Item]:
        """Rows that wait, in the order in which they came; those that do not even fit alone are put aside."""
        for key, item in self._waiting.items():
            if key in self._too_large:
                continue
            if _fitting([item], limits):
                yield item
            else:
                self._too_large.add(key)

    def _layout_of(self, items: list[Item], limits: Limits) -> list[list[Item]]:
        if self._policy == "in order":
            return _full(items, limits)
        if self._policy == "sorted":
            return _full(sorted(items, key=_by_length), limits)
        rows = self._even(len(items), limits.rows)
        tried = []
        for strips in (strips for strips in _STRIPS if strips <= math.ceil(len(items) / rows)):
            for outer, inner in ((_by_left, _by_length), (_by_length, _by_end)):
                ordered = _in_strips(items, strips, rows, outer, inner)
                waves = cheapest_cuts(self._cost, self._needs(ordered), rows, ordered[0].prefix)
                tried.append(_cut(ordered, waves, limits))
        return min(tried, key=self._makespan)

    def _even(self, items: int, rows: int) -> int:
        """Rows of a wave: fewer than the most where there are too few for all workers."""
        return max(1, min(rows, math.ceil(items / self._workers)))

    def _seconds(self, wave: Sequence[Item]) -> float:
        return whole_s(self._cost, self._needs(wave), wave[0].prefix)

    def _makespan(self, waves: list[list[Item]]) -> float:
        """Seconds until all workers are done, when each takes the longest wave left."""
        busy = [0.0] * self._workers
        for seconds in sorted(map(self._seconds, waves), reverse=True):
            heapq.heapreplace(busy, busy[0] + seconds)
        return max(busy)

    def _needs(self, items: Sequence[Item]) -> list[Need]:
        return [Need(item.length, expected(item.left, self.ending)) for item in items]

    def should_stop(self, alive: Sequence[Item], rows: int) -> bool:
        """Whether to stop a wave of which these rows are alive, as they are now (`length` with what was made): pooled
        with rows that wait they cost less than going on alone. `rows` is the most of a wave."""
        if not self._pools or not alive or not self.ending:
            return False
        needs, prefix = self._needs(alive), alive[0].prefix
        go_on = whole_s(self._cost, needs, prefix) - self._cost.read_s(len(needs), min(n.length for n in needs))
        alike = min(rows // len(alive), 1 + len(self._waiting) // rows)
        return alike > 1 and whole_s(self._cost, needs * alike, prefix) / alike < _MARGIN * go_on


def _by_left(item: Item) -> tuple[int, int]:
    return -item.left, -item.length


def _by_length(item: Item) -> tuple[int, int]:
    return -item.length, -item.left


def _by_end(item: Item) -> tuple[int, int]:
    return -item.length - item.left, -item.length


_Order = Callable[[Item], tuple[int, int]]


def _in_strips(items: Sequence[Item], strips: int, rows: int, outer: _Order, inner: _Order) -> list[Item]:
    """All items: by `outer` in strips of as many whole waves each as can be, each strip by `inner`."""
    width = math.ceil(math.ceil(len(items) / rows) / strips) * rows
    ordered = sorted(items, key=outer)
    return [
        item for start in range(0, len(ordered), width) for item in sorted(ordered[start : start + width], key=inner)
    ]


def _full(items: Sequence[Item], limits: Limits) -> list[list[Item]]:
    """Waves of as many neighbours as there may be."""
    sizes = [min(limits.rows, len(items) - start) for start in range(0, len(items), limits.rows)]
    return _cut(items, sizes, limits)


def _cut(items: Sequence[Item], sizes: Sequence[int], limits: Limits) -> list[list[Item]]:
    """Waves of these sizes; one that does not fit into memory becomes several. A row that does not even fit alone is a
    wave alone."""
    waves, start = [], 0
    for size in sizes:
        stop = start + size
        while start < stop:
            taken = max(_fitting(items[start:stop], limits), 1)
            waves.append(list(items[start : start + taken]))
            start += taken
    return waves


def _fitting(wave: Sequence[Item], limits: Limits) -> int:
    """How many rows from the first on fit into memory together, if each makes all that it may."""

    def fits(count: int) -> bool:
        needs = [Need(item.length, item.left) for item in wave[:count]]
        return limits.fits(shape(needs, wave[0].prefix))

    if not wave or fits(len(wave)):
        return len(wave)
    low, high = 0, len(wave) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
