"""The engine's own clock: how its time went, and how many decode steps it made, a few times a second.

It reads the times that the token callback has taken anyway, on the thread that forwards text: nothing is added to a
decode step.
"""

from __future__ import annotations

from collections.abc import Sequence

from phitui.engine.protocol.api import Pulse

# Four a second are enough for gauges that are read once a second.
INTERVAL_S = 0.25


class StepClock:
    """The clock of one request. Times are readings of `time.perf_counter()` in seconds; `rows` is how many answers are
    being made, each step makes a token of each.

    A decode step is the gap between two tokens. The first token belongs to the prefill: it ends it.
    """

    def __init__(self, begun: float, rows: int = 1) -> None:
        self.rows = rows
        self._window_start = begun
        self._newest = begun  # up to here the time is accounted for
        self._prompt_tokens = 0
        self._tokens = 0
        self._tokenize_s = self._prefill_s = self._decode_s = 0.0
        self._steps = 0
        self._lengths = 0  # sum over the steps of the cache length

    def tokenized(self, now: float, prompt_tokens: int) -> None:
        """The prompt is tokens now; prefill begins."""
        self._tokenize_s += now - self._newest
        self._newest = now
        self._prompt_tokens = prompt_tokens

    def made(self, times: Sequence[float]) -> None:
        """Tokens, of several answers the first of each step, were made at these times, oldest first."""
        for made_at in times:
            gap, self._newest = made_at - self._newest, made_at
            self._tokens += 1
            if self._tokens == 1:
                self._prefill_s += gap
            else:
                self._decode_s += gap
                self._steps += 1
                # A step that makes token k has put token k - 1 into the cache, behind the prompt.
                self._lengths += self._prompt_tokens + self._tokens - 1

    def due(self, now: float) -> bool:
        """Whether it is time for a pulse."""
        return now - self._window_start >= INTERVAL_S

    def pulse(self, now: float, queued: int, last: bool = False) -> Pulse:
        """What went on since the pulse before; a new window begins. Call it after `tokenized`."""
        if self._tokens == 0 and now > self._newest:  # the prefill still runs
            self._prefill_s += now - self._newest
            self._newest = now
        pulse = Pulse(
            window_s=now - self._window_start,
            steps=self._steps,
            decode_s=self._decode_s,
            prefill_s=max(self._prefill_s, 0.0),  # a first token just before the pulse before takes some back
            tokenize_s=self._tokenize_s,
            rows=self.rows,
            context_tokens=self._lengths / self._steps if self._steps else None,
            queued=queued,
            last=last,
        )
        self._window_start = now
        self._tokenize_s = self._prefill_s = self._decode_s = 0.0
        self._steps = self._lengths = 0
        return pulse
