"""Runs one probe, for the tuner or a bench: a batch of a given shape, its token times, and the memory that it took."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from phitui.core.errors import UsageError
from phitui.engine.protocol.api import Probed, Room, RunProbe, WarmUp
from phitui.engine.protocol.latency import gaps, percentile
from phitui.engine.worker.loading import Model, is_out_of_memory
from phitui.engine.worker.meter import Meter
from phitui.engine.worker.recovery import recover, wait_idle

_WARM_UP_TOKENS = 4
_WARM_UP_ROUNDS = 10


class TokenMark(NamedTuple):
    """When a row made its token `step`: a reading of perf_counter()."""

    row: int
    step: int
    at: float


class ProbeRun:
    """One probe while it runs. `cancelled` may be set from another thread."""

    def __init__(self, model: Model, request: RunProbe, meter: Meter) -> None:
        self._model = model
        self._request = request
        self._meter = meter
        self._marks: deque[TokenMark] = deque()
        self._per_worker = math.ceil(request.batch / model.loaded.workers)
        self.cancelled = threading.Event()

    def run(self) -> Probed:
        """Measure. Raises UsageError for a shape that cannot be, and EngineLostError where memory ran out and the
        engine could not be brought back."""
        request = self._request
        check(request, self._model.manifest.context_window)
        usable = self._meter.usable()
        rows = self._model.prompt.ordinary(request.batch, request.prompt_tokens)
        self._meter.watch()
        begun = time.perf_counter()
        try:
            with self._meter.bounded(request.bound_bytes):
                self._generate(rows)
        except (RuntimeError, MemoryError) as error:
            return self._failed(error, usable, time.perf_counter() - begun)
        return self._probed(usable, begun, time.perf_counter() - begun)

    def _generate(self, rows: list[list[str]]) -> None:
        """All rows, as one batch for each worker. The output's length is forced, so that no row leaves early."""
        results = self._model.generator.generate_batch(
            rows,
            max_batch_size=self._per_worker,
            min_length=self._request.new_tokens,
            max_length=self._request.new_tokens,
            include_prompt_in_result=False,
            sampling_topk=1,
            callback=self._on_token,
            asynchronous=True,
        )
        try:
            for index in range(0, len(results), self._per_worker):  # a share's rows are done together, or fail so
                results[index].result()
        finally:
            wait_idle(self._model.generator)

    def _on_token(self, step: Any) -> bool:
        """Runs on CTranslate2's threads, once per token. Must never raise: that aborts the process."""
        try:
            if self._request.every_token or step.batch_id % self._per_worker == 0:
                self._marks.append(TokenMark(step.batch_id, step.step, time.perf_counter()))
            return self.cancelled.is_set()
        except BaseException:  # noqa: BLE001
            return True

    def _probed(self, usable: int, begun: float, seconds: float) -> Probed:
        peak = self._meter.peak()
        if self.cancelled.is_set():
            return Probed(self._request.id, "cancelled", usable, seconds)
        rows = by_row(self._marks, begun)
        firsts = [row for number, row in rows.items() if number % self._per_worker == 0]  # of each worker's share
        prefill_s, steps = max(row[0] for row in firsts), gaps(firsts)
        beside = self._meter.beside()
        return Probed(
            id=self._request.id,
            kind="ok",
            usable_bytes=usable,
            seconds=seconds,
            peak_bytes=peak,
            prefill_s=prefill_s,
            step_s=statistics.median(steps) if steps else prefill_s,
            step_p95_s=percentile(steps, 0.95) if steps else None,
            token_s=list(rows.values()) if self._request.every_token else [],
            driver_bytes=beside if isinstance(beside, int) else None,
            driver_note="" if isinstance(beside, int) else beside.reason,
        )

    def _failed(self, error: Exception, usable: int, seconds: float) -> Probed:
        self._meter.peak()
        detail = (str(error).splitlines() or [type(error).__name__])[0][:300]
        if not is_out_of_memory(error, loaded=True):
            return Probed(self._request.id, "failed", usable, seconds, detail=detail)
        how = recover(self._model)
        return Probed(self._request.id, "oom", usable, seconds, detail=f"{detail}; {how}")


def check(request: RunProbe, window: int) -> None:
    """Raises UsageError for a shape that has no rows or no tokens, or is longer than the context window."""
    total = request.prompt_tokens + request.new_tokens
    if min(request.batch, request.prompt_tokens, request.new_tokens) < 1:
        raise UsageError("a probe needs at least one row, one token to read and one to make")
    if total > window:
        raise UsageError(f"{total} tokens do not fit: the context window has {window}", "Take shorter texts")


def by_row(marks: Iterable[TokenMark], begun: float) -> dict[int, list[float]]:
    """The rows in order, each with the times of its tokens in seconds since `begun`."""
    rows: dict[int, list[float]] = {}
    for mark in marks:
        rows.setdefault(mark.row, []).append(mark.at - begun)
    return dict(sorted(rows.items()))


def warm_up(model: Model, request: WarmUp, meter: Meter) -> Room:
    """Use every worker once: thread pools, tables of positions, and on CUDA its kernels and cuBLAS are there then.

    Which worker takes a batch is CTranslate2's choice; their threads tell when all have had one.
    """
    seen: set[int] = set()

    def on_token(_: Any) -> bool:
        seen.add(threading.get_ident())
        return False

    count = model.loaded.workers
    rows = model.prompt.ordinary(count, max(1, request.positions - _WARM_UP_TOKENS))
    for _ in range(_WARM_UP_ROUNDS):
        model.generator.generate_batch(
            rows, max_batch_size=1, min_length=_WARM_UP_TOKENS, max_length=_WARM_UP_TOKENS, sampling_topk=1,
            callback=on_token,
        )  # fmt: skip
        if len(seen) >= count:
            break
    wait_idle(model.generator)
    return Room(request.id, meter.rest(), meter.usable())
