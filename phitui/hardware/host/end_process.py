"""Ends a process that a person has chosen, and no other one that has its id by now."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, NamedTuple

from phitui.core.errors import PhituiError
from phitui.hardware.snapshot import Process

# psutil counts a start from a boot time that the kernel rounds and that moves when the clock is set.
_SAME_START_S = 2.0


class Target(NamedTuple):
    """A process by id and start. `seen` is psutil's handle, which knows its process again."""

    pid: int
    name: str
    user: str
    seen: Any


def choose(process: Process) -> Target:
    """The process as it is now. Raises PhituiError where it must not be ended, has ended, or is another one by now."""
    import psutil

    pid = process.pid
    if pid <= 1:
        raise PhituiError(f"process {pid} is the system's first one: it is not ended from here")
    if process.started is None:  # then nothing tells whether this id is that process here
        why = process.unavailable.get("started", "its start is not known")
        raise PhituiError(f"process {pid} is not ended from here: {why}")
    try:
        if pid == os.getpid() or pid in {parent.pid for parent in psutil.Process().parents()}:
            raise PhituiError(f"process {pid} is phitui itself, or what it runs in: it is not ended from here")
        seen = psutil.Process(pid)
        if abs(seen.create_time() - process.started) > _SAME_START_S:
            raise PhituiError(f"process {pid} is not the one that was listed: another process has its id now")
        return Target(pid, seen.name(), _user(seen), seen)
    except psutil.NoSuchProcess as error:
        raise _gone(pid) from error
    except psutil.Error as error:
        raise PhituiError(f"process {pid} cannot be read: {type(error).__name__}") from error


def send(target: Target, number: signal.Signals) -> None:
    """Send the signal to just this process. Raises PhituiError: it has ended, or is not ours to end."""
    try:
        descriptor = os.pidfd_open(target.pid)
    except ProcessLookupError as error:
        raise _gone(target.pid) from error
    except (AttributeError, OSError) as error:
        raise PhituiError(f"process {target.pid}: this system cannot signal one process safely: {error}") from error
    try:
        if not target.seen.is_running():  # the id may be another's; from here on the descriptor stands for this one
            raise _gone(target.pid)
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError as error:
        raise _gone(target.pid) from error
    except PermissionError as error:
        raise PhituiError(f"no permission to end process {target.pid} ({target.name}) of {target.user}") from error
    finally:
        os.close(descriptor)


def ended(target: Target, wait_s: float = 0.0) -> bool:
    """Whether it has ended, after at most `wait_s` seconds. A zombie has: only its parent has not looked."""
    import psutil

    deadline = time.monotonic() + wait_s
    while True:
        try:
            if not target.seen.is_running() or target.seen.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.Error:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)


def _user(seen: Any) -> str:
    import psutil

    try:
        return str(seen.username())
    except (psutil.Error, KeyError):
        return "another user"


def _gone(pid: int) -> PhituiError:
    return PhituiError(f"process {pid} has ended")
