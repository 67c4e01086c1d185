"""text-generation-inference's native route, /generate_stream, as its documentation and router/src of 1.x to 3.x have
it: replayed, because no such server can be installed here."""

import asyncio
import json
import time

import jinja2
import pytest
from raw_server import raw_server
from remote_engine import GREEDY, connected
from tiny_phi3 import CHAT_TEMPLATE

from phitui.core.errors import UsageError
from phitui.engine.protocol.api import BatchEnded, BrokeOff, OpenBatch, Rejected, Retrying, Row, RowDone, Sampling, Turn
from phitui.engine.protocol.capabilities import PARAMETERS, supported_parameters
from phitui.engine.remote.plain_chat import prompt_of

FULL = Sampling(
    max_tokens=64, temperature=0.5, top_k=40, top_p=0.9, repetition_penalty=1.1, stop=("END", "stop!"), seed=7
)
TURNS = [Turn("system", "Be brief."), Turn("user", "Hi"), Turn("assistant", "Hello."), Turn("user", "And now?")]
NATIVE = {"route": "generate"}


def gets(version="3.3.6-dev0", model="org/Phi-3-mini", **more):
    return {
        "/info": {
            "model_id": model,
            "max_concurrent_requests": 128,
            "max_stop_sequences": 4,
            "max_total_tokens": 4000,
            "version": version,
            **more,
        }
    }


class Tokens:
    """The events of one answer."""

    def __init__(self, connection):
        self.connection, self.made, self.text = connection, 0, ""

    def token(self, text, special=False, reason=None, tokens=None, **details):
        self.made += 1
        self.text += "" if special else text
        value = {"index": self.made, "token": {"id": 5, "text": text, "logprob": -0.3, "special": special}}
        ending = {"finish_reason": reason, "generated_tokens": tokens or self.made, "seed": None, **details}
        value |= {"generated_text": self.text if reason else None, "details": ending if reason else None}
        self.connection.send(f"data:{json.dumps(value)}\n\n".encode())

    def words(self, *texts):
        for text in texts:
            self.token(text)


def answering(make):
    def generate(connection):
        if connection.request.path != "/generate_stream":
            connection.reply(404)
            return
        connection.head()
        connection.send(b":\n\n")  # its sign of life
        make(Tokens(connection))

    return generate


@answering
def hello(answer):
    answer.words("Hel", "lo")
    answer.token("<|end|>", True, "eos_token", input_length=19)


async def test_the_native_route_takes_all_parameters_and_phi3s_template():
    with raw_server(hello, gets()) as server:
        async with connected(server.url, **NATIVE) as engine:
            loaded = engine.client.loaded
            assert (loaded.remote.kind, loaded.name, loaded.context_window) == ("TGI", "org/Phi-3-mini", 4000)
            assert "asked by /generate_stream, the chat as Phi-3's chat template" in loaded.remote.can
            assert supported_parameters(loaded) == PARAMETERS
            text, end = await engine.ask(TURNS, FULL)
            assert (text, end.reason, end.notes) == ("Hello", "stop", [])
            assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (19, 3)
        request = server.chats()[0]
        assert request.path == "/generate_stream" and set(request.json()) == {"inputs", "parameters"}
        assert request.json()["parameters"] == {
            "max_new_tokens": 64,
            "do_sample": True,
            "details": True,
            "temperature": 0.5,
            "top_k": 40,
            "top_p": 0.9,
            "repetition_penalty": 1.1,
            "seed": 7,
            "stop": ["END", "stop!", "<|end|>"],
        }
        template = jinja2.Template(CHAT_TEMPLATE, keep_trailing_newline=True)
        messages = [{"role": turn.role, "content": turn.content} for turn in TURNS]
        assert request.json()["inputs"] == template.render(messages=messages, add_generation_prompt=True)


async def test_a_greedy_answer_asks_for_nothing_that_draws():
    with raw_server(hello, gets(model="org/gpt")) as server:
        async with connected(server.url, **NATIVE) as engine:
            assert "the chat as plain user:/assistant: turns" in engine.client.loaded.why
            await engine.ask(TURNS, GREEDY)
        sent = server.chats()[0].json()
        assert sent["inputs"] == "system: Be brief.\nuser: Hi\nassistant: Hello.\nuser: And now?\nassistant:"
        assert sent["parameters"] == {"max_new_tokens": 12, "do_sample": False, "details": True, "stop": ["\nuser:"]}


