"""Finds the row that takes the engine along, among all that the engine had when it died.

One death says little: something else may have ended the process. Rows that were there at two deaths are run apart from
the others, in halves of halves. The one that the engine dies of twice at the same place, alone, is given up.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence

_SUSPECT_AT = 2
_CONVICTED_AT = 2


class PoisonRows:
    """Keys of rows, by how often the engine died while it had them."""

    def __init__(self) -> None:
        self._deaths: Counter[int] = Counter()
        self._alone: Counter[int] = Counter()
        self._groups: deque[list[int]] = deque()

    @property
    def narrowing(self) -> bool:
        """Whether some rows are to be run apart."""
        return bool(self._groups)

    def died(self, keys: Sequence[int], apart: bool) -> list[int]:
        """The engine died with these rows, which were run `apart` or not; returns those that are to be given up."""
        if not apart:
            self._deaths.update(keys)
            found = [key for key in keys if self._deaths[key] >= _SUSPECT_AT]
            if found:
                self._groups.append(found)
            return []
        if len(keys) == 1:
            self._alone.update(keys)
            if self._alone[keys[0]] >= _CONVICTED_AT:
                return list(keys)
            self._groups.appendleft(list(keys))
        elif keys:
            half = len(keys) // 2
            self._groups.extendleft([list(keys[half:]), list(keys[:half])])
        return []

    def got_on(self, key: int) -> None:
        """Tokens of a row have come: whatever the engine dies of next, it is not at the same place."""
        self._alone.pop(key, None)

    def closed(self, key: int) -> None:
        """A row is done or given up."""
        self._deaths.pop(key, None)
        self._alone.pop(key, None)

    def next_group(self, is_open: Callable[[int], bool]) -> list[int] | None:
        """Rows to be run apart now; None where there are none."""
        while self._groups:
            group = [key for key in self._groups.popleft() if is_open(key)]
            if group:
                return group
        return None
