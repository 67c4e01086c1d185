"""What the lines of a batch's input may be, and what is said of those that are no rows."""

import json
import os
import threading

import pytest

from phitui.core.errors import PhituiError, UsageError
from phitui.engine.protocol.api import Sampling, Turn
from phitui.storage.journal import LineSet
from phitui.workbench.batch.lines import MAX_LINE_BYTES, Input, Line, LineReader
from phitui.workbench.batch.request import Defaults, Refusal, Request, parse_line
from phitui.workbench.batch.source import IdSet, RowSource

BASE = Sampling(max_tokens=50, temperature=0.5, top_k=40, top_p=0.8, repetition_penalty=1.1)
CHAT = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}
HI = {"role": "user", "content": "hi"}


def parse(row, system="", number=3):
    data = row if isinstance(row, bytes) else json.dumps(row).encode()
    return parse_line(Line(number, len(data), data), Defaults(BASE, system), "plain")


def reader(data, chunk):
    pieces = [data[place : place + chunk] for place in range(0, len(data), chunk)]
    return LineReader(lambda: pieces.pop(0) if pieces else b"")


def read_all(lines):
    found = []
    while more := lines.next():
        found += more
    return found


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_lines_whatever_the_chunks(chunk):
    data = b'\xef\xbb\xbf{"a":1}\r\n\n  \n{"b":2}\n\xc3\xa4\n{"c":3}'
    found = read_all(reader(data, chunk))
    assert [(line.number, line.data.strip()) for line in found] == [
        (1, b'{"a":1}'), (4, b'{"b":2}'), (5, b"\xc3\xa4"), (6, b'{"c":3}')
    ]  # fmt: skip


def test_a_long_line_is_not_kept():
    long = b"x" * (MAX_LINE_BYTES + 1)
    found = read_all(reader(b"a\n" + long + b"\nb\n" + long, 65536))
    assert [(line.number, line.size, line.data) for line in found] == [
        (1, 1, b"a"), (2, len(long), None), (3, 1, b"b"), (4, len(long), None)
    ]  # fmt: skip


def test_utf_16_is_said_once():
    with pytest.raises(UsageError, match="UTF-16"):
        read_all(reader('{"prompt":"x"}\n'.encode("utf-16"), 100))


def test_a_row_takes_what_it_does_not_say_from_the_defaults():
    row = parse(
        {"id": 7, "prompt": "hi", "temperature": 0, "stop": "END", "n": 2, "label": "x", "seed": 4}, "Be brief."
    )
    assert row.turns == [Turn("system", "Be brief."), Turn("user", "hi")]
    assert row.sampling == Sampling(50, 0.0, 40, 0.8, 1.1, ("END",))
    assert (row.line, row.id, row.form, row.n, row.unused) == (3, 7, "plain", 2, {"label", "seed"})
    assert parse({"prompt": "hi", "system": ""}, "Be brief.").turns == [Turn("user", "hi")]
    assert parse({"messages": [HI]}, "Be brief.").turns[0] == Turn("system", "Be brief.")
    own = [{"role": "system", "content": "Own."}, HI]
    assert parse({"messages": own}, "Be brief.").turns[0] == Turn("system", "Own.")


def test_an_openai_line():
    body = {
        "model": "gpt", "max_completion_tokens": 9, "stop": ["a", "b"], "n": 3, "temperature": 1, "stream": False,
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]},
        ],
    }  # fmt: skip
    row = parse({**CHAT, "body": body}, "not for these")
    assert row.turns == [Turn("system", "Be brief."), Turn("user", "hi")]
    assert row.sampling == Sampling(9, 1.0, 40, 0.8, 1.1, ("a", "b"))
    assert (row.id, row.form, row.n) == ("a", "openai", 3)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b'{"prompt": "x"', "not JSON"),
        (b'{"prompt": "x\xff"}', "not UTF-8 (byte 0xff at 13)"),
        (b'{"prompt": "x\x00"}', "not JSON"),
        (b'{"prompt": "\\ud800"}', "lone surrogate"),
        (b'{"prompt": "\\ud83d\\ude00 \\udc00"}', "lone surrogate"),
        (b"[" * 100_000, "nested too deep"),
        (b"[1]", "expected an object"),
        (b"7", "expected an object"),
        ({}, "neither prompt nor messages"),
        ({"prompt": "a", "messages": [HI]}, "both prompt and messages"),
        ({"prompt": " \n"}, "the prompt is empty"),
        ({"messages": []}, "no messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "'robot' is not system"),
        ({"messages": [{"role": "user"}]}, "content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "only text"),
        ({"messages": [{"role": "system", "content": "x"}, HI], "system": "y"}, "both system"),
        ({"prompt": 1}, "prompt"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "max_tokens": True}, "max_tokens"),
        ({"prompt": "a", "max_tokens": "9"}, "max_tokens"),
        ({"prompt": "a", "temperature": -1}, "temperature"),
        ({"prompt": "a", "top_p": 1.5}, "top_p"),
        ({"prompt": "a", "n": 0}, "at n"),
        ({"prompt": "a", "n": 129}, "at n"),
        ({"prompt": "a", "stop": ["", "b"]}, "stop"),
        ({"prompt": "a", "stop": ["b"] * 17}, "stop"),
        ({"prompt": "a", "id": [1]}, "at id"),
        ({"prompt": "a", "id": 1.5}, "at id"),
        ({**CHAT, "method": "GET", "body": {"messages": [HI]}}, "method"),
        ({**CHAT, "url": "/v1/embeddings", "body": {"messages": [HI]}}, "url: only /v1/chat/completions"),
        ({**CHAT, "body": {"messages": [HI], "tools": [{}]}}, "body.tools"),
        ({**CHAT, "body": {"messages": [HI], "frequency_penalty": 0.5}}, "body.frequency_penalty"),
        ({**CHAT, "body": {"messages": [HI], "response_format": {"type": "json_object"}}}, "body.response_format"),
        ({**CHAT}, "body"),
        ({"body": {"messages": [HI]}}, "custom_id"),
    ],
)  # fmt: skip
def test_what_is_no_row_says_why(row, reason):
    found = parse(row)
    assert isinstance(found, Refusal)
    assert reason in found.reason
    assert "\n" not in found.reason and len(found.reason) < 400