def test_a_phi3_is_known_by_its_name():
    hi = [Turn("user", "Hi")]
    for name in ("microsoft/Phi-3-mini-4k-instruct", "phi3:mini", "my-PHI-3.5"):
        assert prompt_of(name, hi) == "<|user|>\nHi<|end|>\n<|assistant|>\n"
    for name in ("org/phi-2", "microsoft/phi-4", "dolphi-30b"):
        assert prompt_of(name, hi) == "user: Hi\nassistant:"


@pytest.mark.parametrize(
    ("said", "reason", "notes"),
    [("length", "length", 0), ("eos_token", "stop", 0), ("stop_sequence", "stop", 0), ("odd\x1b[31m", "stop", 1)],
)
async def test_reasons(said, reason, notes):
    @answering
    def one(answer):
        answer.token("one")
        answer.token(" two", reason=said, input_length=4)

    with raw_server(one, gets()) as server:
        async with connected(server.url, **NATIVE) as engine:
            text, end = await engine.ask()
            assert (text, end.reason, len(end.notes)) == ("one two", reason, notes)
            assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (4, 2)
            assert "\x1b" not in "".join(end.notes)


async def test_special_tokens_and_parts_of_characters_are_tokens_without_text():
    @answering
    def special(answer):
        answer.token("<s>", True)
        answer.words("", "", "世")
        answer.token("<|assistant|>", True)
        time.sleep(0.02)
        answer.token("!", False, "length", input_length=4)

    with raw_server(special, gets()) as server:
        async with connected(server.url, **NATIVE) as engine:
            text, end = await engine.ask()
            assert (text, end.reason, end.usage.completion_tokens, end.notes) == ("世!", "length", 6, [])
            assert end.timings.gaps.count == 5


async def test_a_stop_string_is_not_shown_however_it_was_cut():
    @answering
    def stopping(answer):
        answer.words("one", "\n", "us", "ually", "\n", "user")
        answer.token(":", False, "stop_sequence", input_length=4)

    with raw_server(stopping, gets(model="m")) as server:
        async with connected(server.url, **NATIVE) as engine:
            text, end = await engine.ask()
            assert (text, end.reason, end.usage.completion_tokens, end.notes) == ("one\nusually", "stop", 7, [])


async def test_a_stop_string_inside_a_token_ends_the_answer_here():
    """The server looks for it at the end of a token only, and would go on."""

    def endless(connection):
        connection.head()
        Tokens(connection).words("one", "\nuser: And")
        connection.hang()

    with raw_server(endless, gets(model="m")) as server:
        async with connected(server.url, **NATIVE) as engine:
            text, end = await engine.ask()
            assert (text, end.reason, end.usage.completion_tokens) == ("one", "stop", None)


@pytest.mark.parametrize("model", ["org/Phi-3-mini", "m"])
async def test_what_was_held_back_is_kept_where_the_answer_breaks_off(model):
    def cut(connection):
        connection.head()
        Tokens(connection).words("half", "\nuse")

    with raw_server(cut, gets(model=model)) as server:
        async with connected(server.url, **NATIVE) as engine:
            text, end = await engine.ask()
            assert (text, type(end)) == ("half\nuse", BrokeOff)
            assert "ended in the middle" in end.failure.message


