"""benchmarks/gpu.py, as far as a CPU goes: all parts on a tiny model, parts that fail or hang, the way to cuBLAS."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import from_dump
import gpu
import gpu_cublas
import psutil
import pytest
import standin
from gpu_common import Settings
from random_model import RandomCheckpoint, make_model

from phitui.models.manifest import verify

BENCHMARK = Path(gpu.__file__)


def test_every_part_that_a_cpu_can_run(tmp_path):
    words = [sys.executable, str(BENCHMARK), "--device", "cpu", "--small"]
    out = tmp_path / "result.json"
    done = subprocess.run(
        [*words, "--work", str(tmp_path / "work"), "--out", str(out)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    parts = result["parts"]
    outcomes = {name: part["outcome"] for name, part in parts.items()}
    assert outcomes.pop("peer") in ("done", "skipped")
    assert set(outcomes) == set(gpu.PARTS) - {"peer"}
    assert set(outcomes.values()) == {"done"}, parts
    _figures(parts)
    assert set(result["workers_2_over_1"]) == {"2", "8", "26", "104"}
    assert result["versions"]["ctranslate2"]
    assert result["nvml_dump"]  # the file, or why there is none


def _figures(parts):
    assert parts["bench"]["result"]["format"] == "phitui-bench"
    measured = {one["batch"] for one in parts["bench"]["result"]["results"] if one["outcome"] == "ok"}
    assert {1, 8, 26, parts["tune"]["b_best"]} <= measured
    assert parts["tune"]["result"]["b_max"] == parts["tune"]["b_max"]
    batch = parts["batch"]
    assert batch["rows"]["rows"] == 40
    for part, names in (
        ("rows", ("phitui_over_own_order", "phitui_over_file_order")),
        ("equal", ("phitui_over_bare",)),
    ):
        assert all(batch[part][name]["median"] > 0 for name in names)
    assert batch["rows"]["waves_and_those_stopped_to_pool"][0][0] >= 10
    for phase in ("prefill", "decode"):
        assert parts["oom"][phase]["kind"] == "oom"
        assert parts["oom"][phase]["after"]["kind"] == "ok"
        assert parts["oom"][phase]["same_process"]
    for shape in parts["memory"]["shapes"]:
        assert 0 < shape["predicted_bytes"] < 2 * shape["measured_bytes"]
    assert parts["bandwidth"]["batches"]["26"]["modelled_useful_gb_s"] > 0
    assert parts["bandwidth"]["batches"]["26"]["reason"]
    assert len(parts["parking"]["rounds"]) == 3
    for regime in parts["longrope"]["regimes"].values():
        assert regime["float32"] == {"finite": True, "largest_difference": 0.0}


def settings(tmp_path):
    (tmp_path / "parts").mkdir()
    return Settings("cpu", True, str(tmp_path), "")


def test_a_part_that_fails_has_its_reason(tmp_path):
    """The model is said to be there, and is not."""
    made = {"make": {"outcome": "done"}}
    part = gpu._run("parking", settings(tmp_path), 60, dict(os.environ), made)
    assert part["outcome"] == "failed"
    assert "exit status 1" in part["reason"]
    assert "is not a phitui model" in part["reason"]


def test_a_part_without_model_or_time_is_left_out(tmp_path):
    told = settings(tmp_path)
    without = gpu._run("steps", told, 60, dict(os.environ), {"make": {"outcome": "failed"}})
    assert (without["outcome"], without["reason"]) == ("left out", "there is no model")
    assert gpu._run("make", told, 1, dict(os.environ), {})["outcome"] == "left out"


def gone(pid, limit_s):
    """Whether a process that was killed ends: the kernel takes its time with one that is busy."""
    end = time.monotonic() + limit_s
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
    return True


def test_a_part_that_hangs_is_ended_with_all_that_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "_GRACE_S", 0.5)
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    child = int(process.stdout.readline())
    begun = time.monotonic()
    assert gpu._wait(process, 0.2, tmp_path / "log") == ("timed out", "more than 0 s")
    assert time.monotonic() - begun < 30  # it sleeps for 60
    assert process.returncode < 0
    assert gone(child, 30)


def test_what_a_part_had_told_is_kept_when_it_is_ended(tmp_path):
    report = gpu.Report(str(tmp_path / "told.jsonl"))
    report.tell(first=1)
    report.tell(first=2, second=3)
    with (tmp_path / "told.jsonl").open("a") as file:
        file.write('{"third": ')
    assert report.read() == {"first": 2, "second": 3}


def test_without_a_card_it_says_so(tmp_path):
    words = [sys.executable, str(BENCHMARK), "--work", str(tmp_path)]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    if gpu.probe_driver().gpus:
        pytest.skip("there is one")
    done = subprocess.run(words, env=hidden, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "no NVIDIA GPU" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(standin.compiler() is None, reason=standin.NO_COMPILER)
def test_the_drivers_dump_becomes_a_profile_of_the_stand_in(tmp_path):
    driver = standin.Driver(standin.build(tmp_path), tmp_path / "state", standin.profile("h100"))
    environ = {**gpu._environment(tmp_path / "work"), **driver.environment()}
    found = gpu._dump(tmp_path / "gpu-nvml.json", environ)
    assert found["file"] == "gpu-nvml.json"
    assert found["calls"] > 20
    made = from_dump.profile(json.loads((tmp_path / "gpu-nvml.json").read_text()))
    for key in ("0.name", "driver_version", "0.mem_total", "0.bus_width"):
        assert str(made[key]) == str(driver.state[key])


@pytest.mark.skipif(standin.compiler() is None, reason=standin.NO_COMPILER)
@pytest.mark.parametrize("version", ["12", "13"])
def test_a_cublas_is_found_and_linked(tmp_path, version):
    """Real libraries with no function in them, as CTranslate2's name look-up sees them."""
    home = tmp_path / "cuda" / "lib64"
    home.mkdir(parents=True)
    for name in ("libcublas.so", "libcublasLt.so"):
        subprocess.run(["gcc", "-shared", "-x", "c", "/dev/null", "-o", f"{home / name}.{version}"], check=True)
    environ = {**os.environ, "PYTHONPATH": str(BENCHMARK.parent.parent)}
    if gpu_cublas._loads(environ):
        pytest.skip("this machine has a cuBLAS 12")
    found = {**environ, "LD_LIBRARY_PATH": str(home)}
    changed, how = gpu_cublas.cublas(tmp_path / "links", found)
    assert "found as it is" in how if version == "12" else "cuBLAS 13" in how
    assert gpu_cublas._loads({**found, **changed})
    if version == "13":
        assert (tmp_path / "links" / "libcublas.so.12").resolve() == home / "libcublas.so.13"
        assert changed["LD_LIBRARY_PATH"].startswith(f"{tmp_path / 'links'}:{home}")


def test_random_weights_make_a_whole_model(tmp_path):
    from gpu_common import SMALL

    manifest = make_model(tmp_path / "model", SMALL)
    assert verify(tmp_path / "model") == manifest
    assert manifest.context_window == 4096
    first = (tmp_path / "model" / "model.bin").read_bytes()
    make_model(tmp_path / "again", SMALL)
    assert (tmp_path / "again" / "model.bin").read_bytes() == first
    rows = RandomCheckpoint(SMALL).rows("model.layers.0.mlp.down_proj.weight", 3, 9)
    assert rows.shape == (6, SMALL.ff_dim)
    assert rows.std() == pytest.approx(SMALL.ff_dim**-0.5, rel=0.2)
