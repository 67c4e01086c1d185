"""The documented wire formats, replayed: those of text-generation-inference and Ollama, of which no server can be
installed here; vLLM's, whose own server `vllm_tests/` runs; and that of a server which knows the least."""

import json
import time

import pytest
from raw_server import MODELS, raw_server
from remote_engine import GREEDY, connected

from phitui.core.errors import PhituiError, UnavailableError
from phitui.engine.protocol.api import BrokeOff, Delta, Finished, Sampling, Turn

FULL = Sampling(max_tokens=64, temperature=0.5, top_k=40, top_p=0.9, repetition_penalty=1.1)
TURNS = [Turn("system", "Be brief."), Turn("user", "Hi")]
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


# vLLM: /v1/models with max_model_len, and counts in every chunk (continuous_usage_stats).
VLLM = {
    "/v1/models": {
        "object": "list",
        "data": [{"id": "phi", "object": "model", "owned_by": "vllm", "root": "phi", "max_model_len": 4096}],
    },
    "/version": {"version": "0.32.0"},
}


def vllm_chat(connection):
    connection.head()
    about = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "phi"}

    def chunk(delta, reason, completion):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        usage = {"prompt_tokens": 11, "total_tokens": 11 + completion, "completion_tokens": completion}
        connection.event({**about, "choices": [choice], "usage": usage})

    chunk({"role": "assistant", "content": ""}, None, 0)
    chunk({"content": "Hel"}, None, 1)
    chunk({"content": "lo the"}, None, 3)
    time.sleep(0.05)
    chunk({"content": "re"}, "stop", 5)
    usage = {"prompt_tokens": 11, "total_tokens": 16, "completion_tokens": 5}
    connection.event({**about, "choices": [], "usage": usage})
    connection.done()


async def test_vllm():
    with raw_server(vllm_chat, VLLM) as server:
        async with connected(server.url + "/v1") as engine:
            loaded = engine.client.loaded
            assert (loaded.remote.kind, loaded.name, loaded.context_window) == ("vLLM", "phi", 4096)
            assert "vLLM 0.32.0" in loaded.why
            text, end = await engine.ask(TURNS, FULL)
            assert (text, end.reason, end.notes) == ("Hello there", "stop", [])
            assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (11, 5)
            assert [event.tokens for event in engine.events if isinstance(event, Delta)] == [1, 3, 5]
            assert end.timings.gaps.count == 2
            assert end.timings.tpot_ms == pytest.approx((end.timings.total_ms - end.timings.ttft_ms) / 4)
            assert end.timings.tpot_ms > 10
        sent = server.chats()[0].json()
        assert sent["messages"] == MESSAGES
        assert (sent["model"], sent["max_tokens"], sent["temperature"], sent["top_p"]) == ("phi", 64, 0.5, 0.9)
        assert (sent["top_k"], sent["repetition_penalty"]) == (40, 1.1)
        assert sent["stream"] and sent["stream_options"]["include_usage"]


@pytest.mark.parametrize(("tokens", "room", "asked"), [(4000, 200, 96), (4095, 64, 1), (4096, 64, 64), (3000, 64, 64)])
async def test_vllm_is_asked_for_no_more_than_its_window_has_room_for(tokens, room, asked):
    """It answers 400 to more. A prompt without any room is its to refuse; one that surely fits is not counted."""

    def answer(connection):
        if connection.request.path == "/tokenize":
            connection.reply(200, json.dumps({"count": tokens, "max_model_len": 4096}).encode())
        else:
            vllm_chat(connection)

    with raw_server(answer, VLLM) as server:
        async with connected(server.url) as engine:
            draw = Sampling(room, 0.0, 0, 1.0, 1.0)
            await engine.ask([Turn("user", "x" * 4096)], draw)
            assert [request.path for request in server.chats()] == ["/tokenize", "/v1/chat/completions"]
            assert server.chats()[0].json()["messages"] == [{"role": "user", "content": "x" * 4096}]
            assert server.chats()[1].json()["max_tokens"] == asked
            await engine.ask([Turn("user", "Hi")], draw)
            assert len(server.chats()) == 3


async def test_a_model_that_vllm_has_not():
    with raw_server(vllm_chat, VLLM) as server, pytest.raises(PhituiError, match=r"has no model gpt-5.*It has: phi"):
        async with connected(server.url, model="gpt-5"):
            pass


# TGI (router/src/server.rs of 3.x): /info, /v1/models without a sign of its kind, "data:" without a blank.
TGI = {
    "/v1/models": {
        "object": "list",
        "data": [{"id": "org/phi", "object": "model", "created": 0, "owned_by": "org/phi"}],
    },
    "/info": {
        "model_id": "org/phi",
        "model_sha": None,
        "max_concurrent_requests": 128,
        "max_best_of": 2,
        "max_stop_sequences": 4,
        "max_input_tokens": 3000,
        "max_total_tokens": 4000,
        "validation_workers": 2,
        "max_client_batch_size": 4,
        "router": "text-generation-router",
        "version": "3.3.6-dev0",
        "sha": None,
        "docker_label": None,
    },
}


