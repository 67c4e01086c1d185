"""`phitui ask --engine` and `phitui doctor`: the real command, llama.cpp and worse servers."""

import json
import subprocess

import pytest
from llama_server import llama_server
from raw_server import raw_server
from terminal import command, environment


def phitui(home, *arguments, **extra):
    return subprocess.run(
        command(*arguments), env=environment(home, **extra), capture_output=True, timeout=60, check=False
    )


def ask(home, url, *arguments, **extra):
    return phitui(home, "ask", "--engine", url, *arguments, **extra)


def fails(done, code, *words):
    assert done.returncode == code, done
    lines = done.stderr.decode().strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("phitui: "), lines
    for word in words:
        assert word in lines[0]


def configure(home, text):
    file = home / "config" / "phitui" / "config.toml"
    file.write_text(file.read_text() + text)


def good(connection):
    connection.head()
    connection.piece("all \x1b[31mwell", "stop")
    connection.usage(5, 3)
    connection.done()


def half(connection):
    connection.head()
    connection.piece("half an answer")
    connection.reset()


def test_json_is_the_same_object(home, llama):
    done = ask(home, llama.url, "--json", "--max-tokens", "12", "Hi")
    assert (done.returncode, done.stderr) == (0, b"")
    report = json.loads(done.stdout)
    here = json.loads(phitui(home, "ask", "--json", "--model", "tiny-phi3", "--max-tokens", "12", "Hi").stdout)
    assert {key: type(value) for key, value in report.items()} == {key: type(value) for key, value in here.items()}
    assert report["usage"].keys() == here["usage"].keys() and report["timings"].keys() == here["timings"].keys()
    assert report["usage"]["prompt_tokens"] == here["usage"]["prompt_tokens"]
    times, usage = report["timings"], report["usage"]
    assert times["tokens_per_s"] == pytest.approx(usage["completion_tokens"] / times["total_ms"] * 1000, rel=0.01)


def test_by_name_and_with_a_key(home, tmp_path, llama):
    key = tmp_path / "key"
    key.write_text("sk-test")
    key.chmod(0o600)
    path = tmp_path / "tiny.gguf"
    path.symlink_to(llama.path)
    with llama_server(path, key="sk-test") as server:
        configure(
            home, f'[engines.box]\nurl = "{server.url}"\napi_key_file = "{key}"\n[engines.bare]\nurl = "{server.url}"'
        )
        assert ask(home, "box", "--max-tokens", "12", "Hi").returncode == 0
        fails(ask(home, "bare", "Hi"), 1, "401")
        fails(ask(home, "boxx", "Hi"), 2, "did you mean box?")


def test_stdout_is_the_reply_alone_without_escapes(home):
    with raw_server(good) as server:
        done = ask(home, server.url, "Hi")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"all well\n", b"")


def test_model_is_the_servers(home):
    with raw_server(good) as server:
        assert ask(home, server.url, "--model", "my/model", "Hi").returncode == 0
        assert server.chats()[0].json()["model"] == "my/model"


def test_the_configured_engine_answers_without_the_option(home):
    with raw_server(good) as server:
        configure(home, f'\n[engines.box]\nurl = "{server.url}"\n')
        file = home / "config" / "phitui" / "config.toml"
        file.write_text(file.read_text().replace("[engine]\n", '[engine]\nname = "box"\n'))
        assert phitui(home, "ask", "Hi").stdout == b"all well\n"
        assert phitui(home, "ask", "--engine", "ct2", "--model", "tiny-phi3", "--max-tokens", "4", "Hi").stdout


def test_what_came_is_kept_and_the_code_is_1(home):
    with raw_server(half) as server:
        done = ask(home, server.url, "Hi")
        assert done.stdout == b"half an answer\n"
        fails(done, 1, "connection was lost")
        done = ask(home, server.url, "--json", "Hi")
        fails(done, 1, "connection was lost")
    report = json.loads(done.stdout)
    assert (report["text"], report["finish_reason"]) == ("half an answer", "error")
    assert report["usage"] == {"prompt_tokens": None, "completion_tokens": None}


def test_a_server_that_is_not_there_is_3(home):
    with raw_server(good) as server:
        url = server.url
    done = ask(home, url, "Hi")
    fails(done, 3, "cannot be reached")
    assert done.stdout == b""
    fails(ask(home, "http://no-such-host.invalid", "Hi"), 3, "is not known")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://me:sk-secret@127.0.0.1", ["does not carry a key"]),
        ("http://127.0.0.1/?key=sk-secret", ["no ? or # part"]),
        ("ftp://127.0.0.1", ["not an address"]),
        ("http://127.0.0.1:99999", ["not an address"]),
        ("http://", ["not an address"]),
        ("nobody", ['no engine is called "nobody"']),
    ],
)
def test_wrong_addresses_are_2_and_do_not_repeat_a_key(home, url, words):
    done = ask(home, url, "Hi")
    fails(done, 2, *words)
    assert b"sk-secret" not in done.stderr


def test_lies_and_retries_are_told_on_stderr(home):
    calls = []

    def chat(connection):
        calls.append(connection)
        if len(calls) == 1:
            connection.reply(503, b'{"error": "busy"}')
            return
        connection.head()
        connection.piece("ok", "stop")
        connection.usage(5, 10**9)
        connection.done()

    with raw_server(chat) as server:
        done = ask(home, server.url, "--json", "Hi")
    assert done.returncode == 0
    assert json.loads(done.stdout)["usage"] == {"prompt_tokens": 5, "completion_tokens": None}
    first, second = done.stderr.decode().splitlines()
    assert "answers 503: busy" in first and "Again in" in first
    assert "not used" in second


def test_doctor_lists_them_and_sends_no_prompt(home):
    with raw_server(good) as gone:
        away = gone.url
    with raw_server(good) as server:
        configure(home, f'\n[engines.here]\nurl = "{server.url}"\n[engines.away]\nurl = "{away}"\n')
        checks = {check["name"]: check for check in json.loads(phitui(home, "doctor", "--json").stdout)["checks"]}
        assert checks["engine here"]["ok"] is True and "m: OpenAI-style" in checks["engine here"]["text"]
        assert checks["engine away"]["ok"] is None and "cannot be reached" in checks["engine away"]["text"]
        assert server.chats() == []
        done = phitui(home, "--engine", "away", "doctor", "--json")
        checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
        assert checks["engine away"]["ok"] is False and done.returncode == 3
