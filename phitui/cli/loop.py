"""The event loop of a command, and what ends it: the work's end, a signal, an error beside the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from phitui.core.errors import ExitCode
from phitui.core.leaving import heeding

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run. SIGINT, SIGTERM and SIGHUP cancel `work`, and KeyboardInterrupt is raised. What a task or a
    callback beside `work` raises ends it and is raised here: whoever waits for its outcome would else wait for ever."""
    return asyncio.run(_guarded(work))


async def _guarded(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.create_task(work)
    failed: list[BaseException] = []

    def heard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None:
            loop.default_exception_handler(context)
        elif not failed:
            failed.append(error)
            task.cancel()

    asyncio.get_running_loop().set_exception_handler(heard)
    with signals_calling(task.cancel):
        await asyncio.wait([task])
    if failed:  # whatever the work made of being cancelled for it
        raise failed[0]
    if task.cancelled():
        raise KeyboardInterrupt
    return task.result()


def signals_calling(act: Callable[[], object], every: bool = False) -> AbstractContextManager[None]:
    """While it is entered `act` is called in the event loop at the first of these signals, or at `every` one."""
    loop = asyncio.get_running_loop()
    return heeding(lambda _: loop.call_soon_threadsafe(act), int(ExitCode.INTERRUPTED), every)
