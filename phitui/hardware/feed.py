"""Hands snapshots from the sampler's thread on to others: each one to a listener, or the newest to who asks for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from phitui.hardware.snapshot import Snapshot

# More than can come in before the first frame; a listener that never comes must not fill the memory.
_MOST_WAITING = 64


class SnapshotFeed:
    """`put` from any thread; `listen` once, with what takes each snapshot (in the thread that puts it)."""

    def __init__(self) -> None:
        self._waiting: deque[Snapshot] = deque(maxlen=_MOST_WAITING)
        self._listener: Callable[[Snapshot], None] | None = None
        self._turn = threading.Lock()  # so that none comes in between "nobody listens" and the keeping of it

    def put(self, snapshot: Snapshot) -> None:
        """Hand a snapshot on, or keep it for the listener to come."""
        with self._turn:
            listener = self._listener
            if listener is None:
                self._waiting.append(snapshot)
        if listener is not None:
            listener(snapshot)

    def listen(self, listener: Callable[[Snapshot], None]) -> list[Snapshot]:
        """From now on every snapshot goes to `listener`; returns those that came before."""
        with self._turn:
            self._listener = listener
            waiting = list(self._waiting)
            self._waiting.clear()
        return waiting


class Newest:
    """`put` from one thread, `get` from another, which may be slower: what it had no time for is dropped."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._changed = threading.Condition()

    def put(self, snapshot: Snapshot) -> None:
        """Take the place of the one before."""
        with self._changed:
            self._snapshot = snapshot
            self._changed.notify()

    def get(self) -> Snapshot:
        """The newest one that has not been taken yet; waits until there is one."""
        with self._changed:
            while self._snapshot is None:
                self._changed.wait()
            snapshot, self._snapshot = self._snapshot, None
        return snapshot
