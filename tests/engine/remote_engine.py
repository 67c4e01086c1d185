"""A remote engine's client with its events in a list."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

from phitui.config.remotes import RemoteSettings
from phitui.engine.protocol.api import BrokeOff, Delta, Finished, Rejected, Sampling, Turn
from phitui.engine.remote.client import RemoteClient
from phitui.engine.remote.endpoint import endpoint_of

HI = [Turn("user", "Hi there")]
GREEDY = Sampling(max_tokens=12, temperature=0.0, top_k=0, top_p=1.0, repetition_penalty=1.0)


class RemoteEngine:
    def __init__(self, url, environ=None, name="box", **settings):
        self.events = []
        settings = RemoteSettings(url=url, **settings)
        self.client = RemoteClient(endpoint_of(name, settings, environ or {}), self.events.append)

    async def ask(self, turns=HI, sampling=GREEDY, timeout_s=60):
        """The text that came and the event that ended it."""
        number = await self.client.generate(turns, sampling)
        return await self.ending(number, timeout_s)

    async def ending(self, number, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for event in self.events:
                if isinstance(event, Finished | Rejected | BrokeOff) and event.id == number:
                    return self.text(number), event
            await asyncio.sleep(0.002)
        raise AssertionError(f"no end; there were {self.events}")

    def text(self, number):
        return "".join(event.text for event in self.events if isinstance(event, Delta) and event.id == number)

    async def first_delta(self, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while not any(isinstance(event, Delta) for event in self.events):
            assert time.monotonic() < deadline, self.events
            await asyncio.sleep(0.002)


@asynccontextmanager
async def connected(url, environ=None, **settings):
    engine = RemoteEngine(url, environ, **settings)
    try:
        await engine.client.connect()
        yield engine
    finally:
        await engine.client.stop()
