"""How streams are read below httpx: by asyncio itself, with the errors that httpcore would raise."""

import asyncio
import socket

import httpcore
import pytest
from remote_engine import RemoteEngine

from phitui.config.remotes import RemoteSettings
from phitui.core.errors import UnavailableError
from phitui.engine.remote.endpoint import endpoint_of
from phitui.engine.remote.network import AsyncioBackend
from phitui.engine.remote.transport import open_client


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def serving(answer):
    """A server that hands each connection to `answer`, and its port."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(("url", "plainly"), [("http://127.0.0.1:1", True), ("https://127.0.0.1:1", False)])
async def test_only_plain_connections_are_read_so(url, plainly):
    """Fails where a new httpx keeps its connections elsewhere: then a token costs twice as much again."""
    async with open_client(endpoint_of("box", RemoteSettings(url=url), {})) as client:
        assert isinstance(client._transport._pool._network_backend, AsyncioBackend) is plainly


async def test_each_failure_is_httpcores_with_the_systems_as_its_cause():
    backend = AsyncioBackend()
    with pytest.raises(httpcore.ConnectError) as refused:
        await backend.connect_tcp("127.0.0.1", closed_port(), timeout=5)
    assert isinstance(refused.value.__cause__, ConnectionRefusedError)
    with pytest.raises(httpcore.ConnectError) as unknown:
        await backend.connect_tcp("no-such-host.invalid", 80, timeout=20)
    assert isinstance(unknown.value.__cause__, socket.gaierror)

    async def hang(reader, writer):
        await reader.read()
        writer.close()

    server, port = await serving(hang)
    async with server:
        stream = await backend.connect_tcp("127.0.0.1", port, timeout=5)
        with pytest.raises(httpcore.ReadTimeout):
            await stream.read(100, timeout=0.05)
        big = b"x" * 50_000_000
        await stream.write(b"")

        async def deaf(reader, writer):
            await asyncio.sleep(60)

        other, its_port = await serving(deaf)
        async with other:
            full = await backend.connect_tcp("127.0.0.1", its_port, timeout=5)
            with pytest.raises(httpcore.WriteTimeout):
                await full.write(big, timeout=0.2)
            await full.aclose()
        await stream.aclose()


async def test_a_host_with_several_addresses_that_all_refuse(monkeypatch):
    """As localhost has mostly: the line says why, and not what asyncio makes of two errors."""
    port = closed_port()
    ask = socket.getaddrinfo
    addresses = [ask(host, port, type=socket.SOCK_STREAM)[0] for host in ("127.0.0.1", "127.0.0.2")]
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        with pytest.raises(httpcore.ConnectError, match="Multiple exceptions"):
            await AsyncioBackend().connect_tcp("two.example", port, timeout=5)
        engine = RemoteEngine(f"http://two.example:{port}")
        with pytest.raises(UnavailableError, match="cannot be reached: Connection refused"):
            await engine.client.connect()


async def test_a_connection_that_is_reset_is_a_read_error_and_one_at_its_end_is_known():
    backend = AsyncioBackend()

    async def reset(reader, writer):
        await reader.readexactly(1)
        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        writer.transport.abort()

    server, port = await serving(reset)
    async with server:
        stream = await backend.connect_tcp("127.0.0.1", port, timeout=5)
        assert stream.get_extra_info("is_readable") is False
        await stream.write(b"x")
        with pytest.raises(httpcore.ReadError) as lost:
            await stream.read(100)
        assert isinstance(lost.value.__cause__, ConnectionResetError)
        assert stream.get_extra_info("is_readable") is True
        await stream.aclose()

    async def leave(reader, writer):
        writer.close()

    server, port = await serving(leave)
    async with server:
        stream = await backend.connect_tcp("127.0.0.1", port, timeout=5)
        assert await stream.read(100) == b""
        assert stream.get_extra_info("is_readable") is True
        await stream.aclose()
