"""The engine that answers: the local one, or one of those on other machines that are configured."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phitui.config.layers import Config
from phitui.config.remotes import LOCAL, RemoteSettings
from phitui.config.schema import nearest
from phitui.core.errors import PhituiError, UsageError
from phitui.core.text import one_line
from phitui.engine.local.client import EngineClient
from phitui.engine.protocol.api import Counted, Event, Load, Loaded, OpenBatch, Row, Sampling, Turn

if TYPE_CHECKING:  # it brings httpx: only where such an engine is chosen
    from phitui.engine.remote.client import RemoteClient
    from phitui.engine.remote.metrics import ServerLoad


class Engines:
    """One engine to whoever uses it. Which of them answers can change; events of one that was let go of are dropped."""

    def __init__(self, log: Path, on_event: Callable[[Event], None], restart_limit: int = 3) -> None:
        self._on_event = on_event
        self._local = EngineClient(log, partial(self._pass_on, LOCAL), restart_limit)
        self._current: EngineClient | RemoteClient = self._local
        self._name = LOCAL

    @property
    def name(self) -> str:
        """The engine that answers, or is asked to: "ct2" or that of an [engines.NAME]."""
        return self._name

    @property
    def is_local(self) -> bool:
        """Whether the one that answers is on this machine."""
        return self._name == LOCAL

    @property
    def loaded(self) -> Loaded | None:
        return self._current.loaded

    @property
    def pid(self) -> int | None:
        return self._current.pid

    @property
    def holding(self) -> str | None:
        return self._current.holding

    @property
    def folder(self) -> str | None:
        return self._current.folder

    def restart_always(self, always: bool) -> None:
        """See `EngineClient.restart_always`: of the local engine."""
        self._local.restart_always(always)

    async def warm(self) -> None:
        await self._local.warm()

    async def load(self, load: Load) -> None:
        """Load a model here: a remote engine is let go of. See `EngineClient.load`."""
        if self._current is not self._local:
            before, self._current, self._name = self._current, self._local, LOCAL
            await before.stop()
        await self._local.load(load)

    async def connect(self, remote: RemoteClient, epoch: int = 0) -> None:
        """Have `remote`, which is connected, answer from here on: the one before has ended when `Loaded` comes, which
        has this `epoch`."""
        before = self._current
        self._current, self._name = remote, remote.endpoint.name
        if before is not remote:
            await before.stop()
        if remote.loaded is not None:
            remote.loaded = replace(remote.loaded, epoch=epoch)
            self._on_event(remote.loaded)

    async def generate(self, turns: list[Turn], sampling: Sampling, answers: int = 1) -> int:
        return await self._current.generate(turns, sampling, answers)

    async def count(self, turns: list[Turn], text: str = "") -> Counted:
        return await self._current.count(turns, text)

    async def open_batch(self, batch: OpenBatch) -> int:
        """See `EngineClient.open_batch`."""
        return await self._current.open_batch(batch)

    async def add_rows(self, batch_id: int, rows: list[Row], last: bool = False) -> None:
        """See `EngineClient.add_rows`."""
        await self._current.add_rows(batch_id, rows, last)

    async def server_load(self) -> ServerLoad | None:
        """What the remote engine that answers says of its load; None where none does."""
        current = self._current
        if isinstance(current, EngineClient) or current.loaded is None:
            return None
        return await current.server_load()

    async def cancel(self, request_id: int) -> None:
        await self._current.cancel(request_id)

    async def park(self) -> None:
        await self._current.park()

    async def stop(self) -> None:
        await self._current.stop()
        if self._current is not self._local:
            await self._local.stop()

    def _pass_on(self, name: str, event: Event) -> None:
        if name == self._name:
            self._on_event(event)

    async def reach(
        self,
        name: str,
        settings: RemoteSettings,
        environ: Mapping[str, str] = os.environ,
        tell: Callable[[str], None] | None = None,
    ) -> RemoteClient:
        """A connected client of the configured engine `name`; nothing else has changed yet. `tell` as in
        `RemoteClient.connect`. Raises PhituiError."""
        client = await _import_client()
        from phitui.engine.remote.endpoint import endpoint_of

        remote = client(endpoint_of(name, settings, environ), partial(self._pass_on, name))
        await remote.connect(tell)
        return remote


async def _import_client() -> type[RemoteClient]:
    """httpx takes a fifth of a second, which is not the screen's to wait."""

    def imported() -> type[RemoteClient]:
        from phitui.engine.remote.client import RemoteClient

        return RemoteClient

    return await asyncio.to_thread(imported)


def remote_settings(config: Config, name: str) -> RemoteSettings:
    """[engines.NAME]. Raises UsageError where there is none."""
    if name in config.engines:
        return config.engines[name]
    near = nearest(name, [LOCAL, *config.engines])
    known = f"did you mean {near}?" if near else f"there is {', '.join([LOCAL, *config.engines])}"
    raise UsageError(
        f'no engine is called "{one_line(name, 60)}"; {known}',
        "Give its URL, or write an [engines.NAME] into config.toml.",
    )


async def reached(config: Config, environ: Mapping[str, str] = os.environ) -> tuple[RemoteClient, Loaded]:
    """A connected client of the configured server, whose events are dropped, and what it says of itself. Raises
    PhituiError."""
    from phitui.engine.remote.endpoint import endpoint_of

    name = config.engine.name
    settings = remote_settings(config, name)
    remote = (await _import_client())(endpoint_of(name, settings, environ), _nobody)
    return remote, await remote.connect()


def _nobody(event: Event) -> None:
    """Drops an event: a client that only asks what the server is needs none."""
    del event


async def is_there(
    name: str, settings: RemoteSettings, environ: Mapping[str, str] = os.environ
) -> Loaded | PhituiError:
    """What the engine says of itself, or why it says nothing. No prompt is sent."""
    from phitui.engine.remote.endpoint import endpoint_of

    try:
        remote = (await _import_client())(endpoint_of(name, settings, environ), _nobody)
        try:
            return await remote.connect()
        finally:
            await remote.stop()
    except PhituiError as error:
        return error
