"""Runs a batch of rows on the real engine: the scheduler's waves, tokens back from them, and what goes wrong.

All of it is on the worker's main thread, in short ticks: CTranslate2 computes on threads of its own.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from phitui.core.errors import PhituiError
from phitui.core.ipc.messages import Failure
from phitui.engine.protocol.api import BatchEnded, BatchState, OpenBatch, Row, RowFailed, RowsMade
from phitui.engine.worker.batching.backoff import Backoff
from phitui.engine.worker.batching.budget import Budget
from phitui.engine.worker.batching.live_row import LiveRow
from phitui.engine.worker.batching.prefixes import Prefixes
from phitui.engine.worker.batching.scheduler import Item, Limits, Scheduler
from phitui.engine.worker.batching.wave import Made, Wave
from phitui.engine.worker.batching.wave_clock import WaveClock
from phitui.engine.worker.batching.wave_cost import Need, WaveCost, WaveShape, shape
from phitui.engine.worker.loading import Model, is_out_of_memory
from phitui.engine.worker.recovery import recover

# How often tokens and the state of the batch are sent.
_REPORT_S = 0.5
# Tokenizing new rows must not keep tokens waiting.
_INTAKE_S = 0.05
# Without `last` and without enough rows for full batches, the engine begins this long after the newest rows came.
_QUIET_S = 0.5
# Rows of a wave where neither the sender nor the tuner has said how many.
_ROWS = 256
# How often a row may come back from a call that said nothing and made nothing.
_STALLS = 3


class BatchRun:
    """A batch on its way. `budget` is made when it begins, while nothing runs. `reserved` workers are left to prompts;
    `cancelled` and `leaving` may be set from another thread."""

    def __init__(
        self,
        model: Model,
        request: OpenBatch,
        send: Callable[[Any], None],
        nudge: Callable[[], None],
        budget: Callable[[], Budget],
        prefixes: Prefixes,
    ) -> None:
        self.id = request.id
        self.cancelled = self.leaving = False
        self.reserved = 0
        self.over = False
        self.waves: list[Wave] = []
        self._model, self._send, self._nudge = model, send, nudge
        self._make_budget, self._prefixes = budget, prefixes
        self._workers = model.loaded.workers
        self._asked = request.batch
        self._seeded = request.seed is not None
        self._scheduler = Scheduler(request.policy, self._workers, _cost(request, self._workers))
        self._new: deque[Row] = deque()
        self._rows: dict[int, LiveRow] = {}
        self._prefix: list[str] | None = None
        self._last, self._newest = False, 0.0
        self._made: queue.SimpleQueue[Made] = queue.SimpleQueue()
        self._failed: list[tuple[Wave, Exception]] = []
        self._ran: list[WaveShape] = []  # the waves that ran when the first of those failed
        self._ended: list[LiveRow] = []  # rows that are done and not told of
        self._backoff = Backoff()
        self._tokens = self._begun = self._stopped = 0
        self._reported = time.perf_counter()
        self._clock = WaveClock(self._reported)

    @cached_property
    def _budget(self) -> Budget:
        return self._make_budget()

    def add(self, rows: Sequence[Row], last: bool) -> None:
        """More rows; with `last` no more come."""
        self._new.extend(rows)
        self._last = self._last or last
        self._newest = time.perf_counter()

    def tick(self, beside: bool = False) -> None:
        """Do what is to be done now; returns soon. With `beside` a prompt is answered by another worker: then what
        needs the whole engine waits. Raises EngineLostError where only a new process helps; tokens have been sent.
        """
        if self.over:
            return
        self._collect()
        for wave in [wave for wave in self.waves if wave.done()]:
            self._collect()
            self._finish(wave)
        if self.cancelled:
            self._cancel()
        else:
            if self._failed and not beside:
                self._mend()
            self._judge()
            self._take_in()
            if not self._failed and not self.leaving:
                self._fill()
            self._tell_ended()
            self._end_if_empty()
        self._report()

    @property
    def _busy(self) -> bool:
        """Whether there is work to be done soon: else it waits for rows."""
        return bool(self.waves or self._new or self._failed or len(self._scheduler))

    # Tokens

    def _collect(self) -> None:
        try:
            while True:
                self._take(self._made.get_nowait())
        except queue.Empty:
            return

    def _take(self, made: Made) -> None:
        wave, index, number, at = made
        row = wave.rows[index]
        self._clock.made(wave, index, at, len(row.tokens) + len(row.ids))
        if row.reason is not None:
            return
        row.take(number)
        self._tokens += 1
        if row.reason is not None:
            wave.end_row(index)  # by a stop string; the others end by themselves
            self._done(row)

    def _done(self, row: LiveRow) -> None:
        self._scheduler.learn(len(row.ids) - row.before, row.reason == "stop")
        self._ended.append(row)
        self._rows.pop(row.key, None)

    def _tell_ended(self) -> None:
        """Make texts of the rows that are done: after the next waves have begun, which need not wait for that."""
        for row in self._ended:
            self._send(row.done(self.id, time.perf_counter()))
        self._ended.clear()

    def _fail(self, row: LiveRow, failure: Failure) -> None:
        self._flush()
        self._send(RowFailed(self.id, row.key, failure))
        self._rows.pop(row.key, None)

    # Rows that come

    def _take_in(self) -> None:
        deadline = time.perf_counter() + _INTAKE_S
        ready: list[LiveRow] = []
        while self._new and time.perf_counter() < deadline:
            row, begun = self._new.popleft(), time.perf_counter()
            try:
                live = LiveRow(self._model, row)
                if not self.waves:  # else the engine does not wait for it
                    self._clock.tokenized(begun, time.perf_counter())
            except PhituiError as error:
                self._send(RowFailed(self.id, row.key, Failure.of(error)))
                continue
            self._rows[row.key] = live
            if live.reason is not None:
                self._done(live)
            else:
                ready.append(live)
        if self._prefix:
            self._share_prefix(ready)
        self._scheduler.add(row.item for row in ready)

    def _share_prefix(self, rows: Sequence[LiveRow]) -> None:
        prefix = self._prefix or []
        for row in rows:
            if len(row.tokens) >= len(prefix) + 2 and row.tokens[: len(prefix)] == prefix:
                row.prefix = len(prefix)

    def _may_begin(self) -> bool:
        """Whether there is enough for full batches, or no more is to be expected now."""
        enough = len(self._scheduler) >= max(self._asked, self._workers) if self._asked else False
        quiet = time.perf_counter() - self._newest >= _QUIET_S
        waits = not self._last and (self._seeded or not (enough or quiet))
        return not self._new and bool(len(self._scheduler)) and not waits

    # Waves

    def _fill(self) -> None:
        if self._backoff.waits(time.perf_counter()):
            return
        while len(self.waves) + self.reserved < self._workers and self._may_begin():
            self._budget.read()
            if self._prefix is None:
                self._choose_prefix()
            running = [wave.shape for wave in self.waves]
            items = self._scheduler.take(Limits(self._most_rows, self._budget.fits(running)))
            if not items and not self.waves:
                items = self._scheduler.take_alone()
            if not items:
                return
            self._start(items)

    @property
    def _most_rows(self) -> int:
        return max(self._asked // self._workers, 1) if self._asked else _ROWS

    def _choose_prefix(self) -> None:
        waiting = list(self._rows.values())
        self._prefix = self._prefixes.choose([row.tokens for row in waiting], self._budget.kv_tokens)
        if self._prefix:
            self._share_prefix(waiting)
            self._scheduler.add(row.item for row in waiting)

    def _start(self, items: Sequence[Item]) -> None:
        rows = [self._rows[item.key] for item in items]
        prefix = rows[0].prefix
        wave = Wave(rows, shape([Need(item.length, item.left) for item in items], prefix), self._nudge)
        for row in rows:
            row.begun_s = row.begun_s or wave.begun
        try:
            wave.start(self._model, (self._prefix or [])[:prefix], self._made)
        except (RuntimeError, ValueError, MemoryError) as error:
            self._note_failure(wave, error)
            return
        self.waves.append(wave)
        self._begun += 1

    def _judge(self) -> None:
        """Stop waves of which so few rows are alive that pooling these costs less."""
        for wave in self.waves:
            alive = wave.alive()
            if wave.stopping or len(alive) == len(wave.rows) or wave.rows[0].sampling.repetition_penalty != 1.0:
                continue  # with a penalty the tokens made before would no longer count
            if self._scheduler.should_stop([row.item for row in alive], self._most_rows):
                self._stopped += 1
                wave.stop()

    def _finish(self, wave: Wave) -> None:
        self.waves.remove(wave)
        error = wave.error()
        alive = wave.alive()
        if error is not None:
            self._note_failure(wave, error)
            return
        if not wave.stopping:  # it ran to its end: there is memory again
            self._backoff.ended_well()
            self._budget.raise_again()
        for row in [row for row in alive if not wave.stopping]:  # its callback could not keep a token
            row.stalls += 1
            if row.stalls > _STALLS:
                self._fail(row, Failure("the engine ends this row without an answer"))
        self._scheduler.add(row.item for row in alive if row.key in self._rows)

    # What goes wrong

    def _note_failure(self, wave: Wave, error: Exception) -> None:
        if not self._failed:
            self._ran = [one.shape for one in (wave, *self.waves)]
        self._failed.append((wave, error))

    def _mend(self) -> None:
        """Memory ran out, or the engine refuses some row: halves are tried apart, and in the end each row alone."""
        for wave in self.waves:
            wave.stop()
        if self.waves:
            return
        failed, self._failed = self._failed, []
        if any(is_out_of_memory(error) for _, error in failed):
            self._flush()
            how = recover(self._model)
            self._budget.lower(self._ran)
            rows = sum(len(wave.alive()) for wave, _ in failed)
            wait_s = self._backoff.failed(time.perf_counter())
            self._state(f"memory ran out at {rows} rows: split in two, budget 10 % lower, again in {wait_s:g} s; {how}")
        for wave, error in failed:
            self._split(wave, error)

    def _split(self, wave: Wave, error: Exception) -> None:
        alive = wave.alive()
        if len(wave.rows) == 1 and alive:
            alive[0].stalls += 1
            if not is_out_of_memory(error) or alive[0].stalls > _STALLS:  # other waves may have had the memory
                self._fail(alive[0], _why(alive[0], error))
                return
        middle = (len(alive) + 1) // 2
        for half in (alive[middle:], alive[:middle]):
            self._scheduler.first([row.item for row in half])

    def give_way(self) -> None:
        """Leave a worker to a prompt that goes ahead: where all are busy, the wave that costs least to read again stops
        within one step (one whose prompts are still being read, when they are)."""
        self.reserved = 1
        going = [wave for wave in self.waves if not wave.stopping]
        if len(self.waves) < self._workers or len(going) < len(self.waves):
            return
        wave = min(going, key=lambda wave: (wave.first_s is None, sum(row.item.length for row in wave.alive())))
        wave.stop()

    def _cancel(self) -> None:
        for wave in self.waves:
            wave.stop()
        if not self.waves:
            self._flush()
            self._end("cancelled")

    def _end_if_empty(self) -> None:
        if self._last and not self._busy and not self._rows:
            self._end("done")

    def _end(self, reason: Any) -> None:
        self.over = True
        now = time.perf_counter()
        if self._begun:  # else there is no budget, and another batch may run
            self._state()
        self._send(self._clock.pulse(now, self.waves, 0, last=True))
        self._send(BatchEnded(self.id, reason))

    # Reports

    def _report(self) -> None:
        now = time.perf_counter()
        if self.over:
            return
        if self._clock.due(now):
            worked = bool(self.waves) or self._clock.worked
            pulse = self._clock.pulse(now, self.waves, len(self._scheduler))
            if worked:  # not of the time in which it waits for rows, or for a prompt
                self._send(pulse)
        if now - self._reported >= _REPORT_S:
            self._flush()
            self._state()

    def _flush(self) -> None:
        """Send the tokens that have been made, so that they can be kept."""
        self._tell_ended()
        made = [(row.key, ids) for row in self._rows.values() if (ids := row.unsent())]
        if made:
            self._send(RowsMade(self.id, made))

    def _state(self, note: str = "") -> None:
        self._reported = time.perf_counter()
        alive = sum(len(wave.alive()) for wave in self.waves)
        waiting = len(self._rows) - alive + len(self._new)
        counts = {"waves": self._begun, "stopped": self._stopped}
        self._send(BatchState(self.id, alive, waiting, self._tokens, self._budget.kv_tokens, note, **counts))


def _cost(request: OpenBatch, workers: int) -> WaveCost | None:
    cost = request.cost
    if cost is None:
        return None
    step = (cost.step_fixed_s, cost.step_row_s, cost.step_token_s)
    return WaveCost.share(*step, cost.prefill_call_s, cost.prefill_token_s, workers)


def _why(row: LiveRow, error: Exception) -> Failure:
    if is_out_of_memory(error):
        tokens = len(row.tokens) + len(row.ids)
        return Failure(f"memory ran out for this row alone, at {tokens} tokens", "Ask for fewer tokens in it")
    line = (str(error).splitlines() or [type(error).__name__])[0][:300]
    return Failure(f"the engine refuses this row: {line}")
