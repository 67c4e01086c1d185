"""`phitui batch` as scripts use it. The engine is the stand-in of tests/children but where the real one is named."""

import json
import os
import signal
import stat
import subprocess
import sys
import time

import pytest
from batch_runs import Batch, questions

HI = [{"role": "user", "content": "hi"}]
CHAT = {"method": "POST", "url": "/v1/chat/completions"}


def outputs(batch):
    return [json.loads(line) for line in batch.by_row()]


def fails(done, code, *words):
    assert done.returncode == code, done.stderr
    told = done.stderr.strip().splitlines()
    assert told[-1].startswith("phitui: ")
    for word in words:
        assert word in told[-1]


def test_one_line_for_each_row_and_nothing_on_stdout(home):
    batch = Batch(home, [{"id": "a", "prompt": "Why?"}, {"prompt": "What?", "max_tokens": 1}])
    done = batch.run()
    assert (done.returncode, done.stdout) == (0, "")
    first, second = outputs(batch)
    assert list(first) == ["id", "line", "text", "finish_reason", "usage", "error"]
    assert (first["id"], first["line"], first["finish_reason"], first["error"]) == ("a", 1, "stop", None)
    assert (second["id"], second["line"], second["finish_reason"]) == (None, 2, "length")
    assert second["usage"] == {"prompt_tokens": 1, "completion_tokens": 1}
    assert os.listdir(home.parent).count("out.jsonl.journal") == 0
    assert stat.S_IMODE(batch.output.stat().st_mode) == 0o600


def test_openai_lines_are_answered_in_openais_form(home):
    rows = [
        {"custom_id": "x", **CHAT, "body": {"messages": HI, "model": "gpt", "n": 2}},
        {"custom_id": "y", **CHAT, "body": {"messages": []}},
    ]
    batch = Batch(home, rows)
    assert batch.run().returncode == 1
    lines = [json.loads(line) for line in sorted(batch.lines(), key=lambda line: json.loads(line)["custom_id"])]
    good, bad = lines
    assert list(good) == list(bad) == ["id", "custom_id", "response", "error"]
    response = good["response"]
    assert (response["status_code"], good["error"]) == (200, None)
    assert good["id"].startswith("batch_req_") and response["request_id"].startswith("req_")
    body = response["body"]
    assert (body["object"], body["model"]) == ("chat.completion", "stand-in")
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert body["choices"][0]["finish_reason"] in ("stop", "length")
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    assert abs(body["created"] - time.time()) < 60
    assert bad["response"] is None
    assert bad["error"] == {"code": "row_failed", "message": "line 2: no messages"}


def test_rows_that_cannot_run_say_why_and_the_others_go_on(home):
    batch = Batch(home, [])
    long = json.dumps({"prompt": "x" * 10_000_000})
    parts = ['\ufeff{"prompt":"a"}\r', "", "nonsense", '{"prompt":"b","max_tokens":0}', long, '{"prompt":"c"}']
    batch.input.write_text("\n".join(parts), newline="")
    done = batch.run()
    assert done.returncode == 1
    found = outputs(batch)
    assert [line["line"] for line in found] == [1, 3, 4, 5, 6]
    assert [line["error"] is None for line in found] == [True, False, False, False, True]
    assert found[1]["error"].startswith("line 3: not JSON")
    assert found[2]["error"] == "line 4: Expected int >= 1 - at max_tokens"
    assert "the line has 10000014 bytes" in found[3]["error"]
    assert "5 of 5 rows (3 failed)" in done.stderr
    assert found[1]["error"] in done.stderr


def test_an_empty_input_gives_an_empty_output(home):
    batch = Batch(home, [])
    assert batch.run().returncode == 0
    assert batch.output.read_bytes() == b""


def test_n_answers(home):
    batch = Batch(home, [{"prompt": "x", "n": 3}])
    assert batch.run().returncode == 0
    (line,) = outputs(batch)
    assert len(line["choices"]) == 3 and set(line["choices"][0]) == {"text", "finish_reason"}


def test_ordered(home):
    rows = questions(200)
    batch = Batch(home, rows, options=("--ordered", "--batch-size", "16"))
    assert batch.run().returncode == 0
    assert [json.loads(line)["id"] for line in batch.lines()] == [row["id"] for row in rows]


def test_json_sums_it_up(home):
    batch = Batch(home, [*questions(20), {"prompt": ""}])
    done = batch.run("--json")
    (file,) = json.loads(done.stdout)["files"]
    usage = [line["usage"] for line in outputs(batch) if not line["error"]]
    assert (file["rows"], file["done"], file["failed"], file["done_before"]) == (21, 21, 1, 0)
    assert file["state"] == "complete"
    assert file["usage"] == {name: sum(one[name] for one in usage) for name in ("prompt_tokens", "completion_tokens")}
    assert file["this_run"]["tokens"] == file["usage"]["completion_tokens"]
    assert file["this_run"]["tokens_per_s"] == pytest.approx(
        file["this_run"]["tokens"] / file["this_run"]["seconds"], rel=0.01
    )


