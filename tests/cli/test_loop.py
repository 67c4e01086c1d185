"""The event loop of a command: nothing that goes wrong beside the work is waited for in vain."""

import asyncio
import signal
import subprocess
import sys

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


WORK = """
import asyncio, os
from phitui.cli import loop

async def work():
    try:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), NUMBER)
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.01)
        print("tidied")

try:
    loop.run(work())
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_after_what_it_has_to_tidy_up(number):
    """In a process of its own: the limit of time for leaving begins with the signal."""
    code = WORK.replace("NUMBER", str(int(number)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.split(), done.stderr) == (["tidied", "interrupted"], "")


def test_a_failure_beside_work_that_makes_something_of_being_cancelled_is_told_too():
    async def work():
        kept = start_task(failing(ValueError("beside")))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            del kept
            return 130

    with pytest.raises(ValueError, match="beside"):
        loop.run(work())