def test_a_nul_and_other_controls_in_a_prompt_are_text():
    assert parse(b'{"prompt": "a\\u0000b\\u001b"}').turns == [Turn("user", "a\x00b\x1b")]


def test_an_id_may_be_there_once():
    rows = [{"id": 1, "prompt": "a"}, {"id": "1", "prompt": "b"}, {"id": 1, "prompt": "c"}, {"prompt": "d"}]
    data = "".join(json.dumps(row) + "\n" for row in [*rows, {"prompt": "e"}]).encode()
    source = RowSource(reader(data, 20), Defaults(BASE, ""), LineSet())
    found = read_all(source)
    refused = [row for row in found if isinstance(row, Refusal)]
    assert [row.line for row in found] == [1, 2, 3, 4, 5]
    assert [(row.line, row.reason) for row in refused] == [(3, "the id 1 was there before")]


def test_rows_that_are_done_count_as_seen_and_are_not_run():
    done = LineSet()
    done.add(1)
    data = b'{"id":"a","prompt":"x"}\n{"id":"a","prompt":"y"}\n{"id":"b","prompt":"z"}\n'
    found = read_all(RowSource(reader(data, 9), Defaults(BASE, ""), done))
    assert [(row.line, isinstance(row, Refusal)) for row in found] == [(2, True), (3, False)]


def test_a_text_file_has_a_prompt_on_each_line():
    lines = [b"\xef\xbb\xbfWhat is a cache?\r", b"", b"  {curly} braces", b'{"prompt": "a row", "id": 7}', b'{"id": 8}']
    data = b"\n".join([*lines, b"\xff", b"[1]", b'"quoted"'])
    found = read_all(RowSource(reader(data, 50), Defaults(BASE, "be brief"), LineSet(), is_text=True))
    texts = [row.turns[-1].content if isinstance(row, Request) else row.reason for row in found]
    assert [row.line for row in found] == [1, 3, 4, 5, 6, 7, 8]
    assert texts[:4] == ["What is a cache?", "  {curly} braces", "a row", '{"id": 8}']
    assert texts[4].startswith("not UTF-8 (byte 0xff at 0)") and texts[5:] == ["[1]", '"quoted"']
    assert found[0].turns[0].content == "be brief" and found[2].id == 7


@pytest.mark.parametrize(("name", "is_text"), [("a.txt", True), ("A.TXT", True), ("a.jsonl", False), ("txt", False)])
def test_a_text_file_is_known_by_its_name(tmp_path, name, is_text):
    (tmp_path / name).write_text("hello\n")
    found = Input(tmp_path / name)
    assert found.is_text == is_text
    found.close()


def test_a_line_that_says_nothing_is_answered_in_the_form_of_those_before():
    data = json.dumps({**CHAT, "body": {"messages": [HI]}}).encode() + b"\nnonsense\n"
    found = read_all(RowSource(reader(data, 50), Defaults(BASE, ""), LineSet()))
    assert [row.form for row in found] == ["openai", "openai"]


def test_many_ids():
    ids = IdSet()
    assert all(ids.add(f"row {number}") for number in range(20_000))
    assert not any(ids.add(f"row {number}") for number in range(0, 20_000, 7))
    assert ids.add(5) and not ids.add(5) and ids.add("5")


def test_line_sets_grow_and_come_back():
    lines = LineSet()
    for line in (0, 1, 8, 100_000):
        lines.add(line)
    again = LineSet(lines.pack(), 100_000)
    assert [line for line in (0, 1, 2, 7, 8, 9, 99_999, 100_000, 10**9) if line in again] == [0, 1, 8, 100_000]


def test_a_file_that_grows_while_it_is_read_is_no_input(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"prompt":"x"}\n' * 3)
    source = Input(path)
    assert source.scan().rows == 3
    lines = source.lines()
    lines.next()
    with path.open("ab") as file:
        file.write(b'{"prompt":"y"}\n')
    with pytest.raises(PhituiError, match="was changed while it was read"):
        read_all(lines)
    source.close()


@pytest.mark.parametrize(("make", "words"), [(None, "no such file"), ("folder", "is a folder")])
def test_inputs_that_are_none(tmp_path, make, words):
    path = tmp_path / "in.jsonl"
    if make:
        path.mkdir()
    with pytest.raises(UsageError, match=words):
        Input(path)


def test_a_stream_that_says_nothing_can_be_left(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: os.open(path, os.O_WRONLY))
    writer.start()
    source = Input(path)
    writer.join()
    assert not source.is_file
    found = []
    waiting = threading.Thread(target=lambda: found.append(source.lines().next()))
    waiting.start()
    source.close()
    waiting.join(5)
    assert found == [[]]
