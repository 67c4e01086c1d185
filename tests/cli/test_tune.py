"""`phitui tune` as scripts use it: the real command on the tiny model, with a small limit."""

import csv
import json
import re
import signal
import subprocess
import termios
from xml.etree import ElementTree

import psutil
import pytest
from terminal import Console, command, environment

from phitui.config.layers import read_toml

SHORT = ("--model", "tiny-phi3", "--device", "cpu", "--compute-type", "int8")
SHAPE = ("--prompt-tokens", "200", "--max-tokens", "24", "--start", "8", "--limit", "200MB")


def tune(home, *arguments, **extra):
    return subprocess.run(
        command("tune", *arguments),
        env=environment(home, **extra),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_one_object_that_is_applied_kept_and_found_again(home):
    done = tune(home, *SHORT, *SHAPE, "--json", "--slo-itl-ms", "60000", "--apply")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    report = json.loads(done.stdout)
    _check(report)
    assert "load average" in done.stderr.split("probe 1:")[0]
    assert set(report["preflight"]) == {"load1", "cores", "throttle_reasons", "others", "missing"}
    assert report["preflight"]["cores"] >= 1
    assert report["b_slo"] == report["b_max"]  # a minute is kept by every batch

    settings = read_toml(home / "config" / "phitui" / "config.toml")["engine"]
    assert settings == {**report["config"], "batch": report["b_best"], "kv_tokens": report["kv_token_budget"]}

    kept = home / "tunings.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    content = json.loads(kept.read_text())
    assert content["tunings"][0]["batch"] == report["b_best"]
    content["tunings"][0]["conditions"]["engine"] = "4.0.0"
    kept.write_text(json.dumps(content))

    again = tune(home, *SHORT, *SHAPE, "--export", str(home / "found"))
    assert again.returncode == 0, again.stderr
    assert "found.svg and " in again.stderr
    picture = ElementTree.fromstring((home / "found.svg").read_text())
    assert "Use\xa0batch" in "".join(picture.itertext())
    with (home / "found.csv").open(newline="") as file:
        probes = list(csv.DictReader(file))
    assert len(probes) >= 2 and {row["result"] for row in probes} <= {"ok", "over"}
    assert json.loads(kept.read_text())["tunings"][0]["probes"][0]["rows"] == int(probes[0]["rows"])
    refused = tune(home, *SHORT, *SHAPE, "--export", str(home / "found"))
    assert (refused.returncode, "probe 1" in refused.stderr) == (2, False)  # before the minutes that it takes
    assert "found.svg is there already" in refused.stderr
    assert "stale: CTranslate2 changed" in again.stderr
    assert "\x1b" not in again.stdout  # bold heads are for a terminal
    for word in ("predicted GB", "measured GB", "B_max", "B*", "KV-token budget", "why"):
        assert word in again.stdout


def _check(report):
    assert set(report) >= {"b_max", "b_best", "b_slo", "kv_token_budget", "config", "why", "limit_bytes", "probes"}
    assert 1 <= report["b_best"] <= report["b_max"]
    assert report["kv_token_budget"] == report["b_max"] * 224
    assert report["limit_bytes"] == 200_000_000
    assert set(report["config"]) == {"workers", "threads", "compute_type"}
    assert report["config"]["compute_type"] == "int8_float32"  # --compute-type was given: it is not varied
    for probe in report["probes"]:
        assert set(probe) >= {
            "batch", "prompt_tokens", "new_tokens", "predicted_bytes", "measured_bytes", "tokens_per_s", "outcome",
        }  # fmt: skip
        assert probe["predicted_bytes"] <= report["limit_bytes"]
        assert probe["outcome"] in ("ok", "over")
        assert (probe["outcome"] == "ok") is (probe["measured_bytes"] <= report["limit_bytes"])


def test_a_damaged_file_of_tunings_is_a_line_and_no_more(home):
    (home / "tunings.json").write_text("{not json")
    process = start(home)
    line = process.stderr.readline()
    while b"probe 1" not in line and b"tunings.json" not in line:
        line = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert b"tunings.json is damaged and ignored" in line


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--prompt-tokens", "4000", "--max-tokens", "200"], 2, ["4000", "200", "the context window has 4096"]),
        (["--context", "5000"], 2, ["the context window has 4096"]),
        (["--context", "1"], 2, ["--context 1 leaves no prompt"]),
        (["--context", "64", "--max-tokens", "64"], 2, ["leaves no prompt"]),
        (["--context", "64", "--prompt-tokens", "64"], 2, ["not allowed with"]),
        (["--max-tokens", "0"], 2, ["--max-tokens", "above 0"]),
        (["--start", "-3"], 2, ["--start", "above 0"]),
        (["--slo-itl-ms", "nan"], 2, ["--slo-itl-ms"]),
        (["--export", "no-such-folder/x"], 2, ["no-such-folder", "is not a folder"]),
        (["--limit", "much"], 2, ["--limit", "share", "size"]),
        (
            ["--limit", "20MB", "--prompt-tokens", "64"],
            1,
            ["nothing fits", "weights need", "may be used", "is free", "is used by"],
        ),
    ],
    ids=[
        "window",
        "context",
        "tiny",
        "none-left",
        "both",
        "zero",
        "negative",
        "nan",
        "export",
        "limit",
        "nothing-fits",
    ],
)
def test_bad_input_is_one_line(home, arguments, code, words):
    done = tune(home, *SHORT, *arguments)
    assert done.returncode == code
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("phitui: ")
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in last


def test_a_closed_stderr_leaves_stdout_to_the_object(home):
    words = " ".join(command("tune", *SHORT, *SHAPE, "--json"))
    done = subprocess.run(
        ["sh", "-c", f"{words} 2>&-"], env=environment(home), capture_output=True, timeout=180, check=False
    )
    assert json.loads(done.stdout)["b_max"] >= 1


def start(home):
    return subprocess.Popen(
        command("tune", *SHORT, *SHAPE), env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_ctrl_c_ends_it_with_130_and_no_process(home):
    process = start(home)
    while b"probe 1" not in process.stderr.readline():
        pass
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (output, b"Traceback" in errors) == (b"", False)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert not (home / "tunings.json").exists()


@pytest.mark.terminal
@pytest.mark.parametrize("moment", ["loading|Loading|probe 1", "probe 1:", "probe 2:"])
def test_ctrl_c_in_a_terminal_leaves_it_as_it_was(home, moment):
    with Console(command("tune", *SHORT, *SHAPE), environment(home)) as console:
        console.wait_for(moment, 60)
        children = console.family()
        console.send("\x03")
        assert console.wait_ended() == 130
        assert termios.tcgetattr(console._slave) == console.modes_before
        assert "Traceback" not in console.text()
        assert console.output.rsplit(b"\n", 1)[-1].split(b"\x1b[K")[-1] == b""  # no half-drawn line is left
        _, alive = psutil.wait_procs(children, timeout=60)
        assert alive == []


@pytest.mark.terminal
def test_a_bar_in_a_terminal_says_how_far_it_is(home):
    with Console(command("tune", *SHORT, *SHAPE), environment(home)) as console:
        console.wait_for("probe 3:", 60)
        drawn = re.findall(rb"(\d+) of at most (\d+); probe (\d+): \d+ rows?, [\d.]+ of 0.20 GB", console.output)
        assert [(int(done), int(number)) for done, _, number in drawn][:2] == [(0, 1), (1, 2)]
        assert all(int(number) <= int(most) for _, most, number in drawn)
        console.send("\x03")
        assert console.wait_ended() == 130
