"""What goes wrong between here and a server: one clear line each, the text that came is kept, the next prompt works."""

import asyncio
import ssl
import time
import zlib

import pytest
import trustme
from raw_server import MODELS, raw_server
from remote_engine import GREEDY, HI, RemoteEngine, connected
from support.waiting import until

from phitui.core.errors import PhituiError, UnavailableError, UsageError
from phitui.engine.protocol.api import BrokeOff, Finished, Rejected, Retrying

QUICK = {"retries": 0, "connect_timeout_s": 2.0}


async def refused(kind, match, url, **settings):
    """There is no connection, and one line says why."""
    with pytest.raises(kind, match=match) as caught:
        await RemoteEngine(url, **{**QUICK, **settings}).client.connect()
    one_line(str(caught.value))


def good(connection):
    connection.head()
    connection.piece("all ")
    connection.piece("well", "stop")
    connection.usage(5, 3)
    connection.done()


def begins(then):
    """An answer that begins, and then this."""

    def chat(connection):
        connection.head()
        connection.piece("half an ")
        connection.piece("answer")
        then(connection)

    return chat


def first_then_good(first):
    """What the first request gets; all others are answered."""
    calls = []

    def chat(connection):
        calls.append(connection)
        (first if len(calls) == 1 else good)(connection)

    return chat


def one_line(text):
    assert "\n" not in text and "\x1b" not in text and "Traceback" not in text and len(text) < 500, text
    return text


BROKEN_AFTER_TEXT = {
    "killed": (lambda c: c.reset(), "connection"),
    "closed": (lambda c: c.socket.close(), "ended in the middle"),
    "half an event": (lambda c: c.send(b'data: {"choices": [{"del'), "ended in the middle"),
    "wrong JSON": (lambda c: c.event(b'{"choices": [}'), "not part of an answer"),
    "JSON of another kind": (lambda c: c.event(b"7"), "not part of an answer"),
    "nested JSON": (lambda c: c.event(b"[" * 100_000), "not part of an answer"),
    "an error event": (lambda c: c.event({"error": {"message": "out of memory"}}), "out of memory"),
    "TGI's error event": (lambda c: c.event({"error": "dead", "error_type": "generation"}), "dead"),
    "an error with escapes": (lambda c: c.event({"error": "\x1b]0;x\x07\x1b[31mred\nline"}), "red line"),
}


@pytest.mark.parametrize("name", BROKEN_AFTER_TEXT)
async def test_after_the_first_token_the_text_is_kept_and_nothing_is_sent_again(name):
    fault, words = BROKEN_AFTER_TEXT[name]
    with raw_server(first_then_good(begins(fault))) as server:
        async with connected(server.url, retries=3) as engine:
            text, end = await engine.ask()
            assert text == "half an answer"
            assert isinstance(end, BrokeOff)
            assert words in one_line(end.failure.message)
            assert end.failure.exit_code == 1
            assert len(server.chats()) == 1
            text, end = await engine.ask()
            assert (text, end.reason) == ("all well", "stop")


async def test_a_hang_without_bytes_ends_at_the_limit():
    with raw_server(first_then_good(lambda c: c.hang())) as server:
        async with connected(server.url, first_token_timeout_s=0.3) as engine:
            begun = time.monotonic()
            text, end = await engine.ask()
            assert time.monotonic() - begun > 0.25
            assert (text, type(end)) == ("", BrokeOff)
            assert "no first token within 0.3 s" in one_line(end.failure.message)
            text, end = await engine.ask()
            assert (text, end.reason) == ("all well", "stop")


async def test_a_hang_in_the_answer_keeps_the_text():
    with raw_server(begins(lambda c: c.hang())) as server:
        async with connected(server.url, idle_timeout_s=0.3) as engine:
            text, end = await engine.ask()
            assert text == "half an answer"
            assert "no token for 0.3 s" in one_line(end.failure.message)


async def test_a_slow_drip_of_bytes_that_are_no_tokens_does_not_put_the_limit_off():
    def drip(connection):
        while not connection.closed.wait(0.05):
            connection.send(b": ping\n\n")

    with raw_server(begins(drip)) as server:
        async with connected(server.url, idle_timeout_s=0.4) as engine:
            text, end = await engine.ask()
            assert text == "half an answer"
            assert "no token for 0.4 s" in end.failure.message


