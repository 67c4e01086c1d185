"""The heights of thousands of items, with the sum of any first ones at hand: scrolling asks for it several times a
frame."""

from __future__ import annotations

from collections.abc import Iterable

_BLOCK = 128


class Heights:
    """A list of heights in lines, with a sum for each block of them: a change costs one block, a question some dozens
    of additions, where a plain list would cost thousands."""

    def __init__(self) -> None:
        self._all: list[int] = []
        self._blocks: list[int] = []

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, index: int) -> int:
        return self._all[index]

    def __setitem__(self, index: int, height: int) -> None:
        self._blocks[index // _BLOCK] += height - self._all[index]
        self._all[index] = height

    def replace_from(self, start: int, heights: Iterable[int]) -> None:
        """These in the place of all from `start` on."""
        self._all[start:] = heights
        whole = start // _BLOCK
        self._blocks[whole:] = [
            sum(self._all[at : at + _BLOCK]) for at in range(whole * _BLOCK, len(self._all), _BLOCK)
        ]

    def above(self, index: int) -> int:
        """Of all before an item together."""
        block = index // _BLOCK
        return sum(self._blocks[:block]) + sum(self._all[block * _BLOCK : index])

    def between(self, first: int, end: int) -> int:
        """Of the items from `first` to before `end`."""
        return self.above(end) - self.above(first)

    @property
    def total(self) -> int:
        """Of all."""
        return sum(self._blocks)

    def index_at(self, y: float) -> int:
        """The item that stands `y` lines below the top of the first; the last where there is none so far down."""
        top = 0
        for block, height in enumerate(self._blocks):
            if top + height > y:
                for index in range(block * _BLOCK, min((block + 1) * _BLOCK, len(self._all))):
                    top += self._all[index]
                    if top > y:
                        return index
            top += height
        return max(len(self._all) - 1, 0)
