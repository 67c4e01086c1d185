"""What servers want and tell beside the answer: fields that they refuse, models on their way, lists of models."""

import json

import pytest
from raw_server import MODELS, raw_server
from remote_engine import connected
from test_replies import PLAIN, answers_with, sse

from phitui.cli.main import run
from phitui.core.errors import UnavailableError
from phitui.engine.protocol.api import Finished, Rejected, Retrying, Sampling, Turn

FULL = Sampling(max_tokens=12, temperature=0.5, top_k=40, top_p=0.9, repetition_penalty=1.1, stop=("END",), seed=3)
VLLM = {"/v1/models": {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 4096}]}}
EXTRA = "Extra inputs are not permitted"


def vllm_says(field):
    return json.dumps({"object": "error", "message": f"[{{'type': 'extra_forbidden', 'loc': ('body', '{field}')}}]"})


# How servers say that they do not know a field.
REFUSALS = {
    "FastAPI": (422, lambda field: json.dumps({"detail": [{"loc": ["body", field], "msg": EXTRA}]})),
    "Mistral": (
        422,
        lambda field: json.dumps({"message": {"detail": [{"loc": ["body", field], "msg": EXTRA}]}}),
    ),
    "vLLM": (400, vllm_says),
    "OpenAI": (400, lambda field: json.dumps({"error": {"message": f"Unrecognized request argument: {field}"}})),
    "by param": (400, lambda field: json.dumps({"error": {"message": EXTRA, "param": field}})),
    "Groq": (400, lambda field: json.dumps({"error": {"message": f"property '{field}' is unsupported"}})),
    "Gemini": (400, lambda field: json.dumps([{"error": {"message": f'Unknown name "{field}"'}}])),
    "text": (400, lambda field: f"unknown field `{field}`, expected one of model, messages"),
    "its own mistake": (500, lambda field: json.dumps({"detail": f"got an unexpected keyword argument '{field}'"})),
}  # fmt: skip


def strict(refuses, status, say):
    """Refuses the first of the fields in `refuses` that a request has."""

    def chat(connection):
        body = connection.request.json()
        found = next((field for field in refuses if field in body), None)
        if found is None:
            answers_with(sse(*PLAIN))(connection)
        else:
            connection.reply(status, say(found).encode())

    return chat


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_field_that_a_server_refuses_is_left_out_and_that_is_remembered_and_told(name):
    status, say = REFUSALS[name]
    with raw_server(strict(("top_k", "stream_options"), status, say), VLLM) as server:
        async with connected(server.url, retries=0) as engine:
            text, end = await engine.ask(sampling=FULL)
            assert (text, type(end)) == ("Hello.", Finished), end
            told = [event.text for event in engine.events if isinstance(event, Retrying)]
            assert len(told) == 2 and "not sent top_k" in told[0] and "not sent stream_options" in told[1]
            assert "top_k" not in engine.client.loaded.remote.supported_parameters
            assert "not sent top_k" in engine.client.loaded.why
            assert len(server.chats()) == 3
            assert (await engine.ask(sampling=FULL))[0] == "Hello."
            assert len(server.chats()) == 4
    left = server.chats()[-1].json()
    assert not {"top_k", "stream_options"} & set(left)
    assert (left["repetition_penalty"], left["max_tokens"]) == (1.1, 12)


async def test_the_newer_name_for_the_limit():
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    say = lambda field: json.dumps({"error": {"message": words, "param": field}})  # noqa: E731
    with raw_server(strict(("max_tokens",), 400, say)) as server:
        async with connected(server.url) as engine:
            assert (await engine.ask())[0] == "Hello."
    assert server.chats()[-1].json()["max_completion_tokens"] == 12


async def test_a_stop_string_that_the_server_does_not_take_still_ends_the_answer():
    def chat(connection):
        if "stop" in connection.request.json():
            connection.reply(400, b'{"error": "stop is not supported"}')
            return
        connection.head()
        for text in ("on", "e EN", "D two"):
            connection.piece(text)
        connection.piece("", "stop")
        connection.done()

    with raw_server(chat) as server:
        async with connected(server.url) as engine:
            text, end = await engine.ask(sampling=FULL)
    assert (text, end.reason) == ("one ", "stop")


