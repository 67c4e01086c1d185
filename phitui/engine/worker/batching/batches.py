"""The batches that are open in the engine's process. One runs, the others wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import ctranslate2

from phitui.engine.protocol.api import AddRows, OpenBatch
from phitui.engine.worker.batching.batch_run import BatchRun
from phitui.engine.worker.batching.budget import Budget
from phitui.engine.worker.batching.prefixes import Prefixes
from phitui.engine.worker.loading import Model
from phitui.engine.worker.meter import Meter


class Batches:
    """`cancel` and `abandon` may be called from another thread, all else from the worker's main one."""

    def __init__(self, send: Callable[[Any], None], nudge: Callable[[], None]) -> None:
        self._send, self._nudge = send, nudge
        self._lock = threading.Lock()
        self._runs: dict[int, BatchRun] = {}
        self._prefixes = Prefixes()
        self._rest: int | None = None  # of the model without prefixes

    def __bool__(self) -> bool:
        return bool(self._runs)

    @property
    def running(self) -> bool:
        """Whether rows are computed now."""
        return any(run.waves for run in self._runs.values())

    def open(self, model: Model, request: OpenBatch, meter: Meter) -> None:
        """Begin a batch, or put it behind those that are open."""

        def begin() -> Budget:
            if request.seed is not None:
                ctranslate2.set_random_seed(request.seed)
            return self._budget(model, meter, request.kv_tokens)

        run = BatchRun(model, request, self._send, self._nudge, begin, self._prefixes)
        with self._lock:
            self._runs[request.id] = run

    def _budget(self, model: Model, meter: Meter, asked: int) -> Budget:
        budget = Budget(model, meter, asked, self._prefixes.tokens, self._rest)
        self._rest = budget.rest
        return budget

    def forget(self) -> None:
        """The model was unloaded: nothing of it is kept, and it may take other memory when it is back."""
        self._prefixes.forget()
        self._rest = None

    def add(self, request: AddRows) -> None:
        """Rows for a batch; those of one that has ended are dropped, it was cancelled meanwhile."""
        run = self._runs.get(request.id)
        if run is not None:
            run.add(request.rows, request.last)

    def cancel(self, number: int) -> bool:
        """Have a batch end within a decode step; whether there is one of this number."""
        with self._lock:
            run = self._runs.get(number)
            if run is None:
                return False
            run.cancelled = True
        self._nudge()
        return True

    def tick(self, beside: bool = False) -> None:
        """See `BatchRun.tick`: of the first one, and of those that were cancelled while they waited."""
        for index, run in enumerate(list(self._runs.values())):
            if index == 0 or run.cancelled:
                run.tick(beside)
            if run.over:
                with self._lock:
                    self._runs.pop(run.id, None)

    def give_way(self) -> None:
        """A prompt goes ahead."""
        for run in self._runs.values():
            run.give_way()

    def resume(self) -> None:
        """The prompt is answered."""
        for run in self._runs.values():
            run.reserved = 0

    def abandon(self) -> None:
        """The process is to end: stop what runs, and begin nothing."""
        with self._lock:
            runs = list(self._runs.values())
        for run in runs:
            run.leaving = True
            for wave in list(run.waves):
                wave.stop()
