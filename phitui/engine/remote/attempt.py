"""One try of an answer: the request, and its pieces until the server is done or a time limit is up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import httpx

from phitui.core.errors import PhituiError, UsageError
from phitui.core.text import one_line
from phitui.engine.protocol.api import Event, Sampling, Started, Turn
from phitui.engine.remote.account import Account
from phitui.engine.remote.deadline import Deadline
from phitui.engine.remote.demands import forced_length
from phitui.engine.remote.dialects import DIALECTS
from phitui.engine.remote.endpoint import Endpoint
from phitui.engine.remote.faults import SHOWN_CHARS, Fault
from phitui.engine.remote.kinds import Server
from phitui.engine.remote.pieces import Piece
from phitui.engine.remote.refused_fields import SYSTEM, fields_of, without_fields, without_system
from phitui.engine.remote.tgi_pieces import before_stops
from phitui.engine.remote.transport import streaming

# An answer is complete with its reason; its counts come right behind it or not at all.
_COUNTS_WITHIN_S = 5.0


@dataclass
class Job:
    """An answer on its way; `request` is the id of the first of those that were asked for together. `why` says who
    ended its task: "cancel" or "late"; `fields` are those of its request that it could do without."""

    id: int
    request: int
    turns: list[Turn]
    sampling: Sampling
    account: Account
    exact: bool
    server: Server
    task: asyncio.Task[None] | None = None
    why: str = ""
    limit: str = ""
    tries: int = 0
    running: bool = False
    fields: tuple[str, ...] = ()
    begun: float = field(default_factory=time.monotonic)

    def end(self, why: str) -> None:
        self.why = self.why or why
        if self.task is not None:
            self.task.cancel()


class Attempt:
    """Sends a job's request and takes its answer in. `send` gets the events; `on_first` is called at a first token."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        endpoint: Endpoint,
        job: Job,
        send: Callable[[Event], None],
        on_first: Callable[[], None],
    ) -> None:
        self._http, self._endpoint, self._job = http, endpoint, job
        self._send, self._on_first = send, on_first
        self._deadline = Deadline(lambda: job.end("late"))

    async def run(self) -> None:
        """Returns when the answer is complete, in the job's account. Raises Fault."""
        job, settings = self._job, self._endpoint.settings
        dialect = DIALECTS[job.server.form]
        prompt_bytes = sum(len(turn.content.encode()) for turn in job.turns)
        job.account = Account(job.id, job.sampling.max_tokens, prompt_bytes, job.server.context_window)
        turns = without_system(job.turns) if SYSTEM in job.server.left_out else job.turns
        body = dialect.body(job.server.model, turns, job.sampling)
        if job.server.kind == "ollama" and job.server.context_window is not None:
            body["options"]["num_ctx"] = job.server.context_window
        body = forced_length(job.server.kind, body) if job.exact else body
        job.fields = fields_of(body)
        body = without_fields(body, job.server.left_out)
        self._send(Started(job.id, None))
        try:
            first_s = settings.first_token_timeout_s
            self._expect(f"no first token within {first_s:g} s", first_s)
            async with streaming(self._http, self._endpoint, dialect.path, body, dialect.lines_are_events) as response:
                pieces = dialect.read(response, body)
                stops = job.sampling.stop if "stop" in job.server.left_out else ()
                await self._read(before_stops(pieces, stops) if stops else pieces)
        finally:
            self._deadline.stop()
            self._flush()
        if not job.account.complete:
            raise Fault(
                PhituiError(f"{self._endpoint.who}: the connection ended in the middle of the answer"), again=True
            )

    async def _read(self, pieces: AsyncIterator[Piece]) -> None:
        """Take pieces in until the server is done. A piece without a token does not put the time limit off."""
        account, idle_s = self._job.account, self._endpoint.settings.idle_timeout_s
        no_token, no_counts = f"no token for {idle_s:g} s", f"no counts within {_COUNTS_WITHIN_S:g} s"
        async for piece in pieces:
            if piece.said is not None:
                raise self._told(piece)
            begun, delta = account.begun, account.take(piece)
            if account.broken:
                raise Fault(
                    PhituiError(f"{self._endpoint.who} broke off the answer ({one_line(account.broken, 40)})"), True
                )
            if delta is not None:
                self._send(delta)
                if not begun:
                    self._on_first()
            if piece.done:
                account.reason = account.reason or "stop"
                return
            if piece.reason is not None:
                self._expect(no_counts, _COUNTS_WITHIN_S)
            elif delta is not None:
                self._expect(no_token, idle_s)

    def _flush(self) -> None:
        """What was held back because it might have become the mark of a thought."""
        delta = self._job.account.flush()
        if delta is not None:
            self._send(delta)

    def _expect(self, what: str, seconds: float) -> None:
        self._job.limit = what
        self._deadline.within(seconds)

    def _told(self, piece: Piece) -> Fault:
        """An error that comes as an event."""
        who, said = self._endpoint.who, self._endpoint.told(piece.said or "", SHOWN_CHARS)
        if piece.refused and not self._job.account.begun:
            return Fault(UsageError(f"{who} refuses the request: {said}"))
        return Fault(PhituiError(f"{who} failed during the answer: {said}"), again=not (piece.final or piece.refused))
