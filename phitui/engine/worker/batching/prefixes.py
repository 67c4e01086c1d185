"""A common beginning of many prompts is read once: CTranslate2's `static_prompt`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

# Shorter ones are read as quickly as they are copied.
_LEAST = 16
# So many tokens must stand behind it in every prompt: with one alone, CTranslate2 would report longer prompts as made.
_BEHIND = 2
# CTranslate2 keeps every prefix until the model is unloaded: so many tokens of them at most, over all batches, and no
# more than this share of a batch's budget.
_MOST_TOKENS = 4096
_MOST_SHARE = 0.1


class Prefixes:
    """The prefixes that this process's model keeps."""

    def __init__(self) -> None:
        self._kept: set[tuple[str, ...]] = set()

    @property
    def tokens(self) -> int:
        """How many tokens of them the engine keeps."""
        return sum(map(len, self._kept))

    def forget(self) -> None:
        """The model was unloaded: none is kept."""
        self._kept.clear()

    def choose(self, prompts: Sequence[Sequence[str]], kv_tokens: int) -> list[str]:
        """The prefix to keep for these prompts: the one that spares most tokens, which is rows that begin with it × its
        length. None where what begins alike is short, are fewer than half of the rows, or would keep too much memory.
        """
        share = int(_MOST_SHARE * kv_tokens) if kv_tokens else _MOST_TOKENS
        room = min(_MOST_TOKENS, share) - self.tokens
        found = [_with(prefix, prompts) for prefix in self._kept] if room >= 0 else []
        found.append(best(prompts, room))
        rows, prefix = max(found, key=lambda one: one[0] * len(one[1]))
        if len(prefix) < _LEAST or rows < max(2, len(prompts) / 2):
            return []
        self._kept.add(tuple(prefix))
        return list(prefix)


def _with(prefix: tuple[str, ...], prompts: Sequence[Sequence[str]]) -> tuple[int, Sequence[str]]:
    """How many prompts can stand behind a prefix, and it."""
    least = len(prefix) + _BEHIND
    return sum(len(one) >= least and tuple(one[: len(prefix)]) == prefix for one in prompts), prefix


def best(prompts: Sequence[Sequence[str]], longest: int) -> tuple[int, Sequence[str]]:
    """Of all beginnings of at most `longest` tokens the one with the largest rows × length, of at least half of the
    prompts and short of the last tokens of each; with how many rows.

    Sorted, what can be shared of prompts that begin alike stands together, and all of some begin with what the least
    alike neighbours of them share: so it is the largest rectangle below those lengths.
    """
    ordered = sorted(tuple(one[: max(min(len(one) - _BEHIND, longest), 0)]) for one in prompts)
    shared = [_shared(one, other) for one, other in itertools.pairwise(ordered)]
    found: tuple[int, Sequence[str]] = (0, ())
    open_: list[tuple[int, int]] = []  # (first row, length) of beginnings that the row before had, the longest last
    for place, length in enumerate([*shared, 0]):
        first = place
        while open_ and open_[-1][1] >= length:
            first, before = open_.pop()
            rows = place + 1 - first
            if 2 * rows >= len(prompts) and rows * before > found[0] * len(found[1]):
                found = (rows, ordered[first][:before])
        open_.append((first, length))
    return found


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many tokens both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low
