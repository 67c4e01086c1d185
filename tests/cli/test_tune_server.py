"""`phitui tune --engine`: the real command on llama.cpp's server, and on one without metrics."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import tomlkit
from answering_server import answering
from llama_server import llama_server
from terminal import Console, command, environment

ROOT = os.pathsep.join([str(Path(__file__).resolve().parent.parent.parent), os.environ.get("PYTHONPATH", "")])
SHORT = ("--prompt-tokens", "24", "--max-tokens", "16", "--start", "4")
# Long enough for the server's own figures to be read in the middle of it.
LONG = ("--prompt-tokens", "24", "--max-tokens", "300", "--start", "4")


def tune(home, *arguments):
    path = {"PYTHONPATH": ROOT}
    return subprocess.run(
        command("tune", *arguments), env={**environment(home), **path}, capture_output=True, timeout=120, text=True
    )


def configure(home, url):
    file = home / "config" / "phitui" / "config.toml"
    file.write_text(f'# mine\n[engines.box]\nurl = "{url}"\n')
    return file


def test_llama_cpp_with_two_slots(home, llama, tmp_path):
    file = configure(home, llama.url)
    done = tune(home, "--engine", "box", "--json", "--apply", "--slo-itl-ms", "10000", *LONG)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["c_max"] == 2 and found["bound"] == "waiting" and 1 <= found["c_best"] <= 2 and found["c_slo"] == 2
    assert found["engine"]["kind"] == "llama.cpp" and found["tokens_per_s_n"] >= 2
    assert [probe["concurrency"] for probe in found["probes"]][:2] == [1, 4]
    assert found["probes"][1]["outcome"] == "waiting" and found["probes"][1]["waiting"] > 0
    assert "no two prompts begin alike" in found["notes"][0]
    settings = tomlkit.parse(file.read_text())
    assert settings["engines"]["box"] == {"url": llama.url, "concurrency": found["c_best"]}
    assert file.read_text().startswith("# mine")

    again = tune(home, "--engine", "box", *LONG)
    assert again.returncode == 0 and "it still holds" in again.stderr
    assert "C_max   2 at once" in again.stdout and "why     2 requests at once go well" in again.stdout
    path = tmp_path / "tiny.gguf"
    path.symlink_to(llama.path)
    with llama_server(path, slots=3) as other:  # the same place in the file, another server
        kept = home / "engine-tunings.json"
        kept.write_text(kept.read_text().replace(llama.url.removeprefix("http://"), other.url.removeprefix("http://")))
        configure(home, other.url)
        changed = tune(home, "--engine", "box", *LONG)
    assert "stale: the server took 2 prompts at once, now 3" in changed.stderr
    assert "C_max   3 at once" in changed.stdout


def test_a_server_without_metrics_is_measured_by_its_throughput(home):
    with answering(step_s=0.005) as (server, how):
        done = tune(home, "--engine", server.url, "--json", *SHORT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["c_max"] >= 1 and any("waiting requests are not known" in note for note in found["notes"])
    prompts = list(how.seen)
    assert len({" ".join(prompt.split()[:4]) for prompt in prompts}) == len(prompts)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda c, *_: c.reply(401, b'{"error": "no key"}') or True, "answers 401: no key"),
        (lambda c, *_: c.reset() or True, "connection"),
    ],
    ids=["401", "killed"],
)
def test_a_server_that_fails_is_one_line(home, fault, words):
    with answering(fault) as (server, _):
        done = tune(home, "--engine", server.url, *SHORT)
    lines = [line for line in done.stderr.splitlines() if line.startswith("phitui: ")]
    assert done.returncode == 1 and len(lines) == 1 and words in lines[0], done.stderr


def test_what_does_not_fit_a_server_is_refused(home, llama):
    configure(home, llama.url)
    for words, said in (
        (("--limit", "6GB"), "share of its KV cache"),
        (("--prompt-tokens", "5000"), "context window"),
    ):
        done = tune(home, "--engine", "box", *words)
        assert done.returncode == 2 and said in done.stderr


@pytest.mark.terminal
def test_in_a_terminal_a_bar_says_how_far_it_is(home):
    with answering() as (server, _):
        words = command("tune", "--engine", server.url, *SHORT)
        with Console(words, environment(home)) as console:
            console.wait_for("probe 2:", 60)
            drawn = re.search(rb"(\d+) of at most \d+; probe (\d+): (\d+) at once", console.output)
            assert drawn and drawn.groups() == (b"0", b"1", b"1")
            console.send("\x03")
            assert console.wait_ended(20) in (0, 130)  # it may have been done by then


def test_an_address_alone_has_no_section_to_apply_to(home):
    with answering() as (server, how):
        file = home / "config" / "phitui" / "config.toml"
        before = file.read_text()
        done = tune(home, "--engine", server.url, "--apply", *SHORT)
    assert done.returncode == 2 and f'Write [engines.NAME] with url = "{server.url}"' in done.stderr
    assert file.read_text() == before and not how.bodies
