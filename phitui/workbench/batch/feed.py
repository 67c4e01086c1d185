"""What a batch needs of the engine, and what it waits for, in one queue: events of the engine, rows of the input, and
the passing of time."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from phitui.engine.protocol.api import Event, Row
from phitui.workbench.batch.request import Refusal, Request
from phitui.workbench.batch.source import RowSource

_TICK_S = 0.5
# The engine is sent rows in messages of this size, far below the limit of a frame.
_SEND_ROWS = 256
_SEND_CHARS = 4 * 1024 * 1024


class Tick(NamedTuple):
    """Time has passed."""


class Read(NamedTuple):
    """Rows of the input; none at its end."""

    rows: list[Request | Refusal]


Item = Event | Tick | Read


class BatchFeed:
    """The queue, with a task that reads the input as there is room, and one that ticks."""

    def __init__(self, source: RowSource) -> None:
        self._source = source
        self._queue: asyncio.Queue[Item | Exception] = asyncio.Queue()
        self._room = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._tick())]

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    def put(self, item: Item) -> None:
        self._queue.put_nowait(item)

    def go_on(self) -> None:
        """There is room for more rows."""
        self._room.set()

    @property
    def empty(self) -> bool:
        """Whether `next` would wait."""
        return self._queue.empty()

    async def next(self) -> Item:
        """Wait for the next item. Raises what reading the input has raised."""
        item = await self._queue.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def _read(self) -> None:
        try:
            while True:
                rows = await asyncio.to_thread(self._source.next)
                self._room.clear()
                self._queue.put_nowait(Read(rows))
                if not rows:
                    return
                await self._room.wait()
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits on the queue has to raise it
            self._queue.put_nowait(error)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._queue.put_nowait(Tick())


def chunks(rows: list[Row]) -> list[list[Row]]:
    """Rows in messages of a bounded size."""
    found: list[list[Row]] = []
    chars = 0
    for row in rows:
        size = sum(len(turn.content) for turn in row.turns)
        if not found or len(found[-1]) >= _SEND_ROWS or chars + size > _SEND_CHARS:
            found.append([])
            chars = 0
        found[-1].append(row)
        chars += size
    return found
