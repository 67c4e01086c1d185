"""`phitui batch --engine`: the real command on llama.cpp, and on servers that fail in the middle of it."""

import json
import time

import pytest
from answering_server import answer_to, answering
from batch_runs import Batch, questions
from llama_server import llama_server


def remote(home, rows, url, name="out", options=(), retries=1):
    file = home / "config" / "phitui" / "config.toml"
    file.write_text(f'[engines.box]\nurl = "{url}"\nretries = {retries}\nfirst_token_timeout_s = 5.0\n')
    return Batch(home, rows, standin=False, name=name, options=("--engine", "box", *options))


def texts(batch):
    return {line["id"]: line["text"] for line in map(json.loads, batch.by_row())}


def prompts(count):
    return [{"id": f"q{n}", "prompt": f"question w{n}", "max_tokens": 8} for n in range(count)]


def whole(rows):
    return {row["id"]: "".join(answer_to(row["prompt"], row["max_tokens"])[0]) for row in rows}


def wait_for(condition, process=None):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.01)


def one_clear_line(stderr, *words):
    lines = [line for line in stderr.splitlines() if line.startswith("phitui: ")]
    assert len(lines) == 1 and "Traceback" not in stderr, stderr
    for word in words:
        assert word in lines[0]


def test_rows_of_every_kind_on_llama_cpp(home, llama):
    rows = [{**row, "temperature": 0} for row in questions(12)]
    rows[3]["n"] = 2
    rows[4]["prompt"] = "word " * 5000  # beyond its context window
    rows[5] = {
        "custom_id": "q5", "method": "POST", "url": "/v1/chat/completions",
        "body": {"messages": [{"role": "user", "content": "Hello."}], "max_tokens": 5, "temperature": 0},
    }  # fmt: skip
    rows[6]["prompt"] = ""
    batch = remote(home, rows, llama.url, options=("--ordered", "--json"))
    done = batch.run()
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in batch.lines()]
    assert [line.get("line", 6) for line in lines] == list(range(1, 13))
    assert [line["id"] for line in lines if line["error"]] == ["q4", "q6"]
    assert "answers 400" in lines[4]["error"] and "prompt is empty" in lines[6]["error"]
    assert lines[3]["choices"][0] == lines[3]["choices"][1]
    assert lines[5]["response"]["body"]["usage"]["total_tokens"] > 5
    assert "2 rows at once, as many as the server takes" in done.stderr
    report = json.loads(done.stdout)["files"][0]
    assert report["usage"]["completion_tokens"] == report["this_run"]["tokens"] > 12
    assert not batch.journal.exists()


def test_the_server_is_killed_and_resume_finishes_it_on_a_new_one(home, tmp_path, llama):
    path = tmp_path / "tiny.gguf"
    path.symlink_to(llama.path)
    rows = [{**row, "max_tokens": 60, "temperature": 0} for row in questions(120)]
    with llama_server(path) as server:
        batch = remote(home, rows, server.url)
        process = batch.start()
        wait_for(lambda: batch.output.exists() and batch.output.read_bytes().count(b"\n") > 5, process)
        server.kill()
        _, told = process.communicate(timeout=60)
        assert process.returncode == 3, told
        one_clear_line(told, "cannot be reached", "--resume")
        done = len(batch.by_row())
        assert 5 < done < 120 and all(json.loads(line)["error"] is None for line in batch.lines())
    with llama_server(path) as another:
        config = home / "config" / "phitui" / "config.toml"
        config.write_text(config.read_text().replace(server.url, another.url))
        finished = batch.run("--resume")
    assert finished.returncode == 0, finished.stderr
    assert f"{done} row" in finished.stderr
    assert len(batch.by_row()) == 120 and not batch.journal.exists()


@pytest.mark.parametrize("ordered", [(), ("--ordered",)], ids=["as they finish", "ordered"])
def test_kill_9_of_the_command_loses_and_doubles_no_row(home, ordered):
    rows = prompts(200)
    with answering(step_s=0.01) as (server, how):
        batch = remote(home, rows, server.url, options=(*ordered, "--concurrency", "16"))
        for attempt in range(3):
            process = batch.start(*(["--resume"] if attempt else []))
            before = len(how.bodies)
            wait_for(lambda before=before: len(how.bodies) > before + 30, process)
            process.kill()
            process.communicate()
        done = batch.run("--resume")
        assert done.returncode == 0, done.stderr
    assert texts(batch) == whole(rows)
    assert how.at_once <= 2 * 16  # of a killed one and the next


