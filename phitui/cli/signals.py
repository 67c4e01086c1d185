"""Signals that end a command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from phitui.core.errors import ExitCode
from phitui.core.leaving import heeding

T = TypeVar("T")


async def until_signal(work: Awaitable[T]) -> T:
    """Do it; SIGINT, SIGTERM and SIGHUP cancel it, and KeyboardInterrupt is raised."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("there is no task that a signal could cancel")
    with signals_calling(task.cancel):
        try:
            return await work
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


def signals_calling(act: Callable[[], object], every: bool = False) -> AbstractContextManager[None]:
    """While it is entered `act` is called in the event loop at the first of these signals, or at `every` one."""
    loop = asyncio.get_running_loop()
    return heeding(lambda _: loop.call_soon_threadsafe(act), int(ExitCode.INTERRUPTED), every)
