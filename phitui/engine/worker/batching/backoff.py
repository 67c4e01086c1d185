"""How long to wait after memory ran out: what another program takes for a moment must not cost rows."""

from __future__ import annotations

FIRST_S = 0.2
LONGEST_S = 5.0


class Backoff:
    """Each failure doubles the wait, up to `LONGEST_S`; what ends well takes it away. Times are of one clock, in
    seconds."""

    def __init__(self) -> None:
        self._next_s = FIRST_S
        self._until = 0.0

    def failed(self, now: float) -> float:
        """Memory ran out; returns the seconds to wait."""
        wait_s, self._next_s = self._next_s, min(2 * self._next_s, LONGEST_S)
        self._until = now + wait_s
        return wait_s

    def ended_well(self) -> None:
        self._next_s = FIRST_S

    def waits(self, now: float) -> bool:
        """Whether it is too early to try again."""
        return now < self._until