async def test_errors_are_events():
    answers = iter(
        [
            b'data:{"error":"Model is overloaded","error_type":"overloaded"}\n\n',
            b'data:{"error":"Input validation error: `inputs` must have less than 3000 tokens. Given: 3001",'
            b'"error_type":"validation"}\n\n',
        ]
    )

    def failing(connection):
        connection.head()
        connection.send(next(answers))

    with raw_server(failing, gets()) as server:
        async with connected(server.url, retries=3, **NATIVE) as engine:
            text, end = await engine.ask()
            assert (text, type(end)) == ("", Rejected)
            assert "refuses the request: Input validation error" in end.failure.message
            assert [event.text for event in engine.events if isinstance(event, Retrying)]
        assert len(server.chats()) == 2  # the overload was waited out, the bad input was not sent again


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b'data:{"error":"Request failed during generation","error_type":"generation"}\n\n', "failed during"),
        (b'data:{"token":null}\n\n', "not a token of an answer"),
        (b"data:{half\n\n", "not part of an answer"),
        (b'data:{"token":{"text":7}}\n\n', "not a token of an answer"),
        (b'data:{"error":"Input bad","error_type":"validation"}\n\n', "failed during the answer: Input bad"),
    ],
)
async def test_what_goes_wrong_after_a_token_breaks_the_answer_off(sent, words):
    def failing(connection):
        connection.head()
        Tokens(connection).token("half")
        connection.send(sent)

    with raw_server(failing, gets()) as server:
        async with connected(server.url, **NATIVE) as engine:
            text, end = await engine.ask()
            assert (text, type(end)) == ("half", BrokeOff)
            assert words in end.failure.message
        assert len(server.chats()) == 1


def without_template(connection):
    if connection.request.path == "/v1/chat/completions":
        connection.reply(422, b'{"error":"Template error: template not found","error_type":"template_error"}')
    else:
        hello(connection)


@pytest.mark.parametrize("chat", [hello, without_template])
async def test_a_server_without_chat_is_asked_by_its_native_route(chat):
    """`hello` has no such route at all."""
    with raw_server(chat, gets()) as server:
        async with connected(server.url, retries=0) as engine:
            assert "top_k" not in supported_parameters(engine.client.loaded)
            numbers = [await engine.client.generate(TURNS, GREEDY) for _ in range(3)]  # side by side
            for number in numbers:
                text, end = await engine.ending(number)
                assert (text, end.usage.completion_tokens) == ("Hello", 3)
            told = [event.text for event in engine.events if isinstance(event, Retrying)]
            assert len(told) == 1 and "/generate_stream, the chat as Phi-3's chat template" in told[0]
            assert supported_parameters(engine.client.loaded) == PARAMETERS
            await engine.ask(TURNS, FULL)
        paths = [request.path for request in server.chats()]
        assert paths.count("/v1/chat/completions") == 3 and paths[-1] == "/generate_stream"


async def test_rows_of_a_batch_go_the_same_way():
    with raw_server(without_template, gets()) as server:
        async with connected(server.url, retries=0) as engine:
            number = await engine.client.open_batch(OpenBatch(batch=2))
            rows = [Row(key, TURNS, GREEDY) for key in range(4)]
            await engine.client.add_rows(number, rows, last=True)
            deadline = time.monotonic() + 60
            while not any(isinstance(event, BatchEnded) for event in engine.events):
                assert time.monotonic() < deadline, engine.events
                await asyncio.sleep(0.002)
            done = {event.key: event.text for event in engine.events if isinstance(event, RowDone)}
            assert done == dict.fromkeys(range(4), "Hello")


async def test_versions_before_the_chat_route_are_not_asked_for_it():
    with raw_server(hello, gets("1.3.4")) as server:
        async with connected(server.url) as engine:
            assert supported_parameters(engine.client.loaded) == PARAMETERS
            assert (await engine.ask())[0] == "Hello"
        assert [request.path for request in server.chats()] == ["/generate_stream"]


@pytest.mark.parametrize(
    ("status", "body", "settings"),
    [
        (404, b"", {"route": "chat"}),
        (422, b'{"error":"Template error: template not found","error_type":"template_error"}', {"route": "chat"}),
        (422, b'{"error":"Input validation error: `top_p` must be < 1","error_type":"validation"}', {}),
        (404, b"", {"kind": "other", "model": "m"}),
    ],
)
async def test_other_refusals_are_what_they_are(status, body, settings):
    with raw_server(lambda connection: connection.reply(status, body), gets()) as server:
        async with connected(server.url, **settings) as engine:
            _, end = await engine.ask()
            assert isinstance(end, Rejected if status == 422 else BrokeOff) and f"answers {status}" in str(end.failure)
        assert [request.path for request in server.chats()] == ["/v1/chat/completions"]


async def test_the_native_route_is_tgis():
    with raw_server(hello) as server, pytest.raises(UsageError, match=r"engines.box.route: .* this is OpenAI-style"):
        async with connected(server.url, **NATIVE):
            pass
