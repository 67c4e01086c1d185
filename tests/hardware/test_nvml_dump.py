"""`phitui doctor --nvml`: every call and its answer; and such a dump as a profile of the stand-in driver."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time

import from_dump
import msgspec
import pynvml
import pytest
import standin

from phitui.cli.doctor.nvml import as_text
from phitui.hardware.nvml.dump import dump_nvml
from phitui.hardware.nvml.gpus import Gpus


def figures():
    """What the gauges say at the second reading."""
    gpus = Gpus()
    gpus.read(0.0)
    reading = gpus.read(1.0)
    gpus.close()
    return msgspec.to_builtins(reading)


@pytest.mark.parametrize("name", ["rtx4090", "2x4090", "h100", "h100_mig", "old_driver"])
def test_a_dump_becomes_a_profile_that_says_the_same(install, name):
    build = "old" if name == "old_driver" else "new"
    driver = install(name, build=build)
    driver.change({key: None for key in driver.state if key.endswith(".per_s")})  # counters stand still
    expected = figures()
    dump = json.loads(msgspec.json.encode(dump_nvml()))
    assert dump["hung"] is False
    driver.replace(from_dump.profile(dump))
    assert figures() == expected


def test_each_call_has_its_code_its_value_and_its_time(install):
    driver = install("h100")
    driver.change(
        {"err.nvmlDeviceGetPowerUsage": 4, "0.name": "X\\x1b[2J\\xff", "delay_us.nvmlDeviceGetFanSpeed": 3000}
    )
    dump = dump_nvml()
    calls = {(call.device, call.function, str(call.arguments)): call for call in dump.calls}
    power = calls["GPU 0", "nvmlDeviceGetPowerUsage", "[]"]
    assert (power.code, power.code_name, power.error) == (4, "NO_PERMISSION", "no permission")
    assert calls["GPU 0", "nvmlDeviceGetName", "[]"].value == "X[2J\ufffd"
    assert calls["GPU 0", "nvmlDeviceGetFanSpeed", "[]"].us >= 3000
    clock = calls["GPU 0", "nvmlDeviceGetMaxClockInfo", "[2]"]
    assert (clock.code, clock.code_name, clock.value) == (0, "SUCCESS", 2619)
    metrics = next(call for call in dump.calls if call.function == "nvmlGpmMetricsGet")
    assert metrics.device == "GPU 0"
    assert [(entry["metricId"], entry["value"]) for entry in metrics.value["metrics"]] == [
        (10, 62.5),
        (2, 81.25),
        (5, 34.5),
    ]
    assert all(call.us is not None and call.code is not None for call in dump.calls)
    text = as_text(dump)
    assert "GPU 0: nvmlDeviceGetPowerUsage(): 4 NO_PERMISSION, " in text
    assert all(line.isprintable() for line in text.split("\n"))
    assert (driver.started(), driver.samples()) == (0, 0)


def test_slices_have_their_own_lines(install):
    install("h100_mig")
    devices = {call.device for call in dump_nvml().calls}
    assert devices == {"", "GPU 0", "GPU 0 MIG 0", "GPU 0 MIG 2"}


def test_a_driver_that_hangs(install):
    install("rtx4090").change({"delay_us.nvmlDeviceGetUUID": 3_600_000_000})
    begin = time.monotonic()
    dump = dump_nvml(limit_s=0.5)
    assert time.monotonic() - begin < 30  # the call hangs for an hour
    assert dump.hung is True
    assert (dump.calls[-1].function, dump.calls[-1].us, dump.calls[-1].code) == ("nvmlDeviceGetUUID", None, None)
    text = as_text(dump)
    assert "nvmlDeviceGetUUID(): –, – µs: has not come back" in text
    assert text.endswith("Not finished within 0.5 s: given up.")


def test_no_driver(monkeypatch, tmp_path):
    monkeypatch.setattr(pynvml, "CDLL", lambda name: ctypes.CDLL(str(tmp_path / "missing.so")))
    with standin.pynvml_on(None):
        dump = dump_nvml()
    assert {(call.function, call.code, call.code_name) for call in dump.calls} == {
        ("nvmlInitWithFlags", 12, "LIBRARY_NOT_FOUND")
    }
    assert "no NVIDIA driver library here" in as_text(dump)


def test_a_reader_that_fails_is_a_line(install, monkeypatch):
    def broken(*_):
        raise RuntimeError("a\x1bb")

    install("rtx4090")
    monkeypatch.setattr(Gpus, "read", broken)
    dump = dump_nvml()
    assert (dump.hung, dump.calls[-1].error) == (False, "RuntimeError: ab")


@pytest.mark.parametrize("json_", [False, True])
def test_the_command(install, tmp_path, json_):
    driver = install("rtx4090")
    command = [sys.executable, "-m", "phitui", "doctor", "--nvml", *(["--json"] if json_ else [])]
    environ = {**os.environ, **driver.environment()}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    if json_:
        dump = json.loads(done.stdout)
        assert from_dump.profile(dump)["0.bus_width"] == "384"
    else:
        assert "GPU 0: nvmlDeviceGetMemoryBusWidth(): 0 SUCCESS" in done.stdout
    driver.change({"err.nvmlInitWithFlags": 9})
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (3, "")
    assert "DRIVER_NOT_LOADED" in done.stdout
