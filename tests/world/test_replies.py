"""Replies in every form in which servers, and what stands before them, are known to send them."""

import gzip
import json
import zlib

import pytest
from raw_server import raw_server
from remote_engine import connected

from phitui.cli.main import run
from phitui.engine.protocol.api import BrokeOff, Delta, Finished, Rejected


def chunk(delta=None, reason=None, **more):
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}


def said(text):
    return chunk({"content": text})


ROLE, HEL, LO, STOP = chunk({"role": "assistant", "content": ""}), said("Hel"), said("lo."), chunk({}, "stop")
COUNTS = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
USAGE = {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": COUNTS}
PLAIN = (ROLE, HEL, LO, STOP, USAGE)
WHOLE = {
    "id": "c",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": COUNTS,
}


def sse(*events, end="\n\n", before="data: ", done=True):
    texts = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in events]
    return "".join(before + text + end for text in [*texts, *(["[DONE]"] if done else [])])


def lines(*events):
    return "".join(json.dumps(one) + "\n" for one in events)


def part(text, kind="text"):
    return {"type": kind, kind: text}


# What is sent, and under which content type: each is the answer "Hello." with 5 and 2 tokens.
HELLO = {
    "plain": sse(*PLAIN),
    "line ends of the other kinds": sse(*PLAIN, end="\r\n\r\n"),
    "carriage returns": sse(*PLAIN, end="\r\r"),
    "no blank after the colon": sse(*PLAIN, before="data:"),
    "no blank lines between events": sse(*PLAIN, end="\n"),
    "no last line end": sse(*PLAIN, done=False).rstrip("\n"),
    "comments": ": busy\n\n:\n\n" + sse(ROLE, HEL, done=False) + ": keep-alive\n\n" + sse(LO, STOP, USAGE),
    "names and ids": "".join(
        f"event: message\nid: {i}\nretry: 30\ndata: {json.dumps(e)}\n\n" for i, e in enumerate(PLAIN)
    ),
    "byte order mark": "\ufeff" + sse(*PLAIN),
    "blank lines first": "\n\n\n" + sse(*PLAIN),
    "no mark of the end": sse(*PLAIN, done=False),
    "several lines of data": "".join(
        "".join(f"data: {line}\n" for line in json.dumps(e, indent=1).split("\n")) + "\n" for e in PLAIN
    ),
    "choices null": sse(ROLE, HEL, LO, STOP, {**USAGE, "choices": None}),
    "choices missing": sse({"id": "x", "prompt_filter_results": []}, ROLE, HEL, LO, STOP, {"usage": COUNTS}),
    "choices with nothing": sse({**USAGE, "usage": None, "choices": [None]}, *PLAIN),
    "choices an object": sse(*[{**e, "choices": e["choices"][0]} for e in PLAIN[:4]], USAGE),
    "delta null": sse(ROLE, HEL, LO, {"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]}, USAGE),
    "delta missing": sse(ROLE, HEL, LO, {"choices": [{"index": 0, "finish_reason": "stop"}]}, USAGE),
    "messages in the place of deltas": sse(
        *[{"choices": [{"message": {"content": text}, "finish_reason": None}]} for text in ("Hel", "lo.")], STOP, USAGE
    ),
    "deltas and all so far": sse(
        {"choices": [{"delta": {"content": "Hel"}, "message": {"content": "Hel"}}]},
        {"choices": [{"delta": {"content": "lo."}, "message": {"content": "Hello."}}]},
        {"choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}], "usage": COUNTS},
    ),
    "content a list": sse(ROLE, said([part("Hel")]), said([part("lo."), {"type": "image"}]), STOP, USAGE),
    "content an object": sse(ROLE, said({"type": "output_text", "text": {"value": "Hello."}}), STOP, USAGE),
    "text of completions": sse({"choices": [{"text": "Hello.", "finish_reason": "stop"}]}, USAGE),
    "error null": sse(*[{**e, "error": None} for e in PLAIN]),
    "usage in the choice": sse(ROLE, HEL, LO, {"choices": [{"delta": {}, "finish_reason": "stop", "usage": COUNTS}]}),
    "usage apart": sse(ROLE, HEL, LO, {**STOP, "x_groq": {"usage": COUNTS}}),
    "other words for usage": sse(ROLE, HEL, LO, {**STOP, "usage": {"input_tokens": 5, "output_tokens": 2}}),
    "reason in capitals": sse(ROLE, HEL, LO, chunk({}, "STOP"), USAGE),
    "lines of JSON": lines(*PLAIN),
    "lines of JSON with the mark": lines(*PLAIN) + "data: [DONE]\n",
    "one whole answer": json.dumps(WHOLE),
    "one whole answer, indented": json.dumps(WHOLE, indent=2),
    "one whole answer as an event": sse(WHOLE),
    "strange fields": sse(*[{**e, "service_tier": None, "system_fingerprint": 7, "logprobs": [[]]} for e in PLAIN]),
    "numbers too large": sse(*[{**e, "created": 10**30} for e in PLAIN]),
}


def answers_with(body, status=200, kind="text/event-stream", **headers):
    body = body.encode() if isinstance(body, str) else body
    headers = {"Content_Type": kind, **headers} if kind else headers

    def chat(connection):
        connection.send(f"HTTP/1.1 {status} Any\r\nConnection: close\r\n".encode())
        for name, value in headers.items():
            connection.send(f"{name.replace('_', '-')}: {value}\r\n".encode())
        connection.send(f"Content-Length: {len(body)}\r\n\r\n".encode(), body)

    return chat


async def asked(chat, **settings):
    """The text, the thinking, the event that ended it, the notes on the way, and the requests."""
    with raw_server(chat) as server:
        async with connected(server.url, **settings) as engine:
            text, end = await engine.ask()
            deltas = [event for event in engine.events if isinstance(event, Delta)]
            thinking = ""
            for place, delta in enumerate(deltas):
                if delta.moved:
                    thinking, text = (
                        "".join(one.text for one in deltas[:place]),
                        "".join(one.text for one in deltas[place:]),
                    )
                thinking += delta.thinking
            return text, thinking, end, len(server.chats())


@pytest.mark.parametrize("name", HELLO)
async def test_an_answer_in_any_form(name):
    text, thinking, end, _ = await asked(answers_with(HELLO[name]))
    assert (text, thinking, type(end)) == ("Hello.", "", Finished), end
    assert (end.reason, end.shortfall, end.failed) == ("stop", "", False)
    assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (5, 2)


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain; charset=latin-1", "application/octet-stream"])
@pytest.mark.parametrize("name", ["plain", "one whole answer", "lines of JSON"])
async def test_an_answer_under_any_content_type(kind, name):
    text, _, end, _ = await asked(answers_with(HELLO[name], kind=kind))
    assert (text, end.reason) == ("Hello.", "stop")
    assert any("did not stream" in note for note in end.notes) == (name == "one whole answer")


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
async def test_a_proxy_that_compresses_all_the_same(encoding, pack):
    text, _, end, _ = await asked(answers_with(pack(sse(*PLAIN).encode()), Content_Encoding=encoding))
    assert (text, end.reason) == ("Hello.", "stop")


THOUGHT = {
    "reasoning_content": sse(chunk({"reasoning_content": "Let me "}), chunk({"reasoning_content": "think."}), *PLAIN),
    "reasoning": sse(chunk({"reasoning": "Let me think."}), *PLAIN),
    "both names for the same": sse(chunk({"reasoning": "Let me think.", "reasoning_content": "Let me think."}), *PLAIN),
    "thinking": sse(chunk({"thinking": "Let me think."}), *PLAIN),
    "details": sse(
        chunk({"content": "", "reasoning_details": [{"type": "reasoning.text", "text": "Let me think."}]}), *PLAIN
    ),
    "a part of parts": sse(
        said([{"type": "thinking", "thinking": [part("Let me "), part("think.")]}]), said([part("Hello.")]), STOP, USAGE
    ),
    "tags": sse(said("<think>\nLet me think.\n</think>\n\nHello."), STOP, USAGE),
    "tags in pieces": sse(*[said(letter) for letter in "<think>Let me think.</think>Hello."], STOP, USAGE),
    "another model's tags": sse(said("[THINK]Let me think.[/THINK]Hello."), STOP, USAGE),
    "only the end is marked": sse(said("Let me "), said("think.\n</th"), said("ink>\n\nHel"), said("lo."), STOP, USAGE),
}


@pytest.mark.parametrize("name", THOUGHT)
async def test_what_was_thought_is_no_part_of_the_answer(name):
    text, thinking, end, _ = await asked(answers_with(THOUGHT[name]))
    assert (text, thinking.strip(), end.reason, end.failed) == ("Hello.", "Let me think.", "stop", False)


@pytest.mark.parametrize(
    "text",
    [
        "The tag <think> opens it, </think> ends it.",
        "```\n<think>\nx\n</think>\n```\nThat is how.",
        "a <b and c> d",
        "<thin",
        "<",
        "<thinker>is a name</thinker>",
        "use `</think>`",
    ],
)
async def test_an_answer_about_tags_is_text(text):
    for step in (len(text), 1, 3):
        pieces = [said(text[at : at + step]) for at in range(0, len(text), step)]
        found, thinking, _, _ = await asked(answers_with(sse(*pieces, STOP, USAGE)))
        assert (found, thinking) == (text, "")


LIMIT = chunk({}, "length")
# What is sent; the reason, what of the line for a person, and whether `ask` fails.
ENDINGS = {
    "only thinking": (sse(chunk({"reasoning_content": "Hm"}), LIMIT, USAGE), "length", "Only thinking", True),
    "thinking without its end": (sse(said("<think>\nHm"), LIMIT, USAGE), "length", "raise max_tokens", True),
    "only thinking, then the end": (sse(chunk({"reasoning": "Hm"}), STOP), "stop", "Only thinking", True),
    "the limit before any text": (sse(ROLE, chunk({}, "length"), USAGE), "length", "before any text", True),
    "an end at once": (sse(ROLE, STOP, USAGE), "stop", "ended at once", True),
    "a filter": (sse(ROLE, chunk({}, "content_filter")), "content_filter", "held the answer back", True),
    "a filter's own word": (sse(HEL, chunk({}, "content_filter: SAFETY")), "content_filter", "cut the answer", True),
    "a refusal": (sse(chunk({"refusal": "I cannot help."}), STOP), "refusal", "refuses", True),
    "a tool": (
        sse(chunk({"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}), chunk({}, "tool_calls")),
        "tool_calls", "tool", True,
    ),
    "a tool that ends with stop": (
        sse(chunk({"tool_calls": [{"function": {"name": "f", "arguments": {}}}]}), STOP), "tool_calls", "tool", True,
    ),
    "an old function": (
        sse(chunk({"function_call": {"name": "f"}}), chunk({}, "function_call")), "tool_calls", "tool", True,
    ),
    "half an answer": (sse(HEL, chunk({}, "length"), USAGE), "length", "cut off", False),
    "another word for the limit": (sse(HEL, chunk({}, "MAX_TOKENS"), USAGE), "length", "cut off", False),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDINGS)
async def test_why_there_is_no_answer_is_said(name):
    sent, reason, words, failed = ENDINGS[name]
    _, _, end, requests = await asked(answers_with(sent))
    assert (end.reason, end.failed, requests) == (reason, failed, 1)
    assert words.lower() in end.shortfall.lower() and "\n" not in end.shortfall


async def test_the_tokens_of_thinking_are_counted():
    usage = {**COUNTS, "completion_tokens_details": {"reasoning_tokens": 1}}
    _, _, end, _ = await asked(answers_with(sse(chunk({"reasoning": "Hm"}), LO, {**STOP, "usage": usage})))
    assert end.usage.thinking_tokens == 1


# What is sent, under which status and type; the words that reach the user, and whether it is asked again.
ERRORS = {
    "an event": (200, sse({"error": {"message": "CUDA is out", "code": 500}}), "CUDA is out", True),
    "a quota": (200, sse({"error": {"message": "quota is used up", "type": "insufficient_quota", "code": 429}}),
                "quota is used up", False),
    "by its name": (200, 'event: error\ndata: {"message": "worker gone"}\n\n', "worker gone", True),
    "a field of its own": (200, 'error: {"code": 500, "message": "slot failed"}\n\n', "slot failed", True),
    "text by its name": (200, "event: error\ndata: worker gone\n\n", "worker gone", True),
    "JSON inside a 200": (200, '{"error": {"message": "no model is in memory"}}', "no model is in memory", True),
    "a bare one inside a 200": (200, '{"detail": "Not here"}', "Not here", True),
    "a text inside a 200": (200, "upstream connect error", "upstream connect error", False),
    "a page inside a 200": (200, "<html><head><title>Sign in</title></head></html>", "Sign in", False),
    "between the events": (200, ": ping\n\n" + '{"error": "died"}\n', "died", True),
    "a list": (400, '[{"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}}]', "bad", False),
    "a list of details": (422, '{"detail": [{"loc": ["body", "top_j"], "msg": "Extra inputs"}]}',
                          "body.top_j: Extra inputs", False),
    "details in a message": (422, '{"message": {"detail": [{"loc": ["x"], "msg": "no"}]}}', "x: no", False),
    "errors": (400, '{"success": false, "errors": [{"code": 7, "message": "No route"}]}', "No route", False),
    "an upstream's": (400, json.dumps({"error": {"message": "Provider returned error", "code": 400, "metadata": {
                      "raw": '{"error": {"message": "too long by 5"}}', "provider_name": "P"}}}), "too long", False),
    "a fault": (500, '{"fault": {"faultstring": "Gateway is full"}}', "Gateway is full", True),
    "a code alone": (500, '{"error": {"code": "overloaded"}}', "overloaded", True),
    "a text": (500, "Internal Server Error", "Internal Server Error", True),
    "a page": (502, "<html><head><title>Bad Gateway</title></head><body>x</body></html>", "502: Bad Gateway", True),
    "a page without a title": (503, "<p>Down for <b>maintenance</b></p>", "Down for maintenance", True),
    "nothing": (500, "", "answers 500", True),
    "what is not built": (501, '{"error": "no streams here"}', "no streams here", False),
    "payment": (402, '{"error": {"message": "Insufficient credits", "code": 402}}', "Insufficient credits", False),
    "used up": (429, '{"error": {"message": "No quota", "type": "insufficient_quota"}}', "No quota", False),
    "too fast": (429, '{"error": {"message": "Slow down", "type": "rate_limit_exceeded"}}', "Slow down", True),
    "a model that it has not": (404, '{"error": {"message": "model m not found"}}', "model m not found", False),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_in_any_form_is_said_in_the_servers_words(name):
    status, body, words, again = ERRORS[name]
    text, _, end, requests = await asked(answers_with(body, status, kind="application/json"), retries=1)
    assert (text, isinstance(end, Rejected | BrokeOff)) == ("", True), end
    assert words in end.failure.message and "\n" not in end.failure.message
    assert requests == (2 if again else 1)


@pytest.mark.parametrize("name", ["an event", "JSON inside a 200", "by its name"])
async def test_what_came_before_an_error_stays(name):
    sent = sse(ROLE, HEL, done=False) + ERRORS[name][1]
    text, _, end, requests = await asked(answers_with(sent), retries=3)
    assert (text, type(end), requests) == ("Hel", BrokeOff, 1)
    assert ERRORS[name][2] in end.failure.message


@pytest.mark.parametrize("reason", ["error", "abort", "network_error"])
async def test_an_answer_that_the_server_broke_off_is_none(reason):
    text, _, end, _ = await asked(answers_with(sse(HEL, chunk({}, reason))), retries=1)
    assert (text, type(end)) == ("Hel", BrokeOff) and reason in end.failure.message


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("only thinking", 1, "raise max_tokens"), ("a filter", 1, "content filter"), ("half an answer", 0, "cut off")],
)
def test_ask_says_what_happened_and_ends_with_a_fitting_code(capsys, name, code, words):
    with raw_server(answers_with(ENDINGS[name][0])) as server:
        assert run(["--engine", server.url, "ask", "hi"]) == code
        told = capsys.readouterr()
        assert words.lower() in told.err.lower() and "Traceback" not in told.err
        assert told.out == ("Hel\n" if code == 0 else "")
        assert run(["--engine", server.url, "ask", "--json", "hi"]) == code
        report = json.loads(capsys.readouterr().out)
        assert words.lower() in report["shortfall"].lower()


def test_ask_keeps_thinking_apart(capsys):
    with raw_server(answers_with(THOUGHT["tags"])) as server:
        assert run(["--engine", server.url, "ask", "hi"]) == 0
        told = capsys.readouterr()
        assert told.out == "Hello.\n" and "thought before it answered" in told.err
        assert run(["--engine", server.url, "ask", "--json", "hi"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert (report["text"], report["thinking"].strip()) == ("Hello.", "Let me think.")


@pytest.mark.parametrize("name", ["an end at once", "the limit before any text"])
def test_a_row_with_an_empty_answer_says_so(tmp_path, capsys, name):
    (tmp_path / "in.jsonl").write_text('{"id": "a", "prompt": "hi"}\n')
    with raw_server(answers_with(ENDINGS[name][0])) as server:
        done = run(["--engine", server.url, "batch", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.jsonl")])
    line = json.loads((tmp_path / "out.jsonl").read_text())
    assert (done, line["text"], line["error"]) == (0, "", None)
    assert ENDINGS[name][2] in line["note"]
    capsys.readouterr()


@pytest.mark.parametrize("form", ["plain", "openai"])
def test_a_row_of_a_batch_says_what_happened(tmp_path, capsys, form):
    row = {"id": "a", "prompt": "hi"}
    if form == "openai":
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
        row = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    (tmp_path / "in.jsonl").write_text(json.dumps(row) + "\n")
    with raw_server(answers_with(ENDINGS["only thinking"][0])) as server:
        done = run(["--engine", server.url, "batch", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.jsonl")])
    capsys.readouterr()
    line = json.loads((tmp_path / "out.jsonl").read_text())
    assert done == 1
    if form == "plain":
        assert "Only thinking" in line["error"]
        assert (line["text"], line["thinking"], line["finish_reason"]) == ("", "Hm", "length")
    else:
        choice = line["response"]["body"]["choices"][0]
        assert "Only thinking" in line["error"]["message"] and choice["finish_reason"] == "length"
        assert choice["message"]["reasoning_content"] == "Hm"
