"""The engine's pulses of the last minute, and what they say of decode, idling and tokenizing."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from phitui.engine.protocol.api import Pulse

# The engine's speed is a mean over its newest second; after this long without a pulse it does not decode.
_NEWEST_S = 1.0
_SILENT_S = 1.5
# What is said of idling and tokenizing is about so long, at most and at least.
LOOK_BACK_S = 60.0
_LEAST_LOOK_BACK_S = 30.0
_LEAST_WORK_S = 1.0


class Decode(NamedTuple):
    """The newest second of decode, or the newest step where one takes longer: steps per second of decode time, rows,
    tokens in the cache of a row (mean), the share of the engine's time that was decode, and the batches side by side
    that made the steps (mean)."""

    steps_per_s: float
    rows: int
    context_tokens: float
    share: float
    waves: float = 1.0

    @property
    def tokens_per_s(self) -> float:
        """Output tokens of all rows per second."""
        return self.steps_per_s * self.rows


class Pulses:
    """Pulses with the time they came at, in seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._pulses: deque[tuple[float, Pulse]] = deque()
        self._since = 0.0

    def begin(self, now: float) -> None:
        """An engine is ready: its time counts from here."""
        self._pulses.clear()
        self._since = now

    def note(self, now: float, pulse: Pulse) -> None:
        self._pulses.append((now, pulse))
        self._forget(now)

    @property
    def queued(self) -> int | None:
        """Requests that waited in the engine at the newest pulse."""
        return self._pulses[-1][1].queued if self._pulses else None

    def decode(self, now: float) -> Decode | None:
        """The newest second of decode; None while there is none."""
        if not self._pulses or now - self._pulses[-1][0] > _SILENT_S or self._pulses[-1][1].last:
            return None
        pulses = self._newest()
        steps, seconds = sum(pulse.steps for pulse in pulses), sum(pulse.decode_s for pulse in pulses)
        if not steps or seconds <= 0:
            return None
        lengths = sum((pulse.context_tokens or 0.0) * pulse.steps for pulse in pulses)
        share = min(seconds / sum(pulse.window_s for pulse in pulses), 1.0)
        rows = next(pulse.rows for pulse in pulses if pulse.steps)
        waves = sum(pulse.waves * pulse.steps for pulse in pulses) / steps
        return Decode(steps / seconds, rows, lengths / steps, share, waves)

    def _newest(self) -> list[Pulse]:
        """The pulses of the newest second, the newest first; where no step ended in it, back to the last one that did
        in this answer: a large model on a CPU takes longer for each."""
        since = self._pulses[-1][0] - _NEWEST_S
        pulses: list[Pulse] = []
        found = False
        for at, pulse in reversed(self._pulses):
            found = found or pulse.last
            if at <= since and found:
                break
            pulses.append(pulse)
            found = found or pulse.steps > 0
        return pulses

    def idle_share(self, now: float) -> float | None:
        """The share of the last minute in which the engine had nothing to do; None where it did nothing at all, or has
        not been there for half a minute."""
        self._forget(now)
        seconds = min(now - self._since, LOOK_BACK_S)
        if not self._pulses or seconds < _LEAST_LOOK_BACK_S:
            return None
        return max(0.0, 1.0 - self._work_s() / seconds)

    def tokenize_share(self, now: float) -> float | None:
        """The share of the engine's work in the last minute that was rendering and tokenizing; None where it worked
        for less than a second."""
        self._forget(now)
        work = self._work_s()
        return sum(pulse.tokenize_s for _, pulse in self._pulses) / work if work >= _LEAST_WORK_S else None

    def _work_s(self) -> float:
        return sum(pulse.window_s for _, pulse in self._pulses)

    def _forget(self, now: float) -> None:
        while self._pulses and self._pulses[0][0] < now - LOOK_BACK_S:
            self._pulses.popleft()
