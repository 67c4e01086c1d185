"""A batch of rows on a server: so many requests at once, and what becomes of those that fail.

- What the server calls bad input (400, 413, 422) is the row's error, at once.
- A server that cannot be reached, after the request's own retries, ends the batch.
- Any other failure, in mid-answer too, is asked again from the beginning, once, behind the other rows: nothing of the
  first answer was given out. If that fails as well, the row gets its error once the server has answered a request that
  was sent later. Where there is none, it is asked a question of our own: if it does not answer that either, the batch
  ends, and no row is blamed.
- While a request waits to be sent again (429, 503, …), and while a prompt of the chat waits for its first token, no
  further row is begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from phitui.core.errors import ExitCode, UsageError
from phitui.core.ipc.messages import Failure
from phitui.core.tasks import start_task
from phitui.engine.protocol.api import (
    BatchEnded,
    BatchState,
    BrokeOff,
    Delta,
    Event,
    Finished,
    Rejected,
    Retrying,
    Row,
    RowDone,
    RowFailed,
    Sampling,
    Started,
    Turn,
)
from phitui.engine.protocol.rows_api import DEFAULT_CONCURRENCY, RowUsage
from phitui.engine.remote.demands import unsent

_STATE_S = 0.5
# So many failures in a row, beyond the requests that were on their way anyway, and the server itself is in doubt.
_DOUBT_AFTER = 3
_SEEDS = 1 << 31
_KEPT = "What is done is kept: run the same with --resume"


@dataclass
class _Flight:
    """A request on its way. `row` None: the question of our own. `tried`: it has failed once."""

    row: Row | None
    tried: bool
    begun: float
    sent: float
    parts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    told: int = 0


class Requests(Protocol):
    """What a batch needs of a client: to send a prompt, and to close what is open."""

    @property
    def form(self) -> str:
        """The form of the server's requests."""

    async def generate(self, turns: list[Turn], sampling: Sampling) -> int:
        """Ask for an answer; returns the id that its events carry. Raises PhituiError."""

    async def stop(self) -> None:
        """Close all requests. No event follows."""