def tgi_chunk(text, reason=None, usage=None, choices=True):
    delta = {"role": "assistant", "content": text}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    about = {"object": "chat.completion.chunk", "id": "", "created": 1, "model": "org/phi"}
    value = {**about, "system_fingerprint": "3.3.6", "choices": [choice] if choices else [], "usage": usage}
    return f"data:{json.dumps(value)}\n\n".encode()


def tgi_chat(connection):
    connection.head()
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    connection.send(tgi_chunk("Hel"), tgi_chunk("lo"), tgi_chunk("", "length"), tgi_chunk("", None, usage, False))
    connection.send(b"data: [DONE]\n\n")


async def test_tgi():
    with raw_server(tgi_chat, TGI) as server:
        async with connected(server.url) as engine:
            loaded = engine.client.loaded
            assert (loaded.remote.kind, loaded.name, loaded.context_window) == ("TGI", "org/phi", 4000)
            assert loaded.remote.at_once == 128  # of a server that takes few, a batch sends no more
            assert "TGI 3.3.6-dev0; counts tokens at the end; 128 prompts at once" in loaded.why
            text, end = await engine.ask(TURNS, GREEDY)
            assert (text, end.reason, end.notes) == ("Hello", "length", [])
            assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (9, 3)
        # It refuses a top_p of 1 and does not know top_k here.
        assert not {"top_p", "top_k", "repetition_penalty"} & set(server.chats()[0].json())


async def test_tgi_that_runs_over_in_the_answer():
    def overloaded(connection):
        connection.head()
        connection.send(tgi_chunk("Hel"))
        connection.send(b'data:{"error":"Model is overloaded","error_type":"overloaded"}\n\n')

    with raw_server(overloaded, TGI) as server:
        async with connected(server.url) as engine:
            text, end = await engine.ask(TURNS)
            assert (text, type(end)) == ("Hel", BrokeOff)
            assert "Model is overloaded" in end.failure.message


# Ollama (docs/api.md): JSON lines, counts and nanoseconds in the last.
OLLAMA = {
    "/v1/models": {
        "object": "list",
        "data": [{"id": "phi3:latest", "object": "model", "created": 1, "owned_by": "library"}],
    },
    "/api/version": {"version": "0.12.3"},
}


def ollama_line(text, **more):
    message = {"role": "assistant", "content": text}
    value = {"model": "phi3", "created_at": "2023-08-04T19:22:45.499127Z", "message": message, "done": False, **more}
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def ollama_chat(connection):
    connection.head(200, "application/x-ndjson")
    first, second = ollama_line("Grü"), ollama_line("ße\u2028世界")
    connection.send(first[:20])
    time.sleep(0.02)
    connection.send(first[20:] + second[:-30], second[-30:])
    counts = {"prompt_eval_count": 26, "eval_count": 5, "total_duration": 5191566416, "eval_duration": 4799921000}
    connection.send(ollama_line("", done=True, done_reason="length", **counts))


async def test_ollama():
    with raw_server(ollama_chat, OLLAMA) as server:
        async with connected(server.url, model="phi3") as engine:
            assert engine.client.loaded.remote.kind == "Ollama"
            assert engine.client.loaded.remote.can[:2] == ["counts tokens at the end", "context window not told"]
            text, end = await engine.ask(TURNS, FULL)
            assert (text, end.reason, end.notes) == ("Grüße\u2028世界", "length", [])
            assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (26, 5)
        request = server.chats()[-1]
        assert request.path == "/api/chat"
        assert request.json()["messages"] == MESSAGES
        wanted = {"num_predict": 64, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "repeat_penalty": 1.1}
        assert request.json()["options"] == wanted


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (b"", "ended in the middle"),
        (ollama_line("", done=True)[:40], "ended in the middle"),
        (b'{"error": "model runner has unexpectedly stopped"}\n', "unexpectedly stopped"),
        (b"<html>\n", "not part of an answer"),
    ],
)
async def test_ollama_that_breaks_off(last, words):
    def chat(connection):
        connection.head(200, "application/x-ndjson")
        connection.send(ollama_line("half"), last)

    with raw_server(chat, OLLAMA) as server:
        async with connected(server.url) as engine:
            text, end = await engine.ask(TURNS)
            assert (text, type(end)) == ("half", BrokeOff)
            assert words in end.failure.message


async def test_ollama_without_a_model():
    empty = {**OLLAMA, "/v1/models": {"object": "list", "data": None}}
    with raw_server(ollama_chat, empty) as server, pytest.raises(UnavailableError, match="lists no model"):
        async with connected(server.url):
            pass


