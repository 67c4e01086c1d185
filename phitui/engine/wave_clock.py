"""The engine's clock while waves run: pulses for the gauges, from the times that callbacks took anyway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from phitui.engine.api import Pulse
from phitui.engine.step_clock import INTERVAL_S
from phitui.engine.wave import Wave


class WaveClock:
    """Pulses of waves that run side by side: seconds are the mean over the waves, rows those of all together, so that
    rows × steps are the tokens that were made. Times are readings of `time.perf_counter()` in seconds."""

    def __init__(self, now: float) -> None:
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._start = now
        self._counts: Counter[tuple[int, int]] = Counter()
        self._lengths = 0
        self._decode: dict[int, float] = {}
        self._prefill: dict[int, float] = {}

    def made(self, wave: Wave, index: int, at: float, length: int) -> None:
        """A row of a wave made a token, with so many in its cache before it."""
        number = id(wave)
        if wave.first_s is None:
            wave.first_s = at
            self._add(self._prefill, number, at - max(wave.begun, self._start))
        else:
            self._add(self._decode, number, at - max(wave.last_s, self._start))
            self._counts[number, index] += 1
            self._lengths += length
        wave.last_s = at

    def due(self, now: float) -> bool:
        """Whether it is time for a pulse."""
        return now - self._start >= INTERVAL_S

    def pulse(self, now: float, running: Iterable[Wave], queued: int, last: bool = False) -> Pulse:
        """What went on since the pulse before; a new window begins."""
        for wave in running:
            if wave.first_s is None:  # its prefill still runs
                self._add(self._prefill, id(wave), now - max(wave.begun, self._start))
        waves = max(len(self._decode.keys() | self._prefill.keys()), 1)
        steps: Counter[int] = Counter()
        for (wave_id, _), count in self._counts.items():
            steps[wave_id] = max(steps[wave_id], count)
        tokens = sum(self._counts.values())
        mean = round(sum(steps.values()) / max(len(steps), 1))
        pulse = Pulse(
            window_s=now - self._start,
            steps=mean,
            decode_s=sum(self._decode.values()) / max(len(steps), 1),
            prefill_s=sum(self._prefill.values()) / waves,
            tokenize_s=0.0,
            rows=max(round(tokens / mean), 1) if mean else 1,
            context_tokens=self._lengths / tokens if tokens else None,
            queued=queued,
            last=last,
        )
        self._begin(now)
        return pulse

    @staticmethod
    def _add(where: dict[int, float], number: int, seconds: float) -> None:
        where[number] = where.get(number, 0.0) + max(seconds, 0.0)
