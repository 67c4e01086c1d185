"""Tasks of the event loop that are kept, and whose failures are not lost."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any


def start_task(work: Coroutine[Any, Any, None], name: str | None = None) -> asyncio.Task[None]:
    """Run `work` beside the caller, who keeps the task: asyncio itself has only a weak reference.

    What it raises goes to the event loop's exception handler at once, and not when the task is collected: whoever waits
    for its work would else wait for ever.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_raise_in_loop)
    return task


class Tasks:
    """The tasks of one owner that still run."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[asyncio.Task[None]]:
        return iter(list(self._running))

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """As `start_task`; the task is kept until it is over."""
        task = start_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task


def _raise_in_loop(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.result()
