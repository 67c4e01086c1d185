"""Reads a server's stream straight from asyncio, in the place of anyio below httpx: half of what a token costs.

httpcore's own backend (1.0, on anyio 4) enters two context managers for each read, and adds and removes the socket from
the selector. A token is a read. Only plain connections are read so: what TLS costs is another matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx


class AsyncioBackend(httpcore.AsyncNetworkBackend):
    """Connections by asyncio's streams. Raises httpcore's errors, each with the system's as its cause."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        del socket_options  # none are asked for; asyncio sets TCP_NODELAY itself
        local = None if local_address is None else (local_address, 0)
        opened = asyncio.open_connection(host, port, local_addr=local, happy_eyeballs_delay=0.25)
        try:
            reader, writer = await asyncio.wait_for(opened, timeout)
        except asyncio.TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        return _Stream(reader, writer)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            if timeout is None:
                return await self._reader.read(max_bytes)
            return await asyncio.wait_for(self._reader.read(max_bytes), timeout)
        except asyncio.TimeoutError as error:
            raise httpcore.ReadTimeout from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        try:
            self._writer.write(buffer)
            await asyncio.wait_for(self._writer.drain(), timeout)
        except asyncio.TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        self._writer.close()
        await asyncio.sleep(0)
        self._writer.transport.abort()  # what is not sent by now is for nobody

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # of a connection at rest: that it is over
            return self._reader.at_eof() or self._reader.exception() is not None
        return None


def read_plainly(client: httpx.AsyncClient) -> None:
    """Have what goes to a server without a proxy, and without TLS, be read so. Where httpx keeps its connections in
    another place than this one knows, nothing changes."""
    pool = getattr(client._transport, "_pool", None)
    if type(pool) is httpcore.AsyncConnectionPool and hasattr(pool, "_network_backend"):
        pool._network_backend = AsyncioBackend()
