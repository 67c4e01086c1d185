"""`phitui bench --engine`: llama.cpp's server, servers that do not count, and local beside remote."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from answering_server import answering
from terminal import command, environment


def bench(home, *arguments):
    return subprocess.run(
        command("bench", *arguments),
        env=environment(home, PYTHONPATH=ROOT),
        capture_output=True,
        timeout=120,
        check=False,
        text=True,
    )


ROOT = os.pathsep.join([str(Path(__file__).resolve().parent.parent.parent), os.environ.get("PYTHONPATH", "")])
SHORT = ("--concurrency", "1,2", "--prompt-tokens", "24", "--max-tokens", "12", "--repeat", "2")
# Answers longer than those that warm up.
LONGER = (*SHORT[:5], "24", *SHORT[6:])


def test_llama_cpp_beside_the_local_engine(home, llama, tmp_path):
    far, near = tmp_path / "far.json", tmp_path / "near.json"
    done = bench(home, "--engine", llama.url, *SHORT, "-o", str(far))
    assert done.returncode == 0, done.stderr
    assert "- server: llama.cpp at 127.0.0.1" in done.stdout and "MBU: the server's hardware is not read" in done.stdout
    assert "J/token: the server's energy is not read" in done.stdout and "no two prompts begin alike" in done.stdout
    assert bench(home, "--model", "tiny-phi3", *SHORT, "-o", str(near)).returncode == 0
    found, local = json.loads(far.read_text()), json.loads(near.read_text())
    assert found.keys() == local.keys()
    for one in found["results"]:
        assert one["outcome"] == "ok" and len(one["runs"]) == 2
        assert one["ttft_ms"]["n"] == 2 * one["batch"] >= one["tpot_ms"]["n"]  # an answer may come in one piece
        assert one["peak_memory_bytes"] is None and one["bandwidth"]["mbu_useful"] is None
        mean_s = one["ttft_ms"]["mean"] / 1000 + 11 * one["tpot_ms"]["mean"] / 1000
        assert one["output_tokens_per_s"] <= 1.5 * one["batch"] * 12 / mean_s
    both = bench(home, "--compare", str(near), str(far), "--json")
    differences = json.loads(both.stdout)["differences"]
    assert {(one["batch"], one["metric"]) for one in differences} >= {(1, "ttft_ms"), (2, "output_tokens_per_s")}
    assert bench(home, "--compare", str(near), str(far)).returncode == 0


def test_all_answers_have_the_length_that_was_asked_for(home, llama):
    done = bench(home, "--engine", llama.url, *LONGER, "--json")
    found = json.loads(done.stdout)
    assert not [note for note in found["notes"] if "ends answers" in note]
    assert all(run["tpot_ms"] and run["decode_tokens_per_s"] for one in found["results"] for run in one["runs"])


def without_counts(connection, prompt, count):
    connection.head()
    connection.piece("text", "stop")
    connection.done()
    return True


FAULTS = {
    "no counts": (without_counts, "does not count the tokens"),
    "401": (lambda c, *_: c.reply(401, b'{"error": "no key"}') or True, "answers 401: no key"),
    "500": (lambda c, *_: c.reply(500, b"") or True, "answers 500"),
    "killed": (lambda c, *_: (c.head(), c.piece("x"), c.reset()), "connection"),
    "wrong JSON": (lambda c, *_: (c.head(), c.event(b"{")), "not part of an answer"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_server_that_cannot_be_measured_is_one_line(home, name):
    fault, words = FAULTS[name]
    with answering(fault) as (server, _):
        done = bench(home, "--engine", server.url, *SHORT)
    assert done.returncode == 1 and done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("phitui: ")]
    assert len(lines) == 1 and words in lines[0] and "cannot be measured" in lines[0]


def test_a_size_that_is_refused_is_a_line_with_the_reason_and_the_others_go_on(home):
    def crowded(connection, prompt, count):
        if how.now > 2:
            connection.reply(429, b'{"error": "too many"}')
            return True
        return False

    with answering(crowded, step_s=0.01) as (server, how):
        done = bench(home, "--engine", server.url, "--batch-sizes", "1,2,6", *SHORT[2:], "--json")
    assert done.returncode == 0, done.stderr
    results = {one["batch"]: one for one in json.loads(done.stdout)["results"]}
    assert [results[size]["outcome"] for size in (1, 2, 6)] == ["ok", "ok", "failed"]
    assert "answers 429: too many" in results[6]["detail"]
    assert any("ends answers where the model does" in note for note in json.loads(done.stdout)["notes"])
