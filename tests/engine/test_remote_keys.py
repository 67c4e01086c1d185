"""Keys: where they come from, and everywhere that they do not go."""

import logging
import os
import pickle

import pytest
from raw_server import raw_server
from remote_engine import RemoteEngine, connected

from phitui.config.remotes import HostSettings, RemoteSettings
from phitui.core.errors import PhituiError, UsageError
from phitui.engine.remote.endpoint import endpoint_of
from phitui.workbench.telemetry.hosts import ask_once

KEY = "sk-0123456789-very-secret"


def fine(connection):
    connection.head()
    connection.piece("ok", "stop")
    connection.usage(5, 1)
    connection.done()


def key_file(tmp_path, text=KEY + "\n", mode=0o600):
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


async def test_from_the_environment():
    with raw_server(fine) as server:
        async with connected(server.url, {"BOX_KEY": KEY}, api_key_env="BOX_KEY") as engine:
            assert (await engine.ask())[0] == "ok"
        assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}


async def test_from_a_file(tmp_path):
    with raw_server(fine) as server:
        async with connected(server.url, api_key_file=key_file(tmp_path)):
            pass
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_headers_are_sent():
    with raw_server(fine) as server:
        async with connected(server.url, headers={"X-Team": "llm"}) as engine:
            await engine.ask()
        assert {request.headers["x-team"] for request in server.requests} == {"llm"}


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(tmp_path, mode):
    settings = RemoteSettings(url="http://127.0.0.1", api_key_file=key_file(tmp_path, mode=mode))
    with pytest.raises(UsageError, match="can be read by others") as caught:
        endpoint_of("box", settings, {})
    assert "chmod 600" in str(caught.value) and KEY not in str(caught.value)


@pytest.mark.parametrize("text", ["", " \n", "two words", "caf\u00e9", "a\nb", "x" * 9000])
def test_what_is_no_key(tmp_path, text):
    settings = RemoteSettings(url="http://127.0.0.1", api_key_file=key_file(tmp_path, text))
    with pytest.raises(UsageError, match="has no key in it"):
        endpoint_of("box", settings, {})


def test_of_a_file_that_is_too_large_no_part_is_taken_for_the_key(tmp_path):
    settings = RemoteSettings(url="http://127.0.0.1", api_key_file=key_file(tmp_path, KEY + " " * 20_000 + "x"))
    with pytest.raises(UsageError, match="the limit is 16,384"):
        endpoint_of("box", settings, {})


def test_a_file_that_is_not_there_or_no_file(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match=r"cannot be read|is no file"):
            endpoint_of("box", RemoteSettings(url="http://127.0.0.1", api_key_file=str(path)), {})


def test_a_variable_that_is_not_set_and_both_at_once():
    with pytest.raises(UsageError, match="is not set"):
        endpoint_of("box", RemoteSettings(url="http://127.0.0.1", api_key_env="NOT_SET"), {})
    both = RemoteSettings(url="http://127.0.0.1", api_key_env="A", api_key_file="b")
    with pytest.raises(UsageError, match="both"):
        endpoint_of("box", both, {"A": KEY})


@pytest.mark.parametrize("secret", [{"api_key_env": "BOX_KEY"}, {"headers": {"X-Key": KEY}}])
def test_it_does_not_go_unencrypted_to_another_machine(secret):
    for url in ("http://10.0.0.7:8000", "http://box.example", "http://[2001:db8::1]:8000", "http://0.0.0.0:8000"):
        with pytest.raises(UsageError, match="unencrypted") as caught:
            endpoint_of("box", RemoteSettings(url=url, **secret), {"BOX_KEY": KEY})
        assert KEY not in str(caught.value)
        endpoint_of("box", RemoteSettings(url=url, plain_http_key=True, **secret), {"BOX_KEY": KEY})
    for url in ("http://127.0.0.1:1", "http://[::1]:1", "http://localhost", "https://box.example"):
        endpoint_of("box", RemoteSettings(url=url, **secret), {"BOX_KEY": KEY})


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_does_not_carry_it_to_another_host(status):
    with raw_server(fine) as thief:
        away = {"/v1/models": lambda c: c.reply(status, Location=f"{thief.url}/v1/models")}
        with raw_server(fine, away) as server:
            engine = RemoteEngine(server.url, {"BOX_KEY": KEY}, api_key_env="BOX_KEY")
            with pytest.raises(PhituiError, match=r"redirects to .*, which is not followed"):
                await engine.client.connect()
        with raw_server(lambda c: c.reply(status, Location=f"{thief.url}/v1/chat/completions")) as server:
            async with connected(server.url, {"BOX_KEY": KEY}, api_key_env="BOX_KEY") as engine:
                _, end = await engine.ask()
                assert "redirects to" in end.failure.message
        assert thief.requests == []


