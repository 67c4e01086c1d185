"""One call of generate_batch on its way: rows that run together on one of CTranslate2's workers."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from phitui.engine.worker.batching.live_row import LiveRow
from phitui.engine.worker.batching.wave_cost import WaveShape
from phitui.engine.worker.generation import sampling_options
from phitui.engine.worker.loading import Model

# Between the last token's callback and the call's own end there is next to nothing.
_SETTLE_S = 0.01


class Made(NamedTuple):
    """A token: of which wave and row, and time.perf_counter() when it was made."""

    wave: Wave
    row: int
    token_id: int
    at: float


class Wave:
    """A batch that runs. `made` gets its tokens; `nudge` is called once, when its last row has ended."""

    def __init__(self, rows: Sequence[LiveRow], shape: WaveShape, nudge: Callable[[], None]) -> None:
        self.rows = list(rows)
        self.shape = shape
        self.begun = time.perf_counter()
        self.first_s: float | None = None
        self.started: set[int] = set()  # rows that have made a token
        self.last_s = self.begun
        self.stopping = False
        self._nudge = nudge
        self._left = [row.left for row in rows]
        self._alive = len(self.rows)
        self._ended: set[int] = set()
        self._results: list[Any] = []
        self._made: queue.SimpleQueue[Made] | None = None

    def start(self, model: Model, prefix: list[str], made: queue.SimpleQueue[Made]) -> None:
        """Hand it to CTranslate2. Raises RuntimeError or ValueError where it is refused at once."""
        self._made = made
        options = sampling_options(self.rows[0].sampling, model.loaded.device)
        if prefix:
            options["static_prompt"] = prefix
        self._results = model.generator.generate_batch(
            [row.start_tokens() for row in self.rows],
            max_length=max(self._left),
            include_prompt_in_result=False,
            end_token=model.manifest.end_tokens,
            callback=self._on_token,
            asynchronous=True,
            **options,
        )

    def stop(self) -> None:
        """End all rows with their next token."""
        self.stopping = True

    def end_row(self, index: int) -> None:
        """End one row with its next token."""
        self._ended.add(index)

    def _on_token(self, step: Any) -> bool:
        """Runs on CTranslate2's thread, once per token. Returning True ends the row. Must never raise: that aborts the
        process."""
        try:
            index = step.batch_id
            if self._made is not None:
                self._made.put(Made(self, index, step.token_id, time.perf_counter()))
            self._left[index] -= 1
            over = self.stopping or self._left[index] <= 0 or index in self._ended
            if over or step.is_last:
                self._alive -= 1
                if not self._alive:
                    self._nudge()
            return over
        except BaseException:  # noqa: BLE001 - the row comes back as one that is not done
            return True

    def done(self) -> bool:
        """Whether the call has ended, well or not."""
        deadline = time.perf_counter() + (_SETTLE_S if not self._alive else 0.0)
        while not all(result.done() for result in self._results):
            if time.perf_counter() >= deadline:
                return False
            time.sleep(0.0005)
        return True

    def error(self) -> Exception | None:
        """What the call ended with; only for one that has ended."""
        try:
            for result in self._results:
                result.result()
        except Exception as error:  # noqa: BLE001 - whatever the engine raises, its rows are tried apart
            return error
        return None

    def alive(self) -> list[LiveRow]:
        """The rows that are not done."""
        return [row for row in self.rows if row.reason is None]
