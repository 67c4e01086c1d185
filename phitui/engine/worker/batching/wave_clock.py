"""The engine's clock while waves run: pulses for the gauges, from the times that callbacks took anyway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from phitui.engine.protocol.api import Pulse
from phitui.engine.worker.batching.wave import Wave
from phitui.engine.worker.step_clock import INTERVAL_S

# When a wave began and ended something, in seconds.
_Spans = dict[int, tuple[float, float]]


class WaveClock:
    """Pulses of waves that run side by side or one after the other. Decode time is that in which any of them decodes,
    and so many of them at once are its `waves`: rows × steps are the tokens that were made, waves × steps how often the
    weights were read. Times are readings of `time.perf_counter()` in seconds."""

    def __init__(self, now: float) -> None:
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._start = now
        self._counts: Counter[tuple[int, int]] = Counter()
        self._lengths = 0
        self._tokenize_s = 0.0
        self._decode: _Spans = {}
        self._prefill: _Spans = {}

    def tokenized(self, begun: float, now: float) -> None:
        """A new row was rendered and tokenized while no wave ran."""
        if not self.worked:  # until then there was nothing to do
            self._start = max(self._start, begun)
        self._tokenize_s += now - begun

    def made(self, wave: Wave, index: int, at: float, length: int) -> None:
        """A row of a wave made a token, with so many in its cache before it."""
        number = id(wave)
        if index not in wave.started:  # its prompt has been read with this token: that is no step
            wave.started.add(index)
            if wave.first_s is None:
                wave.first_s = at
            self._add(self._prefill, number, wave.begun, at)
        else:
            self._add(self._decode, number, wave.last_s, at)
            self._counts[number, index] += 1
            self._lengths += length
        wave.last_s = at

    def due(self, now: float) -> bool:
        """Whether it is time for a pulse."""
        return now - self._start >= INTERVAL_S

    @property
    def worked(self) -> bool:
        """Whether there is anything to tell since the pulse before."""
        return bool(self._decode or self._prefill or self._tokenize_s)

    def pulse(self, now: float, running: Iterable[Wave], queued: int, last: bool = False) -> Pulse:
        """What went on since the pulse before; a new window begins."""
        alive = 0
        for wave in running:
            alive += len(wave.alive())
            if wave.first_s is None:  # its prefill still runs
                self._add(self._prefill, id(wave), wave.begun, now)
        most: Counter[int] = Counter()
        for (wave_id, _), count in self._counts.items():
            most[wave_id] = max(most[wave_id], count)
        tokens, all_steps = sum(self._counts.values()), sum(most.values())
        decode_s = _covered(self._decode.values())
        at_once = sum(end - begin for begin, end in self._decode.values()) / decode_s if decode_s > 0 else 1.0
        steps = max(round(all_steps / at_once), 1) if all_steps else 0
        pulse = Pulse(
            window_s=now - self._start,
            steps=steps,
            decode_s=decode_s,
            prefill_s=_covered([*self._decode.values(), *self._prefill.values()]) - decode_s,
            tokenize_s=self._tokenize_s,
            rows=max(round(tokens / steps) if steps else alive, 1),
            context_tokens=self._lengths / tokens if tokens else None,
            queued=queued,
            last=last,
            waves=all_steps / steps if steps else 1.0,
        )
        self._begin(now)
        return pulse

    def _add(self, where: _Spans, number: int, begin: float, end: float) -> None:
        """Put it behind what this wave has there already: what a wave does goes on without a gap."""
        begin = max(begin, self._start)
        where[number] = (where[number][0] if number in where else begin, max(end, begin))


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds in which at least one of the spans is."""
    covered, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        covered += max(end - max(begin, reached), 0.0)
        reached = max(reached, end)
    return covered