@pytest.mark.parametrize(
    "words",
    ["top_p must be below 1", "max_tokens must be at most 8", "the model m is not supported", "unknown field `stream`"],
)
async def test_what_is_the_users_to_hear_is_not_left_out(words):
    with raw_server(answers_with(json.dumps({"error": {"message": words}}), 400)) as server:
        async with connected(server.url) as engine:
            _, end = await engine.ask(sampling=FULL)
            assert isinstance(end, Rejected) and words in end.failure.message
    assert len(server.chats()) == 1


@pytest.mark.parametrize(
    "words",
    ["System role not supported", "Conversation roles must alternate user/assistant/user/assistant/...",
     "Developer instruction is not enabled for this model"],
)  # fmt: skip
async def test_a_template_without_a_system_role_gets_the_prompt_before_the_users(words):
    def chat(connection):
        if connection.request.json()["messages"][0]["role"] == "system":
            connection.reply(400, json.dumps({"error": {"message": words}}).encode())
        else:
            answers_with(sse(*PLAIN))(connection)

    with raw_server(chat) as server:
        async with connected(server.url) as engine:
            turns = [Turn("system", "Be brief."), Turn("user", "Hi"), Turn("assistant", "Yes?"), Turn("user", "Go")]
            assert (await engine.ask(turns))[0] == "Hello."
            assert "before the user's first words" in engine.client.loaded.why
    assert [(one["role"], one["content"]) for one in server.chats()[-1].json()["messages"]] == [
        ("user", "Be brief.\n\nHi"), ("assistant", "Yes?"), ("user", "Go"),
    ]  # fmt: skip


async def test_a_wait_that_is_too_long_for_anybody_is_told_and_not_waited_for():
    with raw_server(answers_with('{"error": "Slow down"}', 429, Retry_After="7200")) as server:
        async with connected(server.url, retries=2) as engine:
            _, end = await engine.ask()
    assert "Slow down" in end.failure.message and "120 minutes" in end.failure.fix
    assert len(server.chats()) == 1


async def test_the_address_of_the_route_itself_will_do():
    with raw_server(answers_with(sse(*PLAIN))) as server:
        async with connected(f"{server.url}/v1/chat/completions") as engine:
            assert (await engine.ask())[0] == "Hello."


LOADING = json.dumps({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}).encode()


def test_a_model_that_is_loading_is_waited_for_and_that_is_said(capsys, monkeypatch):
    monkeypatch.setattr("phitui.engine.remote.patience._LOADING_POLL_S", 0.05)
    asked = {"models": 0, "chats": 0}

    def models(connection):
        asked["models"] += 1
        late = asked["models"] < 3
        connection.reply(503, LOADING) if late else connection.reply(200, json.dumps(MODELS).encode())

    def chat(connection):
        asked["chats"] += 1
        connection.reply(503, LOADING) if asked["chats"] < 8 else answers_with(sse(*PLAIN))(connection)

    with raw_server(chat, {"/v1/models": models}) as server:
        assert run(["--engine", server.url, "ask", "hi"]) == 0
    told = capsys.readouterr()
    assert told.out == "Hello.\n" and told.err.count("Loading model") >= 2
    assert asked == {"models": 3, "chats": 8}


async def test_a_model_that_never_loads_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr("phitui.engine.remote.patience._LOADING_POLL_S", 0.05)
    with raw_server(lambda c: c.reply(503, LOADING)) as server:
        async with connected(server.url, first_token_timeout_s=0.3, retries=0) as engine:
            _, end = await engine.ask()
            assert "Loading model" in end.failure.message