class RemoteBatch:
    """`client` is a connection of its own, which is closed with the batch. `prompting` says whether a prompt waits for
    its first token; `tell` hears the events of `engine.protocol.rows_api`."""

    def __init__(
        self,
        number: int,
        client: Requests,
        concurrency: int,
        seed: int | None,
        prompting: Callable[[], bool],
        tell: Callable[[Event], None],
    ) -> None:
        self._id, self._client, self._seed = number, client, seed
        self._most = concurrency or DEFAULT_CONCURRENCY
        self._prompting, self._tell = prompting, tell
        self._rows: deque[tuple[Row, bool]] = deque()
        self._flights: dict[int, _Flight] = {}
        self._retrying: set[int] = set()
        self._held: list[tuple[float, int, Failure]] = []
        self._stated = 0.0
        self._failures = 0
        self._again = 0
        self._counted = self._tokens = 0
        self._notes: set[str] = set()
        self._last = self._silent = False
        self._end: Event | None = None
        self._wake = asyncio.Event()
        self._task = start_task(self._run(), name=f"phitui-remote-batch-{number}")

    def add(self, rows: list[Row], last: bool) -> None:
        """More rows; with `last` no more come."""
        self._rows.extend((row, False) for row in rows)
        self._last = self._last or last
        self.wake()

    def wake(self) -> None:
        """Something is different that it may wait for."""
        self._wake.set()

    def cancel(self) -> None:
        """Close all streams. `BatchEnded` follows; nothing is kept of answers that are not complete."""
        self._close(BatchEnded(self._id, "cancelled"))

    async def stop(self) -> None:
        """Close all streams. No event follows."""
        self._silent = True
        self._close(BatchEnded(self._id, "cancelled"))  # before Python 3.12 wait_for may keep a cancellation to itself
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _close(self, end: Event) -> None:
        self._end = self._end or end
        self.wake()

    async def _run(self) -> None:
        try:
            while self._end is None:
                await self._fill()
                if time.monotonic() - self._stated >= _STATE_S:
                    self._state()
                self._wake.clear()
                with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _STATE_S)
        finally:
            self._flights.clear()  # whatever still comes of them is not wanted
            await self._client.stop()
        if self._end is not None and not self._silent:
            self._state()
            self._tell(self._end)

    def _state(self, note: str = "") -> None:
        self._stated = time.monotonic()
        counted, self._counted = self._counted, 0
        self._tokens += counted
        self._tell(BatchState(self._id, len(self._flights), len(self._rows), self._tokens, 0, note, counted))

    async def _fill(self) -> None:
        """Begin what may be begun now."""
        while self._end is None and len(self._flights) < self._most and not self._retrying and not self._prompting():
            if self._in_doubt:
                if not self._flights:
                    await self._question()
                return
            if not self._rows:
                if self._last and not self._flights:
                    self._close(BatchEnded(self._id, "done"))
                return
            row, tried = self._rows.popleft()
            await self._begin(row, tried)

    @property
    def _in_doubt(self) -> bool:
        """Whether the server has to show first that it answers at all."""
        if self._failures >= self._most + _DOUBT_AFTER:
            return True
        return bool(self._held) and not self._rows and not self._flights

    async def _begin(self, row: Row, tried: bool) -> None:
        missing = unsent(self._client.form, row.sampling)
        if missing:
            refused = UsageError(f"{', '.join(missing)}: this kind of server does not take it")
            self._tell(RowFailed(self._id, row.key, Failure.of(refused)))
            return
        # Answers to one prompt have keys of their own: with one seed they would be equal.
        draw = row.sampling
        if self._seed is not None:
            draw = msgspec.structs.replace(draw, seed=(self._seed + row.key) % _SEEDS)
        await self._send(row, row.turns, draw, tried)

    async def _question(self) -> None:
        draw = Sampling(max_tokens=1, temperature=0.0, top_k=0, top_p=1.0, repetition_penalty=1.0)
        await self._send(None, [Turn("user", "Say yes.")], draw, True)

    async def _send(self, row: Row | None, turns: list[Turn], draw: Sampling, tried: bool) -> None:
        number = await self._client.generate(turns, draw)
        now = time.monotonic()
        self._flights[number] = _Flight(row, tried, now, now)

    def hear(self, event: Event) -> None:
        """An event of the connection."""
        number = getattr(event, "id", None)
        flight = self._flights.get(number) if isinstance(number, int) else None
        if flight is None or number is None:
            return
        if isinstance(event, Started):
            flight.sent = time.monotonic()
            self._retrying.discard(number)
        elif isinstance(event, Delta):
            if event.moved:
                flight.thoughts += flight.parts
                flight.parts.clear()
            flight.thoughts.append(event.thinking)
            flight.parts.append(event.text)
            self._count(flight, event.tokens)
        elif isinstance(event, Retrying):
            self._retrying.add(number)
            self._state(event.text)
        elif isinstance(event, Finished | Rejected | BrokeOff):
            del self._flights[number]
            self._retrying.discard(number)
            self._ended(flight, event)
            self.wake()

    def _count(self, flight: _Flight, tokens: int | None) -> None:
        """`tokens` are all of the answer so far."""
        if tokens is not None and tokens > flight.told:
            self._counted += tokens - flight.told
            flight.told = tokens

    def _ended(self, flight: _Flight, event: Finished | Rejected | BrokeOff) -> None:
        if isinstance(event, Finished):
            self._answered(flight, event)
        elif isinstance(event, Rejected) and flight.row is not None:
            self._tell(RowFailed(self._id, flight.row.key, event.failure))
        else:
            self._failed(flight, event.failure)

    def _answered(self, flight: _Flight, event: Finished) -> None:
        self._failures = 0
        for sent, key, failure in self._held:
            if sent < flight.sent:
                self._tell(RowFailed(self._id, key, failure))
        self._held = [one for one in self._held if one[0] >= flight.sent]
        if flight.row is None:
            return
        self._count(flight, event.usage.completion_tokens)
        for note in event.notes:
            if note not in self._notes and len(self._notes) < 20:
                self._notes.add(note)
                self._state(note)
        text = _before("".join(flight.parts), flight.row.sampling.stop)
        usage = RowUsage(event.usage.prompt_tokens, event.usage.completion_tokens)
        seconds = time.monotonic() - flight.begun
        thinking = "".join(flight.thoughts)
        told = RowDone(
            self._id, flight.row.key, text, event.reason, usage, [], seconds, thinking, event.shortfall, event.failed
        )
        self._tell(told)

    def _failed(self, flight: _Flight, failure: Failure) -> None:
        self._failures += 1
        if failure.exit_code == ExitCode.UNAVAILABLE or flight.row is None:
            first = self._held[0][2] if self._held and failure.exit_code != ExitCode.UNAVAILABLE else failure
            self._close(Rejected(self._id, Failure(first.message, _KEPT, failure.exit_code)))
        elif flight.tried:
            self._held.append((flight.sent, flight.row.key, failure))
        else:
            self._again += 1
            self._rows.append((flight.row, True))
            said = failure.message.rstrip(".")
            self._state(f"{said}; a row is asked again from its beginning ({self._again} so far)")


def _before(text: str, stops: tuple[str, ...]) -> str:
    """The text up to the first of the stop strings: some servers send that, too."""
    return text[: min((place for stop in stops if (place := text.find(stop)) >= 0), default=len(text))]
