"""/v1/completions in the forms of vLLM, llama.cpp, text-generation-inference (`completions` in router/src/server.rs of
3.x) and of a server that knows the least: replayed. The real llama.cpp and vLLM run the contract by this route."""

import json

import pytest
from raw_server import MODELS, raw_server
from remote_engine import connected

from phitui.core.errors import UsageError
from phitui.engine.protocol.api import Delta, Sampling, Turn
from phitui.engine.protocol.capabilities import supported_parameters

FULL = Sampling(max_tokens=64, temperature=0.5, top_k=40, top_p=0.9, repetition_penalty=1.1, stop=("END",), seed=7)
TURNS = [Turn("system", "Be brief."), Turn("user", "Hi")]
PHI3 = "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\n"
ROUTE = {"route": "completions"}


def gets(kind, model="org/Phi-3-mini"):
    owner = {"vllm": "vllm", "llama.cpp": "llamacpp"}.get(kind, "somebody")
    found = {"/v1/models": {"data": [{"id": model, "owned_by": owner}]}}
    return found | (
        {"/info": {"model_id": model, "version": "3.3.6", "max_total_tokens": 4000}} if kind == "tgi" else {}
    )


def chunk(connection, text, reason=None, **more):
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
    connection.event({"id": "cmpl-1", "object": "text_completion", "created": 1, "choices": [choice], **more})


def usage(prompt, completion):
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def vllm(connection):
    chunk(connection, "Hel", usage=usage(9, 1))
    chunk(connection, "lo", "stop", usage=usage(9, 3))
    connection.event({"choices": [], "usage": usage(9, 3)})


def llama_cpp(connection):
    chunk(connection, "Hel", timings={"predicted_n": 1})
    chunk(connection, "lo", timings={"predicted_n": 2})
    chunk(connection, "", "stop", usage=usage(9, 3), timings={"predicted_n": 3})


def tgi(connection):
    """No reason is "", and the end token's text is streamed."""
    chunk(connection, "Hel", "")
    chunk(connection, "lo", "")
    chunk(connection, "<|end|>", "eos_token", usage=usage(9, 3))


SERVERS = {"vllm": vllm, "llama.cpp": llama_cpp, "tgi": tgi, "other": vllm}
SENT = {
    "vllm": {"top_k": 40, "seed": 7, "repetition_penalty": 1.1},
    "llama.cpp": {"top_k": 40, "seed": 7, "repeat_penalty": 1.1},
    "tgi": {"seed": 7, "repetition_penalty": 1.1},
    "other": {},
}


@pytest.mark.parametrize("kind", SERVERS)
async def test_each_kind(kind):
    def answer(connection):
        connection.head()
        SERVERS[kind](connection)
        connection.done()

    with raw_server(answer, gets(kind)) as server:
        async with connected(server.url, **ROUTE) as engine:
            loaded = engine.client.loaded
            assert "asked by /v1/completions, the chat as Phi-3's chat template" in loaded.remote.can
            text, end = await engine.ask(TURNS, FULL)
            assert (text, end.reason, end.notes) == ("Hello", "stop", [])
            assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (9, 3)
            assert end.timings.gaps.count >= 1
        (request,) = server.chats()
        sent = request.json()
        assert request.path == "/v1/completions" and "messages" not in sent
        assert (sent["prompt"], sent["stop"], sent["max_tokens"]) == (PHI3, ["END", "<|end|>"], 64)
        assert (sent["temperature"], sent["top_p"], sent["stream"]) == (0.5, 0.9, True)
        known = ("top_k", "seed", "repetition_penalty", "repeat_penalty")
        assert {name: sent[name] for name in known if name in sent} == SENT[kind]
        assert ("top_k" in supported_parameters(loaded)) == (kind in ("vllm", "llama.cpp"))


async def test_counts_on_the_way_and_a_stop_string_that_tgi_streams():
    def answer(connection):
        connection.head()
        for text in ("one", "\n", "user"):
            chunk(connection, text, "")
        chunk(connection, ":", "stop_sequence", usage=usage(9, 4))
        connection.done()

    with raw_server(answer, gets("tgi", "m")) as server:
        async with connected(server.url, **ROUTE) as engine:
            text, end = await engine.ask(TURNS)
            assert (text, end.reason, end.usage.completion_tokens, end.notes) == ("one", "stop", 4, [])
        sent = server.chats()[0].json()
        assert sent["prompt"] == "system: Be brief.\nuser: Hi\nassistant:" and sent["stop"] == ["\nuser:"]
    with raw_server(lambda c: (c.head(), llama_cpp(c), c.done()), gets("llama.cpp")) as server:
        async with connected(server.url, **ROUTE) as engine:
            await engine.ask(TURNS)
            assert [event.tokens for event in engine.events if isinstance(event, Delta)] == [1, 2]


async def test_forced_lengths_end_at_no_text():
    """The stop strings of the template would end a measurement's answers before their length."""
    with raw_server(lambda c: (c.head(), vllm(c), c.done()), gets("vllm")) as server:
        async with connected(server.url, **ROUTE) as engine:
            number = await engine.client.generate(TURNS, FULL, exact=True)
            await engine.ending(number)
        sent = server.chats()[0].json()
        assert sent["ignore_eos"] and "stop" not in sent


async def test_vllm_counts_the_prompt_that_it_gets():
    def answer(connection):
        connection.reply(200, json.dumps({"count": 17}).encode())

    with raw_server(answer, gets("vllm")) as server:
        async with connected(server.url, **ROUTE) as engine:
            assert (await engine.client.count(TURNS)).tokens == 17
        sent = server.chats()[0].json()
        assert sent == {"model": "org/Phi-3-mini", "prompt": PHI3, "add_special_tokens": True}


async def test_ollama_has_its_own():
    with (
        raw_server(vllm, {"/v1/models": MODELS, "/api/version": {"version": "0.12"}}) as server,
        pytest.raises(UsageError, match=r"engines.box.route: .* this is Ollama"),
    ):
        async with connected(server.url, **ROUTE):
            pass
