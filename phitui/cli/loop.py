"""The event loop of a command."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run. What a task or a callback beside `work` raises ends `work` and is raised here: whoever waits for
    that task's outcome would else wait for ever."""
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
    try:
        return await task
    except BaseException:
        if failed:
            raise failed[0] from None
        raise
