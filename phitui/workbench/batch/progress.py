"""How far a batch is: figures for the command line and the screen. docs/METRICS.md defines them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

# The rate is of the tokens that came within this time.
WINDOW_S = 15.0
_LEAST_S = 1.0
# Tokens that come within this time are one mark: rows may end a thousand times a second.
_MARK_S = 0.1


@dataclass
class BatchProgress:
    """`rows` is None where the input can be read but once. `before` are rows that an earlier run has done; `open` are
    read and not yet written; `alive` make tokens now; `reasons` are those of the first failures. `uncounted` answers
    have tokens that a server did not count: there is no rate then."""

    rows: int | None = None
    before: int = 0
    done: int = 0
    failed: int = 0
    open: int = 0
    alive: int = 0
    tokens: int = 0
    kv_tokens: int = 0
    deaths: int = 0
    uncounted: int = 0
    note: str = ""
    ended: str = ""
    reasons: list[str] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic
    _begun: float | None = None
    _stopped: float | None = None
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def begin(self) -> None:
        """The engine is loaded and the first rows are on their way."""
        self._begun = self.clock()

    def end(self, how: str) -> None:
        self._stopped, self.ended, self.alive = self.clock(), how, 0

    def add_tokens(self, count: int) -> None:
        """So many tokens came in."""
        now = self.clock()
        self.tokens += count
        if self._marks and now - self._marks[-1][0] < _MARK_S:
            at, before = self._marks[-1]
            self._marks[-1] = (at, before + count)
            return
        self._marks.append((now, count))
        while self._marks and self._marks[0][0] < now - WINDOW_S:
            self._marks.popleft()

    @property
    def seconds(self) -> float:
        """Since the first rows were sent."""
        return 0.0 if self._begun is None else (self._stopped or self.clock()) - self._begun

    @property
    def tokens_per_s(self) -> float | None:
        """Over the last WINDOW_S; None in the first second."""
        if self.uncounted:
            return None
        span = min(WINDOW_S, self.seconds)
        if span < _LEAST_S or self._stopped:
            return self.mean_tokens_per_s
        since = self.clock() - span
        return sum(count for at, count in self._marks if at >= since) / span

    @property
    def mean_tokens_per_s(self) -> float | None:
        """Over the whole run; None before there was a second of it, unless it ended."""
        enough = self.seconds >= _LEAST_S or (self._stopped and self.seconds > 0)
        return self.tokens / self.seconds if enough and not self.uncounted else None

    @property
    def eta_s(self) -> float | None:
        """Seconds left, should the rows that are left take as long as those of this run; None where that is not
        known."""
        own = self.done - self.before
        if self.rows is None or own < 1 or self.seconds < _LEAST_S:
            return None
        return (self.rows - self.done) * self.seconds / own


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
