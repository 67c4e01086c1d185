"""`phitui ask` as scripts use it: the real command, the real model."""

import json
import os
import signal
import subprocess

import pytest
from raw_server import raw_server
from terminal import Console, command, environment


def ask(home, *arguments, stdin=b"", **extra):
    return subprocess.run(
        command("ask", *arguments),
        env=environment(home, **extra),
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_stdout_is_the_reply_alone(home):
    done = ask(home, "What is the capital of France? Answer with one word.")
    assert done.returncode == 0
    assert b"Paris" in done.stdout
    assert done.stdout.endswith(b"\n")
    assert b"Paris" not in done.stderr


def test_json_is_one_object_with_real_counts_and_times(home):
    done = ask(home, "--json", "What is the capital of France? Answer with one word.")
    report = json.loads(done.stdout)
    assert set(report) == {"text", "finish_reason", "usage", "timings"}
    assert "Paris" in report["text"]
    assert report["finish_reason"] == "stop"
    usage, times = report["usage"], report["timings"]
    assert usage["prompt_tokens"] > 20
    expected = usage["completion_tokens"] / times["total_ms"] * 1000
    assert times["tokens_per_s"] == pytest.approx(expected, rel=0.01)
    decode_ms = times["total_ms"] - times["ttft_ms"]
    assert times["tpot_ms"] * (usage["completion_tokens"] - 1) == pytest.approx(decode_ms, rel=0.01)


def test_the_prompt_comes_from_standard_input(home):
    for arguments in (["-"], []):
        done = ask(home, *arguments, stdin=b"What is the capital of France? Answer with one word.")
        assert b"Paris" in done.stdout


def test_without_a_prompt_and_a_pipe_one_line_says_how_to_give_one(home):
    with Console(command("ask"), environment(home), 100, 5) as console:
        assert console.wait_ended() == 2
        (line,) = filter(None, console.text().splitlines())
    assert line == 'phitui: ask: there is no prompt. Give one: phitui ask "What is a KV cache?", or pipe it in'
    fails(shell(home, "{ask} </dev/null"), 2, "ask: there is no prompt")


def test_a_pipe_that_nothing_comes_through_is_said(home):
    process = subprocess.Popen(
        command("ask"), env=environment(home), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert b"waiting for the text on standard input, which is the prompt" in process.stderr.readline()
    assert b"Paris" in process.communicate(b"What is the capital of France? Answer with one word.")[0]


def test_a_system_prompt_and_a_limit(home):
    plain = json.loads(ask(home, "--json", "Hi").stdout)["usage"]["prompt_tokens"]
    report = json.loads(ask(home, "--json", "-s", "Be a pirate. " * 20, "--max-tokens", "3", "Hi").stdout)
    assert report["usage"]["prompt_tokens"] > plain + 20
    assert (report["finish_reason"], report["usage"]["completion_tokens"]) == ("length", 3)


@pytest.mark.parametrize("place", ["before", "after"])
def test_global_options_stand_before_or_after_the_command(home, place):
    options = ["--model", "tiny-phi3", "--device", "cpu"]
    words = (
        [*options, "ask", "--max-tokens", "4", "x"]
        if place == "before"
        else ["ask", "--max-tokens", "4", "x", *options]
    )
    done = subprocess.run(command(*words), env=environment(home), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def fails(done, code, *words):
    assert done.returncode == code, done
    assert done.stdout == b""
    lines = done.stderr.decode().strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("phitui: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        ([""], b"", ["the prompt is empty"]),
        (["-"], b" \n", ["the prompt is empty"]),
        (["-"], b"abc\xff\xfe", ["not valid UTF-8", "0xff", "at 3"]),
        (["-"], b"lorem ipsum " * 90_000, ["does not fit", "8192"]),
        ([b"caf\xe9"], b"", ["not valid UTF-8"]),
        (["-s", b"caf\xe9", "x"], b"", ["not valid UTF-8"]),
        (["--max-tokens", "0", "x"], b"", ["--max-tokens"]),
        (["--device", "gpu", "x"], b"", ["--device", "invalid choice"]),
        ([], b"", ["the prompt is empty"]),
        (["--model", "no-such-model", "x"], b"", ["no-such-model", "smollm2-135m"]),
        (["--model", "~nosuchuser", "x"], b"", ["no model is called"]),
        (["--model", "a" * 5000, "x"], b"", ["no model is called"]),
        (["--compute-type", "int7", "x"], b"", ["int7"]),
        (["--config", "/no/such.toml", "x"], b"", ["/no/such.toml"]),
    ],
    ids=[
        "empty",
        "blank",
        "bytes",
        "megabyte",
        "latin",
        "system",
        "limit",
        "device",
        "none",
        "model",
        "tilde",
        "long",
        "type",
        "config",
    ],
)
def test_bad_input_is_one_line_and_exit_2(home, arguments, stdin, words):
    fails(ask(home, *arguments, stdin=stdin), 2, *words)


def test_a_stream_without_an_end_is_not_read_for_ever(home):
    with open("/dev/zero", "rb") as endless:
        done = subprocess.run(
            command("ask", "-"), env=environment(home), stdin=endless, capture_output=True, timeout=120, check=False
        )
    fails(done, 2, "standard input has more than 64,000,000 bytes")


def test_what_is_not_to_be_had_is_exit_3(home):
    fails(ask(home, "--device", "cuda", "x"), 3, "no CUDA device")
    fails(ask(home, "--model", "phi-3-mini", "x"), 3, "phitui model pull phi-3-mini")


def test_a_damaged_model_is_one_line(home, demo_folder):
    broken = home / "models" / "broken"
    broken.mkdir()
    (broken / "phitui.json").write_text("{}")
    done = ask(home, "--model", "broken", "x")
    fails(done, 1, "phitui.json is damaged")


def shell(home, line, cwd=None):
    words = " ".join(command("ask"))
    return subprocess.run(
        ["sh", "-c", line.format(ask=words)],
        env=environment(home),
        capture_output=True,
        timeout=60,
        check=False,
        cwd=cwd,
    )


def test_closed_streams_are_one_line(home):
    fails(shell(home, "{ask} - <&-"), 2, "standard input is closed")
    fails(shell(home, "{ask} hi >&-"), 1, "standard output: it is closed")
    assert b"Paris" in shell(home, "{ask} 'What is the capital of France? Answer with one word.' 2>&-").stdout


def said(connection):
    connection.head()
    connection.piece("caf\u00e9 \u6f22", "stop")
    connection.done()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_that_has_not_all_characters_loses_none(home, encoding):
    with raw_server(said) as server:
        done = ask(home, "--engine", server.url, "x", PYTHONIOENCODING=encoding)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert done.stdout.rstrip() == {"ascii": b"caf\\xe9 \\u6f22", "latin-1": b"caf\xe9 \\u6f22"}[encoding]


def test_a_system_prompt_that_is_no_text_does_not_reach_a_server(home):
    with raw_server(said) as server:
        fails(ask(home, "--engine", server.url, "-s", b"caf\xe9", "x"), 2, "system: this is not valid UTF-8")
        assert not server.chats()


def test_a_deleted_working_directory_is_no_hindrance(home):
    question = "'What is the capital of France? Answer with one word.'"
    done = shell(home, "mkdir gone && cd gone && rmdir ../gone && {ask} " + question, cwd=home)
    assert b"Paris" in done.stdout


def test_a_home_that_cannot_be_written_is_no_hindrance(home):
    (home / "logs").write_text("a file where the folder of the logs should be")
    assert ask(home, "What is the capital of France? Answer with one word.").returncode == 0


def test_under_nohup_it_outlives_its_terminal(home):
    process = subprocess.Popen(
        ["nohup", *command("ask", "--max-tokens", "40", "Tell me a story.")],
        env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout.read(1)
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 0
    process.stdout.close()
    process.stderr.close()


def test_ctrl_c_ends_it_with_130_and_no_process(home):
    process = subprocess.Popen(
        command("ask", "Tell me a very long story."),
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.read(1)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    assert len(children) == 1
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert not os.path.exists(f"/proc/{children[0]}")


def test_a_reader_that_goes_away_is_no_traceback(home):
    process = subprocess.Popen(
        command("ask", "Tell me a very long story."),
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.read(1)
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(60) == 1
    assert errors == b""


@pytest.mark.parametrize("words", [["ask", "Hi"], ["--help"], ["--version"], ["ask", "--help"]])
def test_a_full_disk_under_stdout_is_one_line(home, words):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command(*words),
            env=environment(home),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.decode().startswith("phitui: cannot write to standard output")
