"""`phitui bench` as scripts use it: the real command on the tiny model."""

import json
import signal
import subprocess

import psutil
import pytest
from terminal import command, environment

SHORT = ("--model", "tiny-phi3", "--device", "cpu", "--compute-type", "float32")
SHAPE = ("--batch-sizes", "1,3", "--prompt-tokens", "20", "--max-tokens", "12", "--repeat", "2")


def bench(home, *arguments):
    return subprocess.run(
        command("bench", *arguments), env=environment(home), capture_output=True, text=True, timeout=120, check=False
    )


def test_one_object_that_explains_itself_and_is_compared(home, tmp_path):
    saved = tmp_path / "old.json"
    (home / "config" / "phitui" / "config.toml").write_text(
        "[engine]\nthreads = 1\nworkers = 2\n"
    )  # as tune --apply does
    done = bench(home, *SHORT, *SHAPE, "--json", "-o", str(saved))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    result = json.loads(done.stdout)
    assert json.loads(saved.read_text()) == result
    _check(result)

    table = bench(home, *SHORT, "--compare", str(saved))
    assert table.returncode == 0, table.stderr
    assert "workload: 20 prompt tokens, 12 new tokens, 2 runs each" in table.stdout  # as the old one
    for words in ("| rows |", "output/s", "MBU", "TTFT", "ITL", "95 % CI", "J/token: a CPU's energy is not read"):
        assert words in table.stdout
    assert [line for line in table.stdout.splitlines() if line.startswith("|") and len(line) > 80] == []

    both = bench(home, "--compare", str(saved), str(saved), "--json")
    assert both.returncode == 0, both.stderr
    found = json.loads(both.stdout)
    assert {one["ratio"] for one in found["differences"]} == {1.0}
    assert {one["verdict"] for one in found["differences"]} == {"noise"}


def _check(result):
    assert result["format"] == "phitui-bench"
    assert result["model"]["name"] == "tiny-phi3"
    assert result["config"] == {"workers": 2, "threads": 1, "compute_type": "float32"}
    assert result["device"]["kind"] == "cpu"
    assert {"phitui", "ctranslate2", "python"} <= set(result["versions"])
    assert result["conditions"]["load1_begin"] is not None
    assert [one["batch"] for one in result["results"]] == [1, 3]
    for one in result["results"]:
        batch = one["batch"]
        assert (one["outcome"], len(one["runs"])) == ("ok", 2)
        assert (one["ttft_ms"]["n"], one["tpot_ms"]["n"], one["itl_ms"]["n"]) == (2 * batch, 2 * batch, 22 * batch)
        for name in ("ttft_ms", "tpot_ms", "itl_ms"):
            spread = one[name]
            assert 0 < spread["p50"] <= spread["p90"] <= spread["p95"] <= spread["p99"]
        assert one["itl_ms"]["mean"] == pytest.approx(one["tpot_ms"]["mean"], rel=1e-4)  # all rows have as many gaps
        for run in one["runs"]:
            # Prefill and eleven steps are the whole of it.
            seconds = batch * 12 / run["output_tokens_per_s"]
            assert seconds >= (run["ttft_ms"] + 11 * run["tpot_ms"]) / 1000 * 0.999
            assert batch * 11 / run["decode_tokens_per_s"] <= seconds * 1.001
        assert one["peak_memory_bytes"] > 10_000_000
        assert one["joules_per_token"]["gross"] is None
        assert one["joules_per_token"]["reason"]
        assert one["bandwidth"]["useful_gb_s"] > 0
        assert one["bandwidth"]["mbu_useful"] is None  # the tiny model's weights are in the cache, or no peak
        assert one["bandwidth"]["reason"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prompt-tokens", "4000", "--max-tokens", "200"], ["4000", "200", "the context window has 4096"]),
        (["--batch-sizes", "1,x"], ["--batch-sizes", "1,x"]),
        (["--batch-sizes", "0"], ["--batch-sizes", "from 1"]),
        (["--batch-sizes", ""], ["--batch-sizes"]),
        (["--max-tokens", "0"], ["--max-tokens", "from 1"]),
        (["--repeat", "-1"], ["--repeat", "from 1"]),
        (["--batch-sizes", "65536", "--max-tokens", "4000"], ["in one run"]),
        (["--compare", "/nowhere.json"], ["/nowhere.json", "No such file"]),
        (["--compare", "/etc/hostname"], ["/etc/hostname", "not a result of phitui bench"]),
        (["--compare", "a", "b", "c"], ["one or two files"]),
        (["--output", "/nowhere/x.json"], ["--output", "/nowhere"]),
        (["--output", "/dev/null"], ["--output", "not a file"]),
    ],
)
def test_bad_input_is_one_line(home, arguments, words):
    done = bench(home, *SHORT, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("phitui: ")
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in last


def start(home, *arguments):
    words = command("bench", "--model", "smollm2-135m", "--device", "cpu", *arguments)
    return subprocess.Popen(words, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def interrupt(process, line):
    while line not in process.stderr.readline():
        pass
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    return output


def test_ctrl_c_prints_what_is_done_and_leaves_no_process(home, tmp_path):
    saved = tmp_path / "part.json"
    process = start(home, "--batch-sizes", "1", "--max-tokens", "20", "--repeat", "1000", "--json", "-o", str(saved))
    result = json.loads(interrupt(process, b"run 3 of 1000"))
    assert result["interrupted"] is True
    assert result["results"][0]["outcome"] == "interrupted"
    assert len(result["results"][0]["runs"]) == 2
    assert json.loads(saved.read_text()) == result


def test_ctrl_c_before_there_is_a_figure_prints_nothing(home):
    assert interrupt(start(home, "--max-tokens", "2000", "--batch-sizes", "1"), b"run 1 of") == b""