async def test_it_is_in_no_text(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    settings = {"api_key_env": "BOX_KEY", "headers": {"X-Other": KEY[::-1]}}

    def refuses(connection):
        connection.reply(401, b'{"error": "wrong key"}')

    with raw_server(refuses) as server:
        async with connected(server.url, {"BOX_KEY": KEY}, **settings) as engine:
            _, end = await engine.ask()
            endpoint = engine.client.endpoint
            texts = [repr(end), str(end.failure.error()), repr(endpoint), str(endpoint), repr(endpoint.settings)]
            texts += [repr(engine.client.loaded), repr(engine.client.__dict__), repr(vars(engine.client._http))]
            with pytest.raises(TypeError):
                pickle.dumps(endpoint.key)
    texts += ["".join(capfd.readouterr()), caplog.text]
    for text in texts:
        assert KEY not in text and KEY[::-1] not in text


@pytest.fixture
def proxy(monkeypatch):
    """What the environment names as the proxy for everything."""
    with raw_server(fine) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, server.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield server


async def test_what_is_on_this_machine_is_not_asked_through_a_proxy(proxy):
    with raw_server(fine) as server:
        async with connected(server.url, {"BOX_KEY": KEY}, api_key_env="BOX_KEY") as engine:
            assert (await engine.ask())[0] == "ok"
        metrics = HostSettings(url=server.url, api_key_env="BOX_KEY")
        assert isinstance(await ask_once("gpu1", metrics, {"BOX_KEY": KEY}), PhituiError)
        assert [request.path for request in server.requests][-1] == "/metrics"
    assert proxy.requests == []


async def test_another_machine_is(proxy):
    with pytest.raises(PhituiError):
        async with connected("http://box.example:8000", os.environ):
            pass
    assert proxy.requests[0].path.startswith("http://box.example:8000/")


ECHOES = {
    "a refusal": lambda c: c.reply(401, f'{{"error": "wrong key {KEY}, header {OTHER}"}}'.encode()),
    "a text": lambda c: c.reply(500, f"{'x' * 280} {KEY} {OTHER}".encode(), "text/plain"),
    "a redirect": lambda c: c.reply(302, Location=f"https://elsewhere/?a={KEY}&b=%2Fother-secret"),
    "an error event": lambda c: (c.head(), c.event({"error": {"message": f"no such key: {KEY}"}})),
    "no stream": lambda c: c.reply(200, f"wrong key {KEY}".encode(), "text/plain"),
    "a broken head": lambda c: c.send(b"HTTP/1.1 200 OK\r\n" + KEY.encode() + b"\r\n\r\n"),
    "the reason": lambda c: (c.head(), c.piece("ok", KEY), c.usage(KEY, 1), c.done()),
}
OTHER = "/other-secret"


@pytest.mark.parametrize("name", ECHOES)
async def test_a_server_that_repeats_it_is_not_quoted(name):
    settings = {"api_key_env": "BOX_KEY", "headers": {"X-Other": f"Bearer {OTHER}", "X-Team": "llm"}, "retries": 0}
    with raw_server(ECHOES[name]) as server:
        async with connected(server.url, {"BOX_KEY": KEY}, **settings) as engine:
            _, end = await engine.ask()
    assert "…" in repr(end)
    for secret in (KEY, KEY[:12], OTHER, "other-secret"):
        assert secret not in repr(end)


def test_what_is_too_short_for_a_secret_takes_no_word_apart():
    endpoint = endpoint_of("box", RemoteSettings(url="http://127.0.0.1", headers={"X-Team": "llm"}), {})
    assert endpoint.told("vllm has no room", 100) == "vllm has no room"
