"""Waiting for what comes on its own time: on the event loop, in a thread, or in an application under a pilot."""

import asyncio
import time

# Machines that others use, too, are slow at times; what comes comes in a fraction of it.
LONG_S = 60


async def until(condition, timeout_s=LONG_S, every_s=0.01):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(every_s)


def until_in_thread(condition, timeout_s=LONG_S):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


async def until_shown(pilot, condition, timeout_s=LONG_S):
    """The application has handled its messages each time before it is looked, and its screen has its widgets: one that
    was just opened has them a little later."""
    deadline = time.monotonic() + timeout_s
    while not (condition() and pilot.app.screen.is_mounted):
        assert time.monotonic() < deadline, "it did not come"
        await pilot.pause(0.02)
