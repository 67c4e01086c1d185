"""The engine's process: owns the Generator, answers requests in order, and ends with its parent."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from phitui.core.errors import ExitCode, PhituiError
from phitui.core.ipc.child import Channel
from phitui.core.ipc.messages import Failure, Progress
from phitui.engine.protocol.api import (
    AddRows,
    BatchEnded,
    Cancel,
    Count,
    Counted,
    Finished,
    Generate,
    Load,
    OpenBatch,
    Park,
    Parked,
    ParkRefused,
    Probed,
    Pulse,
    Rejected,
    Request,
    RunProbe,
    Timings,
    Usage,
    WarmUp,
    Woken,
)
from phitui.engine.worker.batching.batches import Batches
from phitui.engine.worker.generation import Answer
from phitui.engine.worker.loading import Model, check_answers, load_model
from phitui.engine.worker.meter import Meter, meter
from phitui.engine.worker.parking import Parking, bytes_in_memory
from phitui.engine.worker.probing import ProbeRun, warm_up
from phitui.engine.worker.recovery import EngineLostError

# How long a leaving worker waits for the decode step that runs.
_LEAVE_S = 1.0
# How often batches are looked at while they run: their tokens are gathered for so long.
_TICK_S = 0.05


class Worker:
    """Requests in order of arrival on the main thread; cancelling and the end come in on another."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()  # None: look at the batches
        self._batches = Batches(channel.send, lambda: self._requests.put(None))
        self._lock = threading.Lock()
        self._cancelled: set[int] = set()
        self._answer: Answer | ProbeRun | None = None
        self._latest = 0  # the request that was begun last, or the last id of its answers
        self._answering = 0  # the request of `_answer`
        self._model: Model | None = None
        self._parking: Parking | None = None
        self._park_after_s = 0.0
        self._meter: Meter | None = None
        self._park_refused = False

    def run(self) -> None:
        """Work until the parent is gone. The first message must be `Load`."""
        self._channel.listen(self._receive, self._leave)
        while True:
            self._serve(self._next())
            if self._batches and self._requests.empty():
                with self._surviving():
                    self._batches.tick()

    def _serve(self, request: Request | None) -> None:
        if isinstance(request, Load):
            self._load(request)
        elif isinstance(request, Generate):
            self._generate(request)
        elif isinstance(request, AddRows):
            self._batches.add(request)
        elif isinstance(request, Park):
            self._park()
        elif isinstance(request, OpenBatch):
            self._open(request)
        elif isinstance(request, RunProbe | WarmUp) and self._batches:
            self._channel.send(Rejected(request.id, Failure("a batch is running", "Wait for it, or cancel it")))
        elif isinstance(request, RunProbe):
            self._probe(request)
        elif isinstance(request, WarmUp):
            self._warm_up(request)

    def _next(self) -> Request | None:
        """The next request; `Park` when none has come for as long as was agreed; None when batches want a look."""
        may_park = self._parking is not None and not self._parking.parked and not self._park_refused
        idle = may_park and not self._batches and self._park_after_s
        try:
            return self._requests.get(timeout=_TICK_S if self._batches else idle or None)
        except queue.Empty:
            return None if self._batches else Park()

    def _park(self) -> None:
        if self._parking is None or self._parking.parked:
            return
        try:
            if self._batches:
                raise PhituiError("a batch is running", "Park when it is done")
            self._channel.send(Parked(self._parking.park()))
            self._batches.forget()
        except PhituiError as error:
            self._park_refused = True  # not by itself again before there has been a prompt: it would only say the same
            self._channel.send(ParkRefused(Failure.of(error)))

    def _load(self, load: Load) -> None:
        try:
            model = load_model(load, self._channel.send)
            if model.loaded.device == "cuda":
                self._channel.send(Progress("load", "trying the card; its first time can take minutes"))
                check_answers(model, just_loaded=True)
        except PhituiError as error:
            self._fail(Failure.of(error))
        except Exception as error:  # noqa: BLE001 - the parent must hear of it, whatever it is
            self._fail(Failure(f"cannot load the model: {type(error).__name__}: {error}", "", ExitCode.UNAVAILABLE))
        else:
            self._model = model
            self._parking = Parking(model.generator, model.loaded.device, bytes_in_memory(model.loaded))
            self._park_after_s = load.park_after_s
            self._channel.send(model.loaded)

    def _fail(self, failure: Failure) -> None:
        self._channel.send(failure)
        os._exit(int(ExitCode.FAILED))  # not through destructors: see _leave

    def _generate(self, request: Generate) -> None:
        if self._model is None:
            self._channel.send(Rejected(request.id, Failure("no model is loaded")))
            return
        self._park_refused = False
        answer = Answer(self._model, request, self._send_beside, self._requests.qsize, self._meanwhile)
        if not self._begin(request.id, answer, request.answers):
            for number in range(request.id, request.id + request.answers):
                self._channel.send(Finished(number, "cancelled", Usage(0, 0), Timings(None, None, None, None)))
            return
        self._batches.give_way()
        with self._working(request.id, request.answers):
            answer.run()
        self._batches.resume()

    def _meanwhile(self) -> bool:
        """Batches go on beside an answer, on the other workers."""
        if self._batches:
            with self._surviving():
                self._batches.tick(beside=True)
        return self._batches.running

    def _send_beside(self, message: Any) -> None:
        """What an answer sends. Its pulses would count the time twice beside those of a batch that goes on."""
        if not (isinstance(message, Pulse) and self._batches.running):
            self._channel.send(message)

    def _open(self, request: OpenBatch) -> None:
        if self._model is None:
            self._channel.send(Rejected(request.id, Failure("no model is loaded")))
            return
        with self._lock:
            self._latest = request.id
            if request.id in self._cancelled:
                self._cancelled.discard(request.id)
                self._channel.send(BatchEnded(request.id, "cancelled"))
                return
        with self._working(request.id):
            self._batches.open(self._model, request, self._measure())

    def _probe(self, request: RunProbe) -> None:
        if self._model is None:
            self._channel.send(Rejected(request.id, Failure("no model is loaded")))
            return
        probe = ProbeRun(self._model, request, self._measure())
        if not self._begin(request.id, probe):
            self._channel.send(Probed(request.id, "cancelled", 0, 0.0))
            return
        with self._working(request.id), self._surviving():
            self._channel.send(probe.run())

    def _warm_up(self, request: WarmUp) -> None:
        if self._model is None:
            self._channel.send(Rejected(request.id, Failure("no model is loaded")))
            return
        with self._working(request.id):
            self._channel.send(warm_up(self._model, request, self._measure()))

    def _measure(self) -> Meter:
        if self._meter is None:
            self._meter = meter(self._model.loaded.device if self._model else "cpu")
        return self._meter

    def _begin(self, number: int, answer: Answer | ProbeRun, ids: int = 1) -> bool:
        """Whether it may begin: it may have been cancelled while it waited. `ids` is how many it has."""
        with self._lock:
            self._latest, self._answering = number + ids - 1, number
            if number in self._cancelled:
                self._cancelled.discard(number)
                return False
            self._answer = answer
            return True

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Where only a new process helps this one ends: the parent starts another and goes on with it."""
        try:
            yield
        except EngineLostError as error:
            print(f"phitui: {error}", file=sys.stderr, flush=True)
            os._exit(int(ExitCode.FAILED))

    @contextmanager
    def _working(self, number: int, ids: int = 1) -> Iterator[None]:
        """The model is awake; what goes wrong rejects this one request, with all of its ids."""
        try:
            if self._parking is not None and self._parking.parked:
                self._channel.send(Woken(self._parking.wake()))
            yield
        except PhituiError as error:
            self._reject(number, ids, Failure.of(error))
        except Exception as error:  # noqa: BLE001 - one bad request must not end the engine
            self._reject(number, ids, Failure(f"{type(error).__name__}: {error}"))
        finally:
            with self._lock:
                self._answer = None

    def _reject(self, first: int, ids: int, failure: Failure) -> None:
        for number in range(first, first + ids):
            self._channel.send(Rejected(number, failure))

    def _count(self, request: Count) -> None:
        """In a thread of its own: neither an answer waits for it nor it for an answer."""
        try:
            if self._model is None:
                raise PhituiError("no model is loaded")
            prompt = self._model.prompt
            tokens = len(prompt.tokens(request.turns)) if request.turns else prompt.count(request.text)
            self._channel.send(Counted(request.id, tokens))
        except PhituiError as error:
            self._channel.send(Rejected(request.id, Failure.of(error)))
        except Exception as error:  # noqa: BLE001 - one bad request must not end the engine
            self._channel.send(Rejected(request.id, Failure(f"{type(error).__name__}: {error}")))

    def _receive(self, message: Request) -> None:
        if isinstance(message, Count):
            threading.Thread(target=self._count, args=(message,), daemon=True, name="phitui-count").start()
            return
        if not isinstance(message, Cancel):
            self._requests.put(message)
            return
        if self._batches.cancel(message.id):
            return
        with self._lock:
            if self._answer is not None and self._answering == message.id:
                self._answer.cancelled.set()
            elif message.id > self._latest:  # still in the queue
                self._cancelled.add(message.id)

    def _leave(self) -> None:
        """The parent is gone or wants us gone. Running destructors while a batch is on its way, or shortly after,
        aborts the process: so stop the answer, wait for its step, and leave without them."""
        with self._lock:
            if self._answer is not None:
                self._answer.cancelled.set()
        self._batches.abandon()
        deadline = time.monotonic() + _LEAVE_S
        while self._at_work() and time.monotonic() < deadline:
            time.sleep(0.01)
        os._exit(0)

    def _at_work(self) -> bool:
        return self._answer is not None or bool(self._model and self._model.generator.num_active_batches)


def main() -> None:
    Worker(Channel(Request)).run()
