"""Snapshots come on time and end on demand, whatever the driver or the receiver does."""

from __future__ import annotations

import itertools
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import msgspec
import psutil
import pynvml
import pytest
import standin
from figure_checks import check_snapshot

from phitui.hardware.sampler import Sampler
from phitui.hardware.snapshot import Bandwidth, Snapshot

HOUR_US = 3_600_000_000


@contextmanager
def sampling(interval_s=0.1, **options):
    """A running sampler and the queue of its snapshots."""
    snapshots: queue.Queue[Snapshot] = queue.Queue()
    sampler = Sampler(interval_s, snapshots.put, **options)
    sampler.start()
    try:
        yield sampler, snapshots
    finally:
        sampler.stop()


def until(snapshots, wanted, limit_s=60.0):
    """The first snapshot that `wanted` accepts; every one on the way holds what holds for all."""
    end = time.monotonic() + limit_s
    while True:
        snapshot = snapshots.get(timeout=max(0.0, end - time.monotonic()))
        check_snapshot(snapshot)
        if wanted(snapshot):
            return snapshot


def silence_s(snapshot):
    """For how long the driver is said not to have answered."""
    return float(re.search(r"for ([\d.]+) s", snapshot.unavailable["gpu"])[1])


@pytest.fixture
def no_driver(monkeypatch, tmp_path):
    """pynvml looks for its library where there is none."""
    import ctypes

    monkeypatch.setattr(pynvml, "CDLL", lambda name: ctypes.CDLL(str(tmp_path / "libnvidia-ml.so.1")))
    with standin.pynvml_on(None):
        yield


def test_a_card_and_its_changes(install):
    driver = install("2x4090")
    with sampling() as (_, snapshots):
        first = snapshots.get(timeout=60)
        check_snapshot(first)
        assert [(d.kind, d.util_pct) for d in first.devices] == [("gpu", 97), ("gpu", 0)]
        assert first.unavailable == {}
        assert abs(first.time - time.time()) < 5
        driver.change({"1.util_gpu": 33})
        until(snapshots, lambda s: s.devices[1].util_pct == 33)
    assert driver.started() == 0


def test_the_machine_beside_the_card(install):
    install("rtx4090")
    with sampling() as (_, snapshots):
        host = until(snapshots, lambda s: s.host.cpu_pct is not None).host
    assert host.ram_total_bytes <= psutil.virtual_memory().total
    assert host.ram_used_bytes + host.ram_available_bytes == host.ram_total_bytes
    assert 1 <= host.cpus <= len(os.sched_getaffinity(0))


def test_the_first_snapshot_knows_the_cpu(no_driver):
    with sampling() as (_, snapshots):
        assert snapshots.get(timeout=60).host.cpu_pct is not None


def test_the_first_snapshot_knows_what_is_a_difference(install):
    """NVML's counters need two readings 0.1 s apart: the first snapshot waits for them."""
    install("h100").change({"gpm_apart_us": 100_000})
    with sampling(interval_s=1.0) as (_, snapshots):
        first = snapshots.get(timeout=60)
    check_snapshot(first)
    (device,) = first.devices
    assert set(device.unavailable) == {"fan_pct"}
    assert device.bandwidth == Bandwidth(pytest.approx(0.625 * 3352.32), pytest.approx(3352.32), "measured")
    assert device.link.rx_gb_s == pytest.approx(0.058, rel=0.2)
    assert (first.driver, first.cuda) == ("550.90.07", "12.4")


def test_without_a_card_the_cpu_is_the_device(no_driver):
    with sampling() as (_, snapshots):
        snapshot = until(snapshots, lambda s: "not answered" not in s.unavailable["gpu"])
    (device,) = snapshot.devices
    assert (device.kind, device.index) == ("cpu", 0)
    assert device.util_pct == snapshot.host.cpu_pct
    assert device.vram.total_bytes == snapshot.host.ram_total_bytes
    assert snapshot.unavailable == {"gpu": "no NVIDIA driver library here (libnvidia-ml.so.1)"}
    assert os.getpid() in {process.pid for process in device.processes}


# ---- a driver that does not answer ----


def test_a_start_that_hangs_delays_nothing(install):
    driver = install("rtx4090")
    driver.change({"delay_us.nvmlInitWithFlags": HOUR_US})
    begin = time.monotonic()
    with sampling(interval_s=0.2) as (_, snapshots):
        first = snapshots.get(timeout=60)
        assert time.monotonic() - begin < 30  # the call hangs for an hour
        assert [device.kind for device in first.devices] == ["cpu"]
        assert first.unavailable["gpu"].startswith("the driver has not answered for ")
        later = until(snapshots, lambda s: silence_s(s) >= silence_s(first) + 1)
        check_snapshot(later)
        driver.change({"delay_us.nvmlInitWithFlags": None})
        until(snapshots, lambda s: s.devices[0].util_pct == 97)


