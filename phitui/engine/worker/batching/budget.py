"""How many rows the memory has room for: a budget that follows what is free."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from phitui.autotune.memory import Shape
from phitui.core.errors import UnavailableError
from phitui.engine.worker.batching.wave_cost import WaveShape
from phitui.engine.worker.loading import Model
from phitui.engine.worker.memory_model import memory_model
from phitui.engine.worker.meter import Meter

# Of the memory that is there so much may be used: the model of it is good to some percent.
_SHARE = 0.93
_LOWER = 0.9


class Budget:
    """Tokens of KV cache over all rows that run at once, and bytes for all that they need. Make it while nothing runs.

    `asked` of 0: as many tokens as memory has room for. Each worker has its share. Where free memory cannot be known
    only the tokens count. The engine keeps `kept` tokens of prefixes. `rest` is what it holds at rest without them,
    where that is known: measuring it gives all free memory back, and the steps after it take 0.2 s of page faults on
    a CPU to have it again.
    """

    def __init__(self, model: Model, meter: Meter, asked: int, kept: int = 0, rest: int | None = None) -> None:
        self._meter = meter
        self._workers = model.loaded.workers
        loaded = model.loaded
        whole = memory_model(model.manifest, loaded.compute_type, self._workers, loaded.device)
        self._rotary = whole.rotary(model.manifest.context_window)
        self._model = replace(whole, workers=1)  # a wave is one worker's
        self._kept = kept * self._model.kv_token_bytes
        self.rest = rest
        if rest is None:
            with contextlib.suppress(UnavailableError):
                self.rest = meter.rest() - self._kept
        self._asked = asked
        self._most: int | None = None
        self.read()

    def read(self) -> None:
        """Look at free memory again."""
        self._room = self._free()
        tokens = None if self._room is None else self._room // self._model.kv_token_bytes
        known = [number for number in (self._asked or tokens, self._most) if number is not None]
        self.kv_tokens = max(min(known), 1) if known else 0

    def _free(self) -> int | None:
        """Bytes for rows; the tables of positions, which stay, may not be there yet."""
        if self.rest is None:
            return None
        try:
            return max(int(_SHARE * self._meter.usable()) - self.rest - self._kept - self._rotary, 0)
        except UnavailableError:
            return None

    def lower(self, ran: Sequence[WaveShape]) -> None:
        """After memory ran out while these waves ran: 10 % less than what was allowed, or than all of them together."""
        tried = sum(shape.peak_tokens for shape in ran)
        before = min(self.kv_tokens, tried) if self.kv_tokens else tried
        self._most = max(int(_LOWER * before), 1)
        self.read()

    def raise_again(self) -> None:
        """A wave has run to its end: after memory ran out a tenth more may be tried, up to what was allowed before."""
        if self._most is not None:
            self._most += max(self._most // 10, 1)

    def fits(self, running: Sequence[WaveShape]) -> Callable[[WaveShape], bool]:
        """Whether a wave fits into a worker's share of what there is now, and into what the running ones leave."""
        tokens, room, workers = self.kv_tokens, self._room, self._workers
        most_tokens = min(tokens // workers, tokens - sum(shape.peak_tokens for shape in running))
        most_bytes = 0 if room is None else min(room // workers, room - sum(map(self.bytes_of, running)))

        def check(shape: WaveShape) -> bool:
            if tokens and shape.peak_tokens > most_tokens:
                return False
            return room is None or self.bytes_of(shape) <= most_bytes

        return check

    def bytes_of(self, shape: WaveShape) -> int:
        """The peak of a wave: of its prefill or of its decode."""
        model, rows = self._model, shape.rows
        reading = model.prefill(Shape(rows, shape.together + 1, 0))
        mean = max(shape.peak_tokens // rows, 1)
        return max(reading, model.decode(Shape(rows, mean, 1)))