async def test_a_server_that_knows_the_least():
    def chat(connection):
        connection.head()
        connection.piece("Hello")
        connection.piece("", "stop")
        connection.done()

    with raw_server(chat) as server:
        async with connected(server.url) as engine:
            loaded = engine.client.loaded
            assert (loaded.remote.kind, loaded.name, loaded.context_window) == ("OpenAI-style", "m", None)
            assert loaded.remote.can[:2] == ["may not count tokens", "context window not told"]
            text, end = await engine.ask(TURNS, FULL)
            assert (text, end.reason) == ("Hello", "stop")
            assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (None, None)
            assert len(end.notes) == 2 and "does not count" in end.notes[0]
            assert end.timings.ttft_ms > 0 and end.timings.tpot_ms is None
        known = {"model", "messages", "max_tokens", "temperature", "top_p", "stream", "stream_options"}
        assert set(server.chats()[0].json()) == known


async def test_an_end_without_its_mark_is_an_end():
    def chat(connection):
        connection.head()
        connection.piece("Hello", "stop")

    with raw_server(chat) as server:
        async with connected(server.url) as engine:
            text, end = await engine.ask(TURNS)
            assert (text, type(end)) == ("Hello", Finished)


async def test_counts_that_do_not_come_are_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr("phitui.engine.remote.attempt._COUNTS_WITHIN_S", 0.2)

    def chat(connection):
        connection.head()
        connection.piece("Hello", "stop")
        connection.hang()

    with raw_server(chat) as server:
        async with connected(server.url) as engine:
            text, end = await engine.ask(TURNS, timeout_s=3)
            assert (text, end.reason, end.usage.completion_tokens) == ("Hello", "stop", None)


async def test_reasoning_is_time_and_tokens_but_not_the_answer():
    def chat(connection):
        connection.head()
        for word in ("let", "me", "see"):
            connection.event({"choices": [{"index": 0, "delta": {"reasoning_content": word}}]})
        connection.piece("Paris", "stop")
        connection.usage(5, 4, total_tokens=9)
        connection.done()

    with raw_server(chat) as server:
        async with connected(server.url) as engine:
            text, end = await engine.ask(TURNS)
            assert (text, end.usage.completion_tokens, end.notes) == ("Paris", 4, [])
            assert end.timings.gaps.count == 3


@pytest.mark.parametrize(
    ("prompt", "completion", "total", "believed", "words"),
    [
        (5, 3, 8, (5, 3), ""),
        (5, 9999, 10004, (5, None), "9999 tokens of the answer"),
        (5, 0, 5, (5, None), "0 tokens of the answer"),
        (5, -3, 2, (5, None), "-3 tokens"),
        (5, "3", 8, (5, None), "3 tokens of the answer"),
        (5, True, 8, (5, None), "True tokens"),
        (5, 1e300, 8, (5, None), "tokens of the answer"),
        (0, 3, 3, (None, 3), "0 tokens of the prompt"),
        (10**30, 3, 8, (None, 3), "tokens of the prompt"),
        (5, 3, 99, (None, None), "99 tokens in all"),
        ({"a": "\x1b[31m"}, 3, 8, (None, 3), "tokens of the prompt"),
    ],
)
async def test_counts_that_cannot_be_true_are_told_and_not_believed(prompt, completion, total, believed, words):
    def chat(connection):
        connection.head()
        connection.piece("one ")
        connection.piece("two", "stop")
        connection.usage(prompt, completion, total_tokens=total)
        connection.done()

    with raw_server(chat) as server:
        async with connected(server.url) as engine:
            text, end = await engine.ask(TURNS)
            assert text == "one two"
            assert (end.usage.prompt_tokens, end.usage.completion_tokens) == believed
            notes = " ".join(end.notes)
            assert words in notes and bool(notes) == bool(words) and "\x1b" not in notes
            assert (end.timings.tpot_ms is None) == (believed[1] is None)


async def test_a_reason_that_nobody_knows_is_told():
    def chat(connection):
        connection.head()
        connection.piece("one", "tired_of_it")
        connection.usage(5, 1)
        connection.done()

    with raw_server(chat) as server:
        async with connected(server.url) as engine:
            _, end = await engine.ask(TURNS)
            assert end.reason == "stop" and "tired_of_it" in end.notes[0]


async def test_prompts_side_by_side():
    def chat(connection):
        connection.head()
        word = connection.request.json()["messages"][0]["content"]
        for letter in word:
            connection.piece(letter)
            time.sleep(0.01)
        connection.piece(None, "stop")
        connection.usage(5, len(word))
        connection.done()

    words = [f"word-{number}" for number in range(20)]
    with raw_server(chat, {"/v1/models": MODELS}) as server:
        async with connected(server.url) as engine:
            numbers = [await engine.client.generate([Turn("user", word)], GREEDY) for word in words]
            assert [(await engine.ending(number))[0] for number in numbers] == words