LISTS = {
    "by name": {"data": [{"id": "nomic-embed-text"}, {"id": "BAAI/bge-m3"}, {"id": "phi3"}]},
    "by type": {"data": [{"id": "a", "type": "embeddings"}, {"id": "phi3", "type": "llm"}]},
    "by capability": {
        "data": [
            {"id": "a", "capabilities": {"completion_chat": False}},
            {"id": "phi3", "capabilities": {"completion_chat": True}},
        ]
    },
    "by capabilities": {"data": [{"id": "a", "capabilities": ["embedding"]}, {"id": "phi3", "capabilities": ["chat"]}]},
    "a bare list": [{"id": "whisper-1"}, {"id": "phi3"}],
    "names alone": {"data": ["text-embedding-3-small", "phi3"]},
    "under models": {"models": [{"name": "all-minilm"}, {"name": "phi3"}]},
    "with what is none": {"data": [None, 7, {"id": None}, {"id": "phi3"}]},
}


@pytest.mark.parametrize("name", LISTS)
async def test_a_model_that_does_not_chat_is_not_chatted_with(name):
    with raw_server(answers_with(sse(*PLAIN)), {"/v1/models": LISTS[name]}) as server:
        async with connected(server.url) as engine:
            assert engine.client.loaded.name == "phi3"
            await engine.ask()
    assert server.chats()[0].json()["model"] == "phi3"


async def test_a_list_of_none_that_chats_is_said():
    models = {"/v1/models": {"data": [{"id": "nomic-embed-text"}]}}
    with (
        raw_server(answers_with(""), models) as server,
        pytest.raises(UnavailableError, match="no model that can chat: nomic"),
    ):
        async with connected(server.url):
            pass


async def test_the_model_that_is_named_is_taken_whatever_it_is_called():
    with raw_server(answers_with(sse(*PLAIN)), {"/v1/models": LISTS["by name"]}) as server:
        async with connected(server.url, model="nomic-embed-text") as engine:
            assert engine.client.loaded.name == "nomic-embed-text"


def ollama(shown, prompt_tokens=9):
    def post(connection):
        if connection.request.path == "/api/show":
            connection.reply(200, json.dumps(shown).encode()) if shown else connection.reply(404, b"")
            return
        connection.head(200, "application/x-ndjson")
        end = {"done": True, "done_reason": "stop", "prompt_eval_count": prompt_tokens, "eval_count": 1}
        for line in ({"message": {"content": "Hello."}, "done": False}, {"message": {"content": ""}, **end}):
            connection.send(json.dumps(line).encode() + b"\n")

    return post


OLLAMA = {"/v1/models": {"data": [{"id": "phi3:latest", "owned_by": "library"}]}, "/api/version": {"version": "0.12.0"}}
INFO = {"general.architecture": "phi3", "phi3.context_length": 131072}


@pytest.mark.parametrize(
    ("shown", "configured", "window"),
    [
        ({"model_info": INFO}, 0, 4096),
        ({"model_info": INFO}, 32768, 32768),
        ({"model_info": {"phi3.context_length": 2048}}, 32768, 2048),
        ({"model_info": INFO, "parameters": 'stop  "<|end|>"\nnum_ctx                        8192'}, 0, 8192),
        ({"model_info": None, "parameters": None}, 0, 4096),
        (None, 0, None),
        (None, 8192, 8192),
    ],
)
async def test_ollama_is_asked_for_the_context_that_is_shown(shown, configured, window):
    with raw_server(ollama(shown), OLLAMA) as server:
        async with connected(server.url, context_window=configured) as engine:
            assert engine.client.loaded.context_window == window
            assert (await engine.ask())[0] == "Hello."
    assert server.chats()[-1].json()["options"].get("num_ctx") == window


@pytest.mark.parametrize(
    ("size", "counted", "doubted"), [(40_000, 4095, True), (8000, 100, True), (8000, 1900, False), (100, 3, False)]
)
async def test_a_prompt_that_was_cut_is_told(size, counted, doubted):
    with raw_server(ollama({"model_info": INFO}, counted), OLLAMA) as server:
        async with connected(server.url) as engine:
            _, end = await engine.ask([Turn("user", "some words " * (size // 11))])
    assert any("has cut it" in note for note in end.notes) == doubted
