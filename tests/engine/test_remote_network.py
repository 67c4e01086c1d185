"""What a person reads where a connection cannot be made, or breaks."""

import socket

import pytest
from remote_engine import RemoteEngine

from phitui.core.errors import UnavailableError


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "127.0.0.2"]])
async def test_a_host_whose_addresses_all_refuse(monkeypatch, addresses):
    """Several are what localhost has mostly: the line says why, and not what the library makes of two errors."""
    port = closed_port()
    ask = socket.getaddrinfo
    found = [ask(address, port, type=socket.SOCK_STREAM)[0] for address in addresses]
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        engine = RemoteEngine(f"http://two.example:{port}")
        with pytest.raises(UnavailableError, match="cannot be reached: Connection refused"):
            await engine.client.connect()


async def test_a_host_that_nobody_knows():
    engine = RemoteEngine("http://no-such-host.invalid:8000")
    with pytest.raises(UnavailableError, match=r"the host of no-such-host\.invalid:8000 is not known"):
        await engine.client.connect()