async def test_a_slow_drip_of_tokens_goes_on():
    def drip(connection):
        for letter in "slowly":
            time.sleep(0.15)
            connection.piece(letter)
        connection.piece(None, "stop")
        connection.usage(5, 8)
        connection.done()

    with raw_server(begins(drip)) as server:
        async with connected(server.url, idle_timeout_s=0.85) as engine:  # less than it takes
            text, end = await engine.ask()
            assert text == "half an answerslowly"
            assert end.timings.gaps.count == 7
            assert 130 < end.timings.gaps.p50_ms < 850


async def test_pings_before_the_first_token_are_no_token():
    def pings(connection):
        connection.head()
        while not connection.closed.wait(0.05):
            connection.send(b": ping\n\n")

    with raw_server(pings) as server:
        async with connected(server.url, first_token_timeout_s=0.4) as engine:
            _, end = await engine.ask()
            assert "no first token within" in end.failure.message


async def test_an_event_of_10_MB_is_refused_long_before_it_is_whole():
    sent = []

    def huge(connection):
        connection.send(b'data: {"choices": [{"delta": {"content": "')
        for _ in range(160):
            connection.send(b"x" * 65536)
            sent.append(65536)

    with raw_server(begins(huge)) as server:
        async with connected(server.url) as engine:
            text, end = await engine.ask()
            assert text == "half an answer"
            assert "an event of more than 1,000,000 bytes" in one_line(end.failure.message)
    assert sum(sent) < 10_000_000


async def test_an_event_of_many_short_lines_is_bounded_too():
    def lines(connection):
        for _ in range(200):
            connection.send(b"data: x\n" * 4096)

    with raw_server(begins(lines)) as server:
        async with connected(server.url) as engine:
            _, end = await engine.ask()
            assert "an event of more than" in end.failure.message


async def test_an_answer_without_end_is_bounded():
    def endless(connection):
        while True:
            connection.piece("x" * 60_000)

    with raw_server(begins(endless)) as server:
        async with connected(server.url) as engine:
            text, end = await engine.ask()
            assert "characters for at most 12 tokens" in one_line(end.failure.message)
            assert len(text) <= 1_000_000


async def test_wrong_utf8_is_a_mark_and_not_the_end():
    def latin(connection):
        connection.head()
        connection.event(b'{"choices": [{"delta": {"content": "caf\xe9 \xff"}, "finish_reason": "stop"}]}')
        connection.usage(5, 3)
        connection.done()

    with raw_server(latin) as server:
        async with connected(server.url) as engine:
            text, end = await engine.ask()
            assert text == "caf\ufffd \ufffd"
            assert isinstance(end, Finished)


LATIN = (
    b'{"data": [{"id": "caf\xe9"}], "version": "caf\xe9", "model_id": "caf\xe9", "prompt": "caf\xe9",'
    b' "default_generation_settings": {"n_ctx": "caf\xe9"}}'
)


def latin(connection):
    connection.reply(200, LATIN)


async def test_a_list_of_models_in_wrong_utf8_is_none():
    with raw_server(good, gets={"/v1/models": latin}) as server:
        await refused(UnavailableError, "not an engine that phitui knows", server.url)


@pytest.mark.parametrize("path", ["/props", "/info", "/api/version", "/version"])
async def test_what_else_it_says_of_itself_in_wrong_utf8_is_nothing(path):
    owner = "vllm" if path == "/version" else "somebody"
    models = {"data": [{"id": "m", "owned_by": owner}]}
    with raw_server(good, gets={"/v1/models": models, path: latin}) as server:
        async with connected(server.url) as engine:
            assert engine.client.loaded.remote.kind == ("vLLM" if owner == "vllm" else "OpenAI-style")
            assert (await engine.ask())[0] == "all well"


async def test_counts_and_slots_in_wrong_utf8_are_unknown():
    slots = b'[{"is_processing": true, "n_ctx": "caf\xe9"}]'
    with raw_server(latin, gets={"/v1/models": MODELS, "/slots": lambda c: c.reply(200, slots)}) as server:
        async with connected(server.url, kind="llama.cpp") as engine:
            counted = await engine.client.count(HI)
            assert not counted.exact and counted.tokens > 0
            assert (await engine.client.server_load()).kv_use is None


@pytest.mark.parametrize(
    "then", [lambda c: c.reset(), lambda c: c.event(b"{half"), lambda c: c.event({"error": "late"})]
)
async def test_what_goes_wrong_after_the_reason_does_not_undo_the_answer(then):
    def chat(connection):
        connection.head()
        connection.piece("all well", "stop")
        time.sleep(0.05)  # so that the piece is read before the connection is gone
        then(connection)

    with raw_server(chat) as server:
        async with connected(server.url) as engine:
            text, end = await engine.ask()
            assert (text, type(end), end.reason) == ("all well", Finished, "stop")
            assert any("after the end of the answer" in one_line(note) for note in end.notes)


