"""Signals that end a command."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until_signal(work: Awaitable[T]) -> T:
    """Do it; SIGINT, SIGTERM and SIGHUP cancel it, and KeyboardInterrupt is raised. Not those that our caller has us
    ignore: what runs under nohup is meant to outlive its terminal."""
    task = asyncio.current_task()
    if task is not None:
        on_signals(task.cancel)
    try:
        return await work
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def on_signals(act: Callable[[], object]) -> None:
    """Have `act` called on each of these signals."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, act)
