"""The event loop of a command: nothing that goes wrong beside the work is waited for in vain."""

import asyncio

import pytest

from phitui.cli import loop
from phitui.core.errors import UsageError
from phitui.core.tasks import start_task


async def failing(error):
    raise error


async def waiting(beside):
    """What waits for the outcome of a task that has failed."""
    kept = beside()
    try:
        await asyncio.Event().wait()
    finally:
        del kept


@pytest.mark.parametrize("error", [UsageError("no text"), ValueError("a defect")])
def test_a_task_that_fails_ends_the_command_with_its_error(error):
    with pytest.raises(type(error), match=str(error)):
        loop.run(waiting(lambda: start_task(failing(error))))


def test_a_callback_that_fails_does_too():
    def raises():
        raise ValueError("in a callback")

    with pytest.raises(ValueError, match="in a callback"):
        loop.run(waiting(lambda: asyncio.get_running_loop().call_soon(raises)))


def test_what_the_work_gives_and_raises_comes_through():
    async def work():
        return 7

    assert loop.run(work()) == 7
    with pytest.raises(UsageError, match="its own"):
        loop.run(failing(UsageError("its own")))
