"""An engine on another machine behind the interface of the local one."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
from collections.abc import Callable
from functools import partial

import httpx
import msgspec
from msgspec.structs import replace

from phitui.core.errors import ExitCode, PhituiError, UsageError
from phitui.core.ipc.messages import Failure
from phitui.core.tasks import start_task
from phitui.core.text import one_line
from phitui.engine.protocol.api import (
    BatchEnded,
    BrokeOff,
    Counted,
    Event,
    Finished,
    Load,
    Loaded,
    OpenBatch,
    ParkRefused,
    Rejected,
    Retrying,
    Row,
    Sampling,
    Turn,
)
from phitui.engine.remote.account import Account
from phitui.engine.remote.attempt import Attempt, Job
from phitui.engine.remote.counting import bounded, count_tokens
from phitui.engine.remote.endpoint import Endpoint
from phitui.engine.remote.faults import SHOWN_CHARS, Fault, unreachable
from phitui.engine.remote.kinds import Server, as_loaded, look
from phitui.engine.remote.metrics import ServerLoad, read_load
from phitui.engine.remote.patience import wait_for_try, wait_while_loading, waits_for_model
from phitui.engine.remote.refused_fields import without_refused
from phitui.engine.remote.routes import routed, without_chat
from phitui.engine.remote.rows import RemoteBatch
from phitui.engine.remote.transport import open_client


class RemoteClient:
    """One server and the events of the requests to it, handed to `on_event` on the event loop. Requests run side by
    side. There is no process, nothing to park, and no `Pulse`: what the other machine does between two tokens is not
    known here."""

    pid: int | None = None
    holding: str | None = None
    folder: str | None = None

    def __init__(self, endpoint: Endpoint, on_event: Callable[[Event], None]) -> None:
        self.endpoint = endpoint
        self._on_event = on_event
        self._ids = itertools.count(1)
        self._jobs: dict[int, Job] = {}
        self._batches: dict[int, RemoteBatch] = {}
        self._http: httpx.AsyncClient | None = None
        self._server: Server | None = None
        self.loaded: Loaded | None = None

    async def connect(self, tell: Callable[[str], None] | None = None) -> Loaded:
        """Ask the server what it is; no event is sent. With `tell`, which hears what the server says, a model that is
        still being loaded is waited for. Raises PhituiError: UnavailableError if it does not answer."""
        begun = time.monotonic()
        self._http = open_client(self.endpoint)
        limit = self.endpoint.settings.connect_timeout_s
        try:
            while True:
                try:
                    found = await asyncio.wait_for(look(self._http, self.endpoint), 2 * limit)
                    break
                except Fault as fault:
                    if tell is None or not waits_for_model(fault, begun, self.endpoint.settings):
                        raise
                    await wait_while_loading(fault, tell)
            self._server = routed(found, self.endpoint)
        except (TimeoutError, asyncio.TimeoutError):
            await self.stop()
            late = PhituiError(f"{self.endpoint.who} does not say within {2 * limit:g} s what it is")
            raise unreachable(Fault(late, again=True)) from None
        except Fault as fault:
            await self.stop()
            raise unreachable(fault) from None
        except BaseException:
            await self.stop()
            raise
        self.loaded = as_loaded(self._server, self.endpoint, time.monotonic() - begun)
        return self.loaded

    def beside(self, on_event: Callable[[Event], None], retries: int | None = None) -> RemoteClient:
        """Another client of the same server, with connections of its own. `retries`: those of its requests, where they
        are not to be as configured. Raises PhituiError where this one is not connected."""
        if self._server is None or self.loaded is None:
            raise PhituiError("the engine is not connected")
        endpoint = self.endpoint
        if retries is not None:
            settings = msgspec.structs.replace(endpoint.settings, retries=retries)
            endpoint = dataclasses.replace(endpoint, settings=settings)
        made = RemoteClient(endpoint, on_event)
        made._http, made._server, made.loaded = open_client(endpoint), self._server, self.loaded
        return made

    @property
    def form(self) -> str:
        """The form of its requests (`Server.form`), "" while it is not connected."""
        return self._server.form if self._server is not None else ""

    @property
    def prompting(self) -> bool:
        """Whether a request waits for its first token."""
        return any(not job.account.begun for job in self._jobs.values())

    async def server_load(self) -> ServerLoad:
        """What the server says of its requests and its KV cache. Raises PhituiError where it is not connected."""
        if self._http is None or self._server is None:
            raise PhituiError("the engine is not connected")
        return await read_load(self._http, self.endpoint, self._server)

    async def warm(self) -> None:
        """There is no process to start."""

    async def load(self, load: Load) -> None:
        """Raises UsageError: a server has the model that it has."""
        raise UsageError(f"{self.endpoint.who} loads no model from here: {one_line(load.folder, 80)}")

    async def generate(self, turns: list[Turn], sampling: Sampling, answers: int = 1, exact: bool = False) -> int:
        """Ask for an answer, or for several by as many requests side by side; returns the id that the events of the
        first carry, the others have those that follow. A seed is that of the first, the others have the next ones.
        `exact`: have `max_tokens` tokens made, where the server can (`can_force_length`). Raises PhituiError where it
        is not connected."""
        if self.loaded is None or self._server is None:
            raise PhituiError("the engine is not connected")
        ids = [next(self._ids) for _ in range(answers)]
        for place, number in enumerate(ids):
            draw = sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + place)
            account = Account(number, sampling.max_tokens, 0, None)
            self._begin(Job(number, ids[0], turns, draw, account, exact, self._server))
        return ids[0]

    def _begin(self, job: Job) -> None:
        self._jobs[job.id] = job
        job.task = start_task(self._run(job), name=f"phitui-remote-{job.id}")

    async def open_batch(self, batch: OpenBatch) -> int:
        """Begin a batch with `batch.batch` requests at once; returns the id that its events carry. Of the rest
        only the seed is used: how it computes them a server decides itself. Raises PhituiError where it is not
        connected."""
        number = next(self._ids)
        rows: RemoteBatch

        def hear(event: Event) -> None:
            rows.hear(event)

        def tell(event: Event) -> None:
            if isinstance(event, BatchEnded | Rejected):
                self._batches.pop(number, None)
            self._on_event(event)

        rows = RemoteBatch(number, self.beside(hear), batch.batch, batch.seed, lambda: self.prompting, tell)
        self._batches[number] = rows
        return number

    async def add_rows(self, batch_id: int, rows: list[Row], last: bool = False) -> None:
        """Give a batch more rows; `last` says that no more come. Raises PhituiError where it is not open (any more)."""
        if batch_id not in self._batches:
            raise PhituiError("the batch is not open")
        self._batches[batch_id].add(rows, last)

    async def count(self, turns: list[Turn], text: str = "") -> Counted:
        """Tokens by the server's own tokenizer where it has a route for that, else a quarter of the bytes. Raises
        PhituiError where it is not connected."""
        if self._http is None or self._server is None:
            raise PhituiError("the engine is not connected")
        return await count_tokens(self._http, self.endpoint, self._server, turns, text)

    async def cancel(self, request_id: int) -> None:
        """Close the streams of its answers. `Finished` with reason "cancelled" follows for each, or `BatchEnded`."""
        if request_id in self._batches:
            self._batches[request_id].cancel()
        for job in [job for job in self._jobs.values() if job.request == request_id]:
            job.end("cancel")
            if not job.running:  # a task that is cancelled before its first step never takes one
                self._jobs.pop(job.id)
                self._on_event(self._finished(job, cancelled=True))

    async def park(self) -> None:
        """`ParkRefused` follows: the memory is the server's."""
        refused = Failure(
            f"{self.endpoint.who} cannot be parked", "Parking (F8) is for the engine on this machine.", ExitCode.USAGE
        )
        self._on_event(ParkRefused(refused))

    async def stop(self) -> None:
        """Close all streams and connections. No event follows."""
        self.loaded = None
        batches, self._batches = list(self._batches.values()), {}
        for batch in batches:
            await batch.stop()
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        self._jobs.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def _run(self, job: Job) -> None:
        job.running = True
        event: Event | None
        try:
            event = await self._answer(job)
        except asyncio.CancelledError:
            event = self._ended(job)
            if event is None:
                raise
        finally:
            known = self._jobs.pop(job.id, None) is not None
        if known:
            self._on_event(event)
            self._wake_batches()

    def _wake_batches(self) -> None:
        """Rows wait while a prompt waits for its first token."""
        for batch in self._batches.values():
            batch.wake()

    def _ended(self, job: Job) -> Event | None:
        """The last event of a job whose task was cancelled; None where no event is expected."""
        if job.why == "cancel":
            return self._finished(job, cancelled=True)
        if job.why == "late":
            if job.account.complete:
                return self._finished(job)
            return BrokeOff(job.id, Failure.of(PhituiError(f"{self.endpoint.who}: {job.limit}")))
        return None

    async def _answer(self, job: Job) -> Event:
        """The event that ends the request."""
        if self._http is not None and not job.exact:
            job.sampling = await bounded(self._http, self.endpoint, job.server, job.turns, job.sampling)
        while True:
            try:
                await self._attempt(job)
                return self._finished(job)
            except Fault as fault:
                if job.account.complete:  # what follows the reason is counts at most
                    return self._finished(job, f"{fault.error.message.rstrip('.')}, after the end of the answer")
                if self._goes_native(job, fault) or self._leaves_out(job, fault):
                    continue
                if not job.account.begun and waits_for_model(fault, job.begun, self.endpoint.settings):
                    await wait_while_loading(fault, partial(self._tell_again, job))
                    continue
                left = self.endpoint.settings.retries - job.tries
                if job.account.begun or not fault.again or left <= 0:
                    return _failed(job, fault)
                job.tries += 1
                await wait_for_try(fault, job.tries, left - 1, partial(self._tell_again, job))

    def _finished(self, job: Job, *notes: str, cancelled: bool = False) -> Finished:
        """The answer as it is; what the server says in it of itself is told without our key."""
        end = job.account.finished(cancelled, list(notes))
        return replace(end, notes=[self.endpoint.told(note, SHOWN_CHARS) for note in end.notes])

    def _goes_native(self, job: Job, fault: Fault) -> bool:
        """Whether the request is to be sent by the server's native route, as all are from here on: it was refused
        because there is no chat route. Others that were sent meanwhile are refused as well, and follow."""
        native = None if job.account.begun else without_chat(job.server, self.endpoint, fault)
        return native is not None and self._goes_on_with(native, job, fault)

    def _leaves_out(self, job: Job, fault: Fault) -> bool:
        """Whether the request is to be sent without a field that the server refuses, as all are from here on."""
        less = None if job.account.begun else without_refused(job.server, job.fields, fault)
        return less is not None and self._goes_on_with(less, job, fault)

    def _goes_on_with(self, server: Server, job: Job, fault: Fault) -> bool:
        if self._server is job.server and self.loaded is not None:
            self._server = server
            self.loaded = replace(as_loaded(server, self.endpoint, self.loaded.load_s), epoch=self.loaded.epoch)
            said = fault.error.message.rstrip(".")
            self._tell_again(job, f"{said}. From here on {server.can[-1]}")
        return True

    def _tell_again(self, job: Job, text: str) -> None:
        self._on_event(Retrying(job.id, text))

    async def _attempt(self, job: Job) -> None:
        """One try with the server as it is known by now. Raises Fault."""
        if self._http is None or self._server is None:
            raise Fault(PhituiError("the engine is not connected"))
        job.server = self._server
        await Attempt(self._http, self.endpoint, job, self._on_event, self._wake_batches).run()


def _failed(job: Job, fault: Fault) -> Event:
    failure = Failure.of(fault.error)
    return Rejected(job.id, failure) if isinstance(fault.error, UsageError) else BrokeOff(job.id, failure)
