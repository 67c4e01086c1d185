"""What the driver only counts up: rates from two readings, and steps that cannot be."""

from __future__ import annotations

from typing import Any

from phitui.hardware.figures import WAITING, Missing


class Counter:
    """One counter of the driver, from reading to reading."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def rate(self, answer: Any, now: float) -> Any:
        """Counts per second since the reading before, or Missing. `now` is a monotonic time in seconds."""
        if isinstance(answer, Missing):
            return answer
        last, self._last = self._last, (answer, now)
        if last is None:
            return WAITING
        value, then = last
        if now <= then:
            return Missing("no time has passed since the reading before")
        if answer < value:
            return Missing("the driver's counter went backwards")
        return (answer - value) / (now - then)

    def total(self, answer: Any, now: float, fastest_per_s: float) -> Any:
        """`answer` itself, or Missing where the step since the reading before cannot be."""
        rate = self.rate(answer, now)
        if isinstance(rate, Missing):
            return answer if rate == WAITING else rate
        return answer if rate <= fastest_per_s else Missing("the driver's counter jumped")
