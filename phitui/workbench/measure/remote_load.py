"""Puts a server under a known load: so many requests sent at once, and when each of their tokens came."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from phitui.config.layers import Config
from phitui.core.errors import ExitCode, PhituiError
from phitui.engine.protocol.api import BrokeOff, Delta, Event, Finished, Loaded, Rejected, Remote, Sampling, Turn
from phitui.workbench.engines import reached
from phitui.workbench.measure.probing import check_lengths
from phitui.workbench.measure.remote_prompts import FEW_WORDS, first_guess, prompt, words_for

if TYPE_CHECKING:  # they bring httpx
    from phitui.engine.remote.client import RemoteClient
    from phitui.engine.remote.metrics import ServerLoad

# Short waits at first: a short wave is over soon.
_READ_FIRST_S, _READ_EVERY_S, _READ_SLOWER = 0.02, 0.2, 1.5
_SETTLE_S = 0.5


@dataclass
class _Asked:
    """A request: when its pieces came, and how it ended."""

    times: list[float] = field(default_factory=list)
    end: Finished | Rejected | BrokeOff | None = None


class RequestWave(NamedTuple):
    """Requests that were sent together. `rows`: for each when its pieces of text came, in seconds since the first was
    sent; `counts` its tokens and `prompts` those of its prompt, by the server. `waiting` (requests) and `kv_use` (0 to
    1) are the most that the server said meanwhile, None where it says nothing; `waiting` also where it said none only
    when some had ended, which made room. `queued` requests had their first piece when another had its last one already.
    With a `problem` there are no figures."""

    rows: list[list[float]]
    counts: list[int]
    prompts: list[int]
    seconds: float
    waiting: int | None = None
    kv_use: float | None = None
    queued: int = 0
    problem: str = ""


@contextlib.asynccontextmanager
async def loader_for(
    config: Config, prompt_tokens: int, new_tokens: int, environ: Mapping[str, str] = os.environ, watch: bool = False
) -> AsyncIterator[Loader]:
    """A loader of the configured server, whose connections are closed at the end. Raises UsageError for lengths beyond
    the context window, and PhituiError where it does not answer."""
    client, loaded = await reached(config, environ)
    loader = Loader(client, loaded, prompt_tokens, watch)
    try:
        if loaded.context_window is not None:
            check_lengths(prompt_tokens, new_tokens, loaded.context_window)
        yield loader
    finally:
        await loader.stop()
        await client.stop()


class Loader:
    """`client` is connected; requests go over connections of their own, and are not sent again when they fail. With
    `watch` the server is asked for its own figures meanwhile."""

    def __init__(self, client: RemoteClient, loaded: Loaded, prompt_tokens: int, watch: bool = False) -> None:
        self.client, self.loaded = client, loaded
        self._client = client.beside(self._hear, retries=0)
        self._who = client.endpoint.who
        self._tokens = prompt_tokens
        self._watches = watch
        self._run = secrets.token_hex(4)
        self._number = 0
        self._words = 0
        self._watching = False
        self._asked: dict[int, _Asked] = {}
        self._ended = asyncio.Event()

    @property
    def remote(self) -> Remote:
        """What the server says of itself."""
        if self.loaded.remote is None:
            raise PhituiError("the engine is not a server")
        return self.loaded.remote

    async def fit_prompts(self) -> None:
        """Find how long prompts have to be. Raises PhituiError where the server does not answer or does not count."""
        few = FEW_WORDS, await self._length_of(FEW_WORDS)
        guess = first_guess(self._tokens)
        many = guess, await self._length_of(guess)
        self._words = words_for(self._tokens, few, many)

    async def _length_of(self, words: int) -> int:
        self._words = words
        wave = await self.wave(1, 1)
        if wave.problem:
            raise PhituiError(f"{self._who} cannot be measured: {wave.problem}")
        return wave.prompts[0]

    async def wave(self, requests: int, new_tokens: int) -> RequestWave:
        """Send so many and wait for all of them. Raises PhituiError where the server is gone."""
        self._asked.clear()
        readings: list[tuple[float, ServerLoad]] = []
        self._watching = True
        watch = asyncio.create_task(self._watch(readings))
        begun = time.perf_counter()
        try:
            await self._send(requests, new_tokens)
            while not all(one.end for one in self._asked.values()):
                self._ended.clear()
                await self._ended.wait()
                if any(isinstance(one.end, Rejected | BrokeOff) for one in self._asked.values()):
                    await self._abandon()
        finally:
            self._watching = False
            watch.cancel()
            for failed in await asyncio.gather(watch, return_exceptions=True):
                if isinstance(failed, Exception):  # a defect; what the server lacks is no exception
                    raise failed
        return self._made(begun, readings)

    async def _send(self, requests: int, new_tokens: int) -> None:
        draw = Sampling(max_tokens=new_tokens, temperature=0.0, top_k=0, top_p=1.0, repetition_penalty=1.0)
        for _ in range(requests):
            self._number += 1
            turns = [Turn("user", prompt(self._run, self._number, self._words))]
            number = await self._client.generate(turns, draw, exact=True)
            self._asked[number] = _Asked()

    async def _abandon(self) -> None:
        """One has failed: the others are of no use any more. The server needs a moment to notice that they are gone."""
        for number, one in self._asked.items():
            if one.end is None:
                await self._client.cancel(number)
        await asyncio.sleep(_SETTLE_S)

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.stop()

    def _hear(self, event: Event) -> None:
        one = self._asked.get(getattr(event, "id", 0))
        if one is None:
            return
        if isinstance(event, Delta):
            one.times.append(time.perf_counter())
        elif isinstance(event, Finished | Rejected | BrokeOff):
            one.end = event
            tokens = event.usage.completion_tokens if isinstance(event, Finished) else None
            if len(one.times) < min(2, tokens or 1):  # tokens without text, as the end token, are known of at the end
                one.times.append(time.perf_counter())
            self._ended.set()

    async def _watch(self, readings: list[tuple[float, ServerLoad]]) -> None:
        wait_s = _READ_FIRST_S
        while self._watches and self._watching:  # before Python 3.12 wait_for may keep a cancellation
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * _READ_SLOWER, _READ_EVERY_S)
            with contextlib.suppress(PhituiError):
                load = await self.client.server_load()
                readings.append((time.perf_counter(), load))

    def _made(self, begun: float, readings: list[tuple[float, ServerLoad]]) -> RequestWave:
        seconds = time.perf_counter() - begun
        problem = self._problem()
        if problem:
            return RequestWave([], [], [], seconds, problem=problem)
        rows = [[at - begun for at in one.times] for one in self._asked.values()]
        usages = [one.end.usage for one in self._asked.values() if isinstance(one.end, Finished)]
        first_end = min(row[-1] for row in rows)
        kv_use = [load.kv_use for _, load in readings if load.kv_use is not None]
        return RequestWave(
            rows,
            [usage.completion_tokens or 0 for usage in usages],
            [usage.prompt_tokens or 0 for usage in usages],
            seconds,
            _waiting(readings[1:], begun + first_end),
            max(kv_use, default=None),
            sum(row[0] > first_end for row in rows),
        )

    def _problem(self) -> str:
        """Why there are no figures. Raises UnavailableError where there is no server."""
        for one in self._asked.values():
            if isinstance(one.end, Rejected | BrokeOff):
                if one.end.failure.exit_code == ExitCode.UNAVAILABLE:
                    raise one.end.failure.error()
                return one.end.failure.message
        for one in self._asked.values():
            if isinstance(one.end, Finished) and None in (one.end.usage.completion_tokens, one.end.usage.prompt_tokens):
                return "; ".join(one.end.notes) or "the server does not count tokens"
        return ""


def _waiting(readings: list[tuple[float, ServerLoad]], first_end: float) -> int | None:
    """The most that waited, in all readings but the first, when requests may wait for those of the wave before to be
    put away. That none waits says nothing any more once a request has ended."""
    told = [(at, load.waiting) for at, load in readings if load.waiting is not None]
    most = max((waiting for _, waiting in told), default=0)
    return most if most or any(at < first_end for at, _ in told) else None


def notes_on(waves: list[RequestWave], prompt_tokens: int, new_tokens: int) -> list[str]:
    """What the figures of these waves have to be read with."""
    prompts = [count for wave in waves for count in wave.prompts]
    made = [count for wave in waves for count in wave.counts]
    said = ["no two prompts begin alike, apart from what the template puts before them"]
    if prompts and (found := round(statistics.fmean(prompts))) != prompt_tokens:
        said.append(f"prompts had {found} tokens on average, by the server's count; {prompt_tokens} were asked for")
    if made and min(made) < new_tokens:
        said.append(
            f"this server ends answers where the model does: they had {min(made)} to {max(made)} tokens, "
            f"{statistics.fmean(made):.0f} on average"
        )
    return said