def half_an_event(connection):
    connection.head()
    connection.piece("half")
    connection.send(b'data: {"choices": [{"del')


def huge_event(connection):
    connection.head()
    connection.send(b'data: {"choices": [{"delta": {"content": "')
    for _ in range(160):
        connection.send(b"x" * 65536)


def slow_drip(connection):
    connection.head()
    for _ in range(200):
        connection.send(b": ping\n\n")
        time.sleep(0.05)


FAULTS = {
    "killed": (lambda c: c.reset(), "connection was lost"),
    "hangs": (lambda c: c.hang(), "no first token within 0.5 s"),
    "half an event": (half_an_event, "ended in the middle"),
    "10 MB event": (huge_event, "an event of more than"),
    "wrong JSON": (lambda c: (c.head(), c.event(b'{"choices": [}')), "not part of an answer"),
    "404": (lambda c: c.reply(404, b'{"error": "no such model"}'), "no such model"),
    "500": (lambda c: c.reply(500, b"<html>"), "answers 500"),
    "slow drip": (slow_drip, "no first token within 0.5 s"),
}


def test_rows_that_meet_each_fault_once_are_answered_and_those_that_always_do_say_why(home):
    """All faults in one batch: rows "once …" meet theirs the first time only, rows "always …" each time."""

    def misbehave(connection, prompt, count):
        often, _, name = prompt.partition(" ")
        if name in FAULTS and (often == "always" or count == 1):
            FAULTS[name][0](connection)
            return True
        return False

    rows = [
        *prompts(40),
        *({"id": f"{o} {name}", "prompt": f"{o} {name}"} for o in ("once", "always") for name in FAULTS),
    ]
    with answering(misbehave) as (server, _):
        batch = remote(home, rows, server.url, retries=0, options=("--concurrency", "8"))
        config = home / "config" / "phitui" / "config.toml"
        config.write_text(config.read_text().replace("timeout_s = 5.0", "timeout_s = 0.5"))
        done = batch.run()
    assert done.returncode == 1, done.stderr
    lines = {line["id"]: line for line in map(json.loads, batch.by_row())}
    assert len(lines) == len(rows)
    for name, (_, words) in FAULTS.items():
        assert lines[f"once {name}"]["error"] is None, lines[f"once {name}"]
        assert words in lines[f"always {name}"]["error"]
        assert "\n" not in lines[f"always {name}"]["error"] and "text" not in lines[f"always {name}"]
    assert all(lines[row["id"]]["text"] for row in prompts(40))


def test_a_server_that_only_refuses_leaves_all_rows_for_resume(home):
    refusing = [True]

    def misbehave(connection, prompt, count):
        if refusing[0]:
            connection.reply(503, b'{"error": "Loading model"}')
        return refusing[0]

    rows = prompts(30)
    with answering(misbehave) as (server, _):
        batch = remote(home, rows, server.url, retries=0)
        done = batch.run()
        assert done.returncode == 1
        one_clear_line(done.stderr, "answers 503: Loading model", "--resume")
        assert batch.lines() == []
        refusing[0] = False
        done = batch.run("--resume")
        assert done.returncode == 0, done.stderr
    assert texts(batch) == whole(rows)


def test_a_server_that_is_not_there_or_has_no_such_name_is_one_line(home):
    with answering() as (server, _):
        gone = server.url
    for url, words in ((gone, "cannot be reached"), ("http://no-such-host.invalid", "is not known")):
        done = remote(home, prompts(3), url).run()
        assert done.returncode == 3
        one_clear_line(done.stderr, words)


def test_another_model_does_not_go_on_with_it(home):
    rows = prompts(300)
    with answering(step_s=0.02) as (server, how):
        batch = remote(home, rows, server.url)
        process = batch.start()
        wait_for(lambda: len(how.bodies) > 20, process)
        process.terminate()
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130, told
        batch.options = ("--engine", "box", "--model", "other")
        done = batch.run("--resume")
        assert done.returncode == 2
        assert "the model was m, now other" in done.stderr