async def test_a_count_that_drips_is_estimated(monkeypatch):
    monkeypatch.setattr("phitui.engine.remote.counting._WITHIN_S", 0.3)

    def drips(connection):
        connection.head(200, "application/json")
        while not connection.closed.wait(0.05):
            connection.send(b" ")

    with raw_server(drips) as server:
        async with connected(server.url, kind="vllm") as engine:
            counted = await engine.client.count(HI)
            assert not counted.exact


@pytest.mark.parametrize(
    ("encoding", "sent", "words"),
    [
        ("gzip", b"no gzip at all", "cannot be read"),
        ("gzip", zlib.compress(b"x" * 30_000_000, wbits=31), "a body of more than 4,000,000 bytes"),
        ("br", b"\x8b", "should send plain: br"),
    ],
    ids=("no gzip", "too much", "brotli"),
)
async def test_compressed_where_plain_was_asked_for(encoding, sent, words):
    """It is read, but no more of it than of what comes plain."""

    def chat(connection):
        connection.head(Content_Encoding=encoding)
        connection.send(sent)

    with raw_server(chat) as server:
        async with connected(server.url, retries=0) as engine:
            _, end = await engine.ask()
            assert words in one_line(end.failure.message)


async def test_a_page_instead_of_a_stream():
    with raw_server(lambda c: c.reply(200, b"<html>hello</html>", "text/html")) as server:
        async with connected(server.url) as engine:
            _, end = await engine.ask()
            assert "a web page in the place of an answer: hello" in one_line(end.failure.message)


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "requests", "words"),
    [
        (400, b'{"error": {"message": "too many tokens"}}', Rejected, 2, 1, "too many tokens"),
        (401, b'{"error": "no key"}', BrokeOff, 1, 1, "no key"),
        (404, b'{"message": "no model m"}', BrokeOff, 1, 1, "no model m"),
        (422, b'{"error": "inputs too long", "error_type": "validation"}', Rejected, 2, 1, "inputs too long"),
        (429, b"slow down", BrokeOff, 1, 3, "slow down"),
        (500, b"<html>oops</html>", BrokeOff, 1, 3, "answers 500"),
        (503, b'{"error": {"message": "Come back later"}}', BrokeOff, 1, 3, "Come back later"),
        (418, b"\x1b[2J\xff" * 50, BrokeOff, 1, 1, "answers 418"),
    ],
)
async def test_refusals(status, body, kind, code, requests, words, monkeypatch):
    monkeypatch.setattr("phitui.engine.remote.patience._BACKOFF_S", 0.02)
    with raw_server(lambda c: c.reply(status, body)) as server:
        async with connected(server.url, retries=2) as engine:
            text, end = await engine.ask()
            assert (text, type(end), end.failure.exit_code) == ("", kind, code)
            assert f"answers {status}" in end.failure.message and words in one_line(str(end.failure.error()))
            assert len(server.chats()) == requests
            assert sum(isinstance(event, Retrying) for event in engine.events) == requests - 1


@pytest.mark.parametrize("first", [lambda c: c.reply(503), lambda c: c.reset(), lambda c: c.reply(429)])
async def test_before_the_first_token_it_is_sent_again_and_that_is_told(first, monkeypatch):
    monkeypatch.setattr("phitui.engine.remote.patience._BACKOFF_S", 0.02)
    with raw_server(first_then_good(first)) as server:
        async with connected(server.url) as engine:
            text, end = await engine.ask()
            assert (text, end.reason) == ("all well", "stop")
            told = [event.text for event in engine.events if isinstance(event, Retrying)]
            assert len(told) == 1 and "2 more tries" in one_line(told[0])


async def test_the_servers_own_wait_is_kept():
    with raw_server(first_then_good(lambda c: c.reply(429, Retry_After="1"))) as server:
        async with connected(server.url) as engine:
            begun = time.monotonic()
            await engine.ask()
            assert time.monotonic() - begun > 0.95


async def test_cancel_while_it_waits_to_try_again():
    with raw_server(lambda c: c.reply(429, Retry_After="20")) as server:
        async with connected(server.url) as engine:
            number = await engine.client.generate([], GREEDY)
            await until(lambda: engine.events and isinstance(engine.events[-1], Retrying))
            await engine.client.cancel(number)
            _, end = await engine.ending(number, 15)
            assert end.reason == "cancelled"