def test_a_card_that_falls_silent_is_not_shown_with_old_figures(install):
    driver = install("rtx4090")
    with sampling(interval_s=0.2) as (_, snapshots):
        until(snapshots, lambda s: s.devices[0].util_pct == 97)
        driver.change({"delay_us.nvmlDeviceGetPowerUsage": HOUR_US})
        begin = time.monotonic()
        silent = until(snapshots, lambda s: s.devices[0].util_pct is None)
        assert 1.5 < time.monotonic() - begin < 30  # the call hangs for an hour
        assert silent.devices[0].name == "NVIDIA GeForce RTX 4090"
        assert silent.driver == "550.54.14"
        assert "has not answered for" in silent.devices[0].unavailable["util_pct"]
        assert silent.host.cpu_pct is not None
        driver.change({"delay_us.nvmlDeviceGetPowerUsage": None})
        until(snapshots, lambda s: s.devices[0].util_pct == 97)


def test_readings_that_take_their_time_are_shown_at_any_interval(install, monkeypatch):
    """One reading is older at the next than a driver may be silent, and has nothing to do with it."""
    driver = install("rtx4090")
    monkeypatch.setattr("phitui.hardware.sampler._SILENT_S", 2.0)
    with sampling(interval_s=2.4) as (_, snapshots):
        until(snapshots, lambda s: s.devices[0].util_pct == 97)
        driver.change({"delay_us.nvmlDeviceGetUtilizationRates": 1_000_000})  # longer than a snapshot waits
        for _ in range(2):
            assert snapshots.get(timeout=60).devices[0].util_pct == 97
        driver.change({"delay_us.nvmlDeviceGetUtilizationRates": None})


def test_the_first_snapshot_can_wait_for_the_driver(install):
    install("rtx4090").change({"delay_us.nvmlInitWithFlags": 1_200_000})
    with sampling(first_wait_s=20.0) as (_, snapshots):
        assert snapshots.get(timeout=60).devices[0].util_pct == 97


