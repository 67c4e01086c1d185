"""Signals that end a command."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable


def cancel_on_signals() -> None:
    """Cancel the running task on SIGINT, SIGTERM and SIGHUP, but for those that our caller has us ignore: what runs
    under nohup is meant to outlive its terminal."""
    task = asyncio.current_task()
    if task is not None:
        on_signals(task.cancel)


def on_signals(act: Callable[[], object]) -> None:
    """Have `act` called on each of these signals instead."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, act)