async def test_cancel_closes_the_stream():
    ended = []

    def endless(connection):
        connection.head()
        try:
            while True:
                connection.piece("word ")
                time.sleep(0.01)
        except OSError:
            ended.append(time.monotonic())

    with raw_server(endless) as server:
        async with connected(server.url) as engine:
            number = await engine.client.generate([], GREEDY)
            await engine.first_delta()
            await engine.client.cancel(number)
            _, end = await engine.ending(number)
            assert end.reason == "cancelled" and end.notes == []
            assert end.usage.completion_tokens is None and end.timings.ttft_ms > 0 and end.timings.tpot_ms is None
            await until(lambda: ended)


async def test_stop_in_mid_answer_leaves_no_event_and_no_task():
    with raw_server(begins(lambda c: c.hang())) as server:
        async with connected(server.url) as engine:
            await engine.client.generate([], GREEDY)
            await engine.first_delta()
            await engine.client.stop()
            count = len(engine.events)
            await asyncio.sleep(0.05)
            assert len(engine.events) == count
            assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("phitui-remote")]


async def test_a_server_that_is_not_there():
    with raw_server(good) as server:
        url = server.url
    with pytest.raises(UnavailableError, match="cannot be reached") as caught:
        await RemoteEngine(url, **QUICK).client.connect()
    one_line(str(caught.value))


async def test_a_server_that_goes_between_two_prompts(monkeypatch):
    monkeypatch.setattr("phitui.engine.remote.patience._BACKOFF_S", 0.02)
    with raw_server(good) as server:
        engine = RemoteEngine(server.url, retries=1)
        await engine.client.connect()
    _, end = await engine.ask()
    assert end.failure.exit_code == 3
    assert "cannot be reached" in end.failure.message
    await engine.client.stop()


async def test_a_host_that_nobody_knows():
    with pytest.raises(UnavailableError, match="is not known"):
        await RemoteEngine("http://no-such-host.invalid:8000", **QUICK).client.connect()


async def test_a_server_that_does_not_say_what_it_is():
    with (
        raw_server(good, gets={"/v1/models": lambda c: c.hang()}) as server,
        pytest.raises(UnavailableError, match=r"in time|does not say"),
    ):
        await RemoteEngine(server.url, connect_timeout_s=0.3).client.connect()


async def test_a_list_of_models_without_end():
    def endless(connection):
        connection.head(200, "application/json")
        while True:
            connection.send(b" " * 65536)

    with (
        raw_server(good, gets={"/v1/models": endless}) as server,
        pytest.raises(PhituiError, match="more than 4,000,000 bytes"),
    ):
        await RemoteEngine(server.url, **QUICK).client.connect()


async def test_a_server_of_another_kind():
    with (
        raw_server(good, gets={"/": {"hello": 1}}) as server,
        pytest.raises(UnavailableError, match="is not an engine that phitui knows"),
    ):
        await RemoteEngine(server.url, **QUICK).client.connect()


def certificate(*names):
    """A server's TLS context with a certificate for these names, and the authority that has signed it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context, authority


async def test_a_certificate_of_nobodys_is_refused():
    context, _ = certificate("127.0.0.1")
    with raw_server(good, tls=context) as server:
        with pytest.raises(UnavailableError, match="certificate cannot be trusted") as caught:
            await RemoteEngine(server.url, **QUICK).client.connect()
        assert not server.requests
        one_line(str(caught.value))


async def test_a_certificate_of_a_known_authority(tmp_path):
    context, authority = certificate("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with raw_server(good, tls=context) as server:
        async with connected(server.url, ca_file=str(tmp_path / "ca.pem")) as engine:
            assert (await engine.ask())[0] == "all well"


async def test_a_certificate_of_another_host(tmp_path):
    context, authority = certificate("other.example")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with (
        raw_server(good, tls=context) as server,
        pytest.raises(UnavailableError, match="certificate cannot be trusted"),
    ):
        await RemoteEngine(server.url, ca_file=str(tmp_path / "ca.pem"), **QUICK).client.connect()


async def test_without_verification_it_is_said():
    context, _ = certificate("127.0.0.1")
    with raw_server(good, tls=context) as server:
        async with connected(server.url, verify=False) as engine:
            assert "its certificate is not verified" in engine.client.loaded.why


async def test_https_on_a_plain_port():
    with raw_server(good) as server:
        await refused(UnavailableError, "no TLS connection", server.url.replace("http:", "https:"))


async def test_a_file_without_a_certificate(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(UsageError, match="no certificate"):
        await RemoteEngine("https://127.0.0.1:1", ca_file=str(tmp_path / "ca.pem")).client.connect()