@pytest.mark.parametrize(
    "function",
    [
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetGraphicsRunningProcesses_v3",
        "nvmlGpmSampleGet",
    ],
)
def test_slow_calls_do_not_hold_up_the_snapshots(install, function):
    driver = install("h100")
    with sampling(interval_s=0.1) as (_, snapshots):
        until(snapshots, lambda s: s.devices[0].kind == "gpu")
        driver.change({f"delay_us.{function}": 5_000_000})
        times = [snapshots.get(timeout=60).time for _ in range(12)]
    gaps = sorted(after - before for before, after in itertools.pairwise(times))
    assert gaps[len(gaps) // 2] < 2.5


@pytest.mark.parametrize("function", ["nvmlInitWithFlags", "nvmlDeviceGetUtilizationRates", "nvmlShutdown"])
def test_stop_does_not_wait_for_a_call_that_hangs(install, function):
    install("rtx4090").change({f"delay_us.{function}": HOUR_US})
    with sampling(interval_s=0.2) as (sampler, snapshots):
        snapshots.get(timeout=60)
        begin = time.monotonic()
        sampler.stop()
        assert time.monotonic() - begin < 30  # the call hangs for an hour
        taken = snapshots.qsize()
        time.sleep(0.5)
        assert snapshots.qsize() == taken


def test_a_process_ends_while_a_call_hangs(install):
    driver = install("rtx4090")
    driver.change({"delay_us.nvmlInitWithFlags": HOUR_US})
    program = (
        "import queue; from phitui.hardware.sampler import Sampler; q = queue.Queue();"
        "s = Sampler(1, q.put); s.start(); print(q.get().unavailable['gpu']); s.stop()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **driver.environment()},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("the driver has not answered for")


# ---- what goes wrong in the sampler's own threads ----


def test_no_error_of_a_reader_ends_the_threads(install, monkeypatch):
    install("rtx4090")

    def broken(*_):
        raise RuntimeError("a\x1bb")

    with sampling() as (_, snapshots):
        until(snapshots, lambda s: s.devices[0].util_pct == 97)
        with monkeypatch.context() as patch:
            patch.setattr("phitui.hardware.nvml.gpus.Gpus.read", broken)
            patch.setattr("phitui.hardware.host.cpu.HostReader.read", broken)
            failed = until(snapshots, lambda s: s.devices[0].util_pct is None and s.host.load1 is None)
            assert failed.devices[0].unavailable["util_pct"] == "RuntimeError: ab"
            assert failed.host.unavailable["load1"] == "RuntimeError: ab"
        until(snapshots, lambda s: s.devices[0].util_pct == 97 and s.host.load1 is not None)


def test_psutil_that_fails_is_a_reason(no_driver, monkeypatch):
    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(psutil, "virtual_memory", broken)
    monkeypatch.setattr(psutil, "sensors_temperatures", broken, raising=False)
    with sampling() as (_, snapshots):
        snapshot = until(snapshots, lambda s: True)
    assert "Input/output error" in snapshot.host.unavailable["ram_total_bytes"]
    assert "Input/output error" in snapshot.devices[0].unavailable["temperature_c"]
    assert snapshot.host.cpu_pct is not None


def test_a_receiver_that_raises_gets_the_next_snapshot_and_the_reason(no_driver):
    snapshots = queue.Queue()
    calls = itertools.count()

    def receive(snapshot):
        assert threading.current_thread().name == "phitui-sampler"
        if next(calls) == 0:
            raise ValueError("not now")
        snapshots.put(snapshot)

    sampler = Sampler(0.05, receive)
    sampler.start()
    try:
        assert snapshots.get(timeout=60).unavailable["receiver"] == "ValueError: not now"
        assert "receiver" not in snapshots.get(timeout=60).unavailable
    finally:
        sampler.stop()


def test_stop_from_the_receiver_and_a_receiver_that_hangs(no_driver):
    done = threading.Event()
    sampler = Sampler(0.05, lambda snapshot: (sampler.stop(), done.set()))
    sampler.start()
    assert done.wait(60)

    release = threading.Event()
    entered = threading.Event()
    stuck = Sampler(0.05, lambda snapshot: (entered.set(), release.wait(120)))
    stuck.start()
    assert entered.wait(60)
    begin = time.monotonic()
    stuck.stop()
    assert time.monotonic() - begin < 30
    release.set()


def test_stopping_twice_or_before_the_start_is_fine(no_driver):
    sampler = Sampler(0.05, lambda snapshot: None)
    sampler.stop()
    sampler.start()
    sampler.stop()
    sampler.stop()


@pytest.mark.parametrize("interval", [0, -1, float("inf"), float("nan")])
def test_an_interval_that_is_none(interval):
    with pytest.raises(ValueError, match="positive number of seconds"):
        Sampler(interval, print)


def test_own_processes(no_driver):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ended = subprocess.Popen(["true"])
    ended.wait()
    try:
        with sampling(processes=lambda: {"engine": child.pid, "gone": ended.pid}) as (_, snapshots):
            host = until(snapshots, lambda s: (s.host.rss_bytes["engine"] or 0) > 2_000_000).host
    finally:
        child.communicate(b"\n")
    assert host.rss_bytes["gone"] is None
    assert host.unavailable["rss_bytes.gone"] == "the process has ended"


# ---- from outside ----


def run(program, **environment):
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def test_a_fresh_process_finds_the_driver_by_itself(install):
    driver = install("h100")
    program = (
        "import queue, msgspec; from phitui.hardware.sampler import Sampler; q = queue.Queue();"
        "s = Sampler(0.2, q.put); s.start(); print(msgspec.json.encode(q.get()).decode()); s.stop()"
    )
    told = json.loads(run(program, **driver.environment()))
    device = told["devices"][0]
    assert (device["kind"], device["name"], device["util_pct"]) == ("gpu", "NVIDIA H100 80GB HBM3", 88)
    assert device["vram"]["used_bytes"] == 8589934592
    assert device["fan_pct"] is None and "fan_pct" in device["unavailable"]
    assert msgspec.convert(told, Snapshot).devices[0].name == device["name"]


def test_the_import_costs_next_to_nothing(tmp_path):
    """The console's first frame waits for it: no psutil, no pynvml, < 5 ms of CPU beyond what Textual loads."""
    program = (
        "import asyncio, msgspec, sys, time; t = time.process_time(); import phitui.hardware.sampler;"
        "print(time.process_time() - t, {'psutil', 'pynvml'} & set(sys.modules))"
    )
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    answers = [run(program, **compiled).split(" ", 1) for _ in range(6)]
    assert {modules.strip() for _, modules in answers} == {"set()"}
    assert min(float(seconds) for seconds, _ in answers) < 0.005
