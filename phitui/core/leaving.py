"""The signals that end phitui, and how long ending may take, whatever blocks.

Python calls a signal's handler in the main thread, between two steps of its own: not while that thread is in a library,
and to no avail where it writes to a pipe that nobody reads. The system's part of it only writes the signal's number to
a pipe, which a thread reads here: that one keeps the limit.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

# Longer than a clean way out takes with an engine that has to be killed. The engine ends with this process.
LIMIT_S = 4.0
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Act = Callable[[int], object]


class _Handler:
    """`act` hears of the first signal only, unless it wants `every` one: what cleans up is not interrupted again."""

    begun = False  # of all of them: whether a signal has come

    def __init__(self, act: Act, status: int | None, every: bool) -> None:
        self._act = act
        self._status = status
        self._every = every
        self._heard = False

    def __call__(self, number: int, _frame: object) -> None:
        first, self._heard = not self._heard, True
        _Handler.begun = True
        if first or self._every:
            self._act(number)

    def leave(self, number: int) -> None:
        leave_within_limit(128 + number if self._status is None else self._status)


class _Watch:
    """The pipe and its thread, made with the first handler."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self.writing, False)
        threading.Thread(target=self._run, name="phitui-signals", daemon=True).start()

    def _run(self) -> None:
        while True:
            for number in os.read(self._reading, 64):
                handler = signal.getsignal(number)
                if isinstance(handler, _Handler):  # and not an editor's, whose ^c is not ours
                    handler.leave(number)


_watches: list[_Watch] = []


def heed(
    act: Act, numbers: tuple[int, ...] = ENDING, status: int | None = None, every: bool = False
) -> dict[int, object]:
    """From here on have `act` called with the signal's number at the first of these signals, or at `every` one; after
    LIMIT_S the process ends with `status`, else with 128 + number. Returns the handlers that were there.

    Those that our caller has us ignore stay so: what runs under nohup is meant to outlive its terminal. For the main
    thread.
    """
    if not _watches:
        _watches.append(_Watch())
    signal.set_wakeup_fd(_watches[0].writing, warn_on_full_buffer=False)
    handler = _Handler(act, status, every)
    heeded = (number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN)
    return {number: signal.signal(number, handler) for number in heeded}


@contextlib.contextmanager
def heeding(act: Act, status: int | None = None, every: bool = False) -> Iterator[None]:
    """As `heed`, while the block runs."""
    before = heed(act, status=status, every=every)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


def is_leaving() -> bool:
    """Whether a signal has come."""
    return _Handler.begun


def leave_within_limit(status: int) -> None:
    """End the process with `status` once the limit is over, if it is still there. From any thread."""
    timer = threading.Timer(LIMIT_S, os._exit, (status,))
    timer.daemon = True
    timer.start()