def test_several_files_into_a_folder(home):
    first, second = Batch(home, questions(10), name="a"), Batch(home, questions(5, seed=2), name="b")
    folder = home.parent / "answers"
    folder.mkdir()
    words = [*first.words()[:4], str(first.input), str(second.input), "-o", str(folder), "--json"]
    done = subprocess.run(words, env=first.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [file["done"] for file in json.loads(done.stdout)["files"]] == [10, 5]
    assert sorted(os.listdir(folder)) == ["a-in.jsonl", "b-in.jsonl"]
    single = subprocess.run(
        [*words[:4], str(first.input), "-o", str(folder)],
        env=first.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    fails(single, 2, "a-in.jsonl is there already")


def test_a_file_that_cannot_be_run_does_not_keep_the_others_from_it(home):
    bad, good = Batch(home, [], name="a"), Batch(home, questions(5), name="b")
    bad.input.write_text('{"prompt":"x"}', encoding="utf-16")
    folder = home.parent / "answers"
    folder.mkdir()
    words = [*bad.words()[:4], str(bad.input), str(good.input), "-o", str(folder), "--json"]
    done = subprocess.run(words, env=bad.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    files = json.loads(done.stdout)["files"]
    assert [(file["state"], file["done"]) for file in files] == [("failed", 0), ("complete", 5)]
    assert "UTF-16" in files[0]["error"] and files[1]["error"] is None
    assert "UTF-16" in done.stderr and "b-in.jsonl: complete, 5 of 5 rows" in done.stderr
    assert os.listdir(folder) == ["b-in.jsonl"]


def test_one_file_that_cannot_be_run_has_its_summary_and_its_own_exit_code(home):
    batch = Batch(home, [])
    batch.input.write_text('{"prompt":"x"}', encoding="utf-16")
    done = batch.run("--json")
    fails(done, 2, "UTF-16")
    assert json.loads(done.stdout)["files"][0]["state"] == "failed"
    assert "out-in.jsonl: failed" in done.stderr


def test_a_seed_gives_the_same_answers_again_in_a_second_file_too(home):
    """More rows than are open at once, in batches of several; a file alone answers as after another."""
    rows = [{**row, "max_tokens": 1 + number % 4, "temperature": 1.0} for number, row in enumerate(questions(2200))]
    few = [{**row, "temperature": 1.0} for row in questions(40, seed=3)]
    first, second = Batch(home, rows, name="a"), Batch(home, few, name="b")
    options = ("--model", "tiny-phi3", "--compute-type", "float32", "--batch-size", "48")

    def answers(seed, *inputs):
        folder = home.parent / f"answers-{seed}-{time.monotonic()}"
        folder.mkdir()
        words = [sys.executable, "-m", "phitui", "batch", *map(str, inputs), "-o", str(folder), "--seed", str(seed)]
        done = subprocess.run([*words, *options], env=first.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return {path.name: sorted(path.read_text().splitlines()) for path in folder.iterdir()}

    once = answers(7, first.input, second.input)
    assert [len(lines) for _, lines in sorted(once.items())] == [2200, 40]
    assert answers(7, first.input, second.input) == once
    assert answers(7, second.input)[second.input.name] == once[second.input.name]
    assert answers(8, second.input)[second.input.name] != once[second.input.name]


def test_from_standard_input_to_standard_output(home):
    batch = Batch(home, [])
    words = [*batch.words()[:4], "-", "-o", "-"]
    done = subprocess.run(
        words,
        env=batch.environ,
        input=b'{"id":1,"prompt":"a"}\n{"id":2,"prompt":"b"}',
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(json.loads(line)["id"] for line in done.stdout.splitlines()) == [1, 2]


def test_rows_that_come_slowly_are_answered_as_they_come(home):
    batch = Batch(home, [])
    words = [*batch.words()[:4], "-", "-o", "-"]
    process = subprocess.Popen(
        words, env=batch.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    for number in range(3):
        process.stdin.write(json.dumps({"id": number, "prompt": "a"}).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == number
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_a_reader_that_goes_away_ends_it(home):
    batch = Batch(home, questions(2000))
    words = [*batch.words()[:5], "-o", "-"]
    process = subprocess.Popen(words, env=batch.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    told = process.stderr.read()
    assert process.wait(20) == 1
    assert b"Traceback" not in told


def test_an_output_that_is_there_is_not_touched(home):
    batch = Batch(home, questions(3))
    batch.output.write_text("mine\n")
    fails(batch.run(), 2, "is there already", "Choose another output")
    fails(batch.run("--resume"), 2, "has no journal and not a line for each row")
    assert batch.output.read_text() == "mine\n"


def test_resuming_what_is_complete_does_nothing(home):
    batch = Batch(home, [*questions(5), {"prompt": ""}])
    assert batch.run().returncode == 1
    before = batch.output.read_bytes()
    again = batch.run("--resume", "--json")
    assert again.returncode == 1  # a row has failed: it says so again
    assert "complete already" in again.stderr
    assert json.loads(again.stdout)["files"][0]["failed"] == 1
    assert batch.output.read_bytes() == before


def test_resuming_what_was_not_begun_begins_it(home):
    batch = Batch(home, questions(5))
    assert batch.run("--resume").returncode == 0
    assert len(outputs(batch)) == 5


def interrupted(home, rows, **options):
    batch = Batch(home, rows, **options)
    process = batch.start()
    while not (batch.output.exists() and batch.output.stat().st_size > 1000):
        time.sleep(0.005)
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
    return batch


def test_another_batch_is_not_resumed(home):
    batch = interrupted(home, questions(300))
    fails(batch.run(), 2, "is there already", "--resume")
    fails(batch.run("--resume", "--max-tokens", "7"), 2, "max_tokens was 512, now 7")
    fails(batch.run("--resume", "--ordered"), 2, "ordered was False, now True")
    fails(batch.run("--resume", "--model", "tiny-phi3"), 2, "other weights")
    fails(batch.run("--resume", "--compute-type", "float32"), 2, "the compute type was auto, now it is float32")
    config = home / "config" / "phitui" / "config.toml"
    before = config.read_text()
    config.write_text(before.replace("[generation]\n", '[generation]\nstop = ["w7"]\n'))
    fails(batch.run("--resume"), 2, "stop was [], now ['w7']")
    config.write_text(before)
    kept = batch.input.read_text()
    batch.input.write_text(kept.replace("Question 7:", "Question 8:"))
    fails(batch.run("--resume"), 2, "the input has changed")
    batch.input.write_text(kept)
    assert batch.run("--resume").returncode == 0
    assert len(outputs(batch)) == 300


def test_tokens_that_were_made_are_not_made_again(home):
    rows = [{"prompt": f"row {number}"} for number in range(8)]
    whole = Batch(home, rows, name="whole")
    assert whole.run().returncode == 0
    total = sum(line["usage"]["completion_tokens"] for line in outputs(whole))
    batch = Batch(home, rows, ROWS_STEP_S="0.1")
    process = batch.start()
    while not (batch.journal.exists() and batch.journal.stat().st_size > 1200):
        time.sleep(0.02)
        assert process.poll() is None
    process.kill()
    process.communicate()
    again = batch.run("--resume", "--json")
    assert again.returncode == 0, again.stderr
    (file,) = json.loads(again.stdout)["files"]
    assert file["this_run"]["tokens"] < total - 8
    assert batch.by_row() == whole.by_row()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such.jsonl", "-o", "x.jsonl"], "no such file"),
        ([".", "-o", "x.jsonl"], "is a folder"),
        (["in.jsonl"], "-o"),
        (["in.jsonl", "-o", "in.jsonl"], "is the input"),
        (["in.jsonl", "-o", "no/such/x.jsonl"], "no such folder"),
        (["in.jsonl", "in.jsonl", "-o", "x.jsonl"], "is not a folder"),
        (["in.jsonl", "./in.jsonl", "-o", "."], "two inputs are called in.jsonl"),
        (["in.jsonl", "-", "-o", "-"], "need a folder"),
        (["-", "-o", "."], "no name"),
        (["-", "-o", "x.jsonl", "--resume"], "cannot be read twice"),
        (["in.jsonl", "-o", "-", "--resume"], "--resume needs an output file"),
        (["in.jsonl", "-o", "-", "--json"], "both write"),
        (["in.jsonl", "-o", "x.jsonl", "--batch-size", "0"], "--batch-size"),
        (["in.jsonl", "-o", "x.jsonl", "--batch-size", "²"], "--batch-size"),
        (["in.jsonl", "-o", "x.jsonl", "--max-tokens", "0"], "--max-tokens"),
        (["in.jsonl", "-o", "x.jsonl", "--seed", "-1"], "--seed"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(home, tmp_path, arguments, words):
    (tmp_path / "in.jsonl").write_text('{"prompt":"x"}\n')
    batch = Batch(home, [])
    done = subprocess.run(
        [*batch.words()[:4], *arguments], env=batch.environ, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    fails(done, 2, words)
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "x.jsonl").exists()


def test_many_rows_take_little_memory(home):
    code = (
        "import sys, phitui.engine.local.client as client\n"
        "client.WORKER = 'children.rows_child'\n"
        "from phitui.cli.main import run\n"
        "code = run(sys.argv[1:])\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])\n"
        "sys.exit(code)\n"
    )
    batch = Batch(home, [{"id": f"row {n}", "prompt": "word " * 100, "max_tokens": 2} for n in range(20_000)])
    environ = {**batch.environ, "ROWS_STEP_S": "0", "ROWS_TOLD_S": "0.5"}
    words = [sys.executable, "-c", code, *batch.words()[3:], "--batch-size", "256"]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100 * 1024  # KiB
    assert len(batch.lines()) == 20_000
