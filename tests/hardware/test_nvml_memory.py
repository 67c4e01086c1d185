"""Hours of readings keep memory flat, and one reading asks no more than it should."""

from __future__ import annotations

import collections
import gc
import os
import sys
import tracemalloc

import pynvml
import pytest

from phitui.hardware.host import os_processes
from phitui.hardware.nvml.driver import watched
from phitui.hardware.nvml.gpus import Gpus

HOURS_3 = 3 * 3600
WARM_UP = 600


@pytest.fixture
def hours(monkeypatch):
    """hours(driver, step, size): three hours of readings, and how much `size()` has grown after a warm-up."""
    monkeypatch.setattr(os_processes, "_pid_namespace", lambda root: 0xEFFFFFFC)

    def read(driver, step, size):
        gpus = Gpus()
        for second in range(0, HOURS_3 + WARM_UP, step):
            gpus.read(float(second))
            if second % 1200 == 0:  # processes come and go, and the card is lost for a moment
                driver.change({"0.processes.compute": f"{os.getpid()}:1 {3_000_000 + second}:1", "0.epoch": second})
            if second == WARM_UP:
                gc.collect()
                before = size()
        gc.collect()
        grown = size() - before
        assert driver.samples() <= 2
        gpus.close()
        assert (driver.started(), driver.samples()) == (0, 0)
        return grown

    return read


def test_three_hours_at_one_reading_a_second_keep_memory_flat(install, hours):
    assert hours(install("h100"), 1, sys.getallocatedblocks) < 300


def ours():
    """Traced bytes of the readers: threads that other tests have left behind allocate as well."""
    files = [tracemalloc.Filter(True, f"*{name}*") for name in ("phitui/hardware", "pynvml", "psutil")]
    statistics = tracemalloc.take_snapshot().filter_traces(files).statistics("filename")
    return sum(statistic.size for statistic in statistics)


@pytest.mark.parametrize("name", ["2x4090", "h100_mig"])
def test_three_hours_of_readings_allocate_nothing_that_stays(install, hours, name):
    """Every 30 s: with its allocations traced a reading takes several times as long."""
    tracemalloc.start()
    try:
        assert hours(install(name), 30, ours) < 20_000
    finally:
        tracemalloc.stop()


class Counts:
    def __init__(self):
        self.functions = collections.Counter()

    def asked(self, function, arguments):
        self.functions[function] += 1

    def answered(self, answer):
        pass


def calls(gpus, now):
    counts = Counts()
    with watched(counts):
        gpus.read(now)
    return counts.functions


def test_what_is_asked_once_every_second_and_every_five(install):
    install("h100")
    gpus = Gpus()
    calls(gpus, 0.0)
    second = {
        "nvmlDeviceGetMemoryInfo": 1,
        "nvmlDeviceGetPowerUsage": 1,
        "nvmlDeviceGetClockInfo": 2,
        "nvmlDeviceGetCurrentClocksEventReasons": 1,
        "nvmlDeviceGetUtilizationRates": 1,
        "nvmlDeviceGetTotalEnergyConsumption": 1,
        "nvmlDeviceGetFieldValues": 1,
        "nvmlGpmSampleGet": 1,
        "nvmlGpmMetricsGet": 1,
    }
    processes = [
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetGraphicsRunningProcesses_v3",
        "nvmlDeviceGetProcessUtilization",
    ]
    soon = collections.Counter(second)
    soon.update(processes)
    assert calls(gpus, 0.3) == soon  # a share is a difference
    assert calls(gpus, 1.0) == second
    assert calls(gpus, 4.5) == second
    newer = hasattr(pynvml, "nvmlDeviceGetTemperatureV")
    temperature = ["nvmlDeviceGetTemperatureV", *([] if newer else ["nvmlDeviceGetTemperature"])]
    fifth = collections.Counter(second)
    fifth.update(
        [
            "nvmlDeviceGetEnforcedPowerLimit",
            *temperature,
            "nvmlDeviceGetFanSpeed",
            "nvmlDeviceGetCurrPcieLinkGeneration",
            "nvmlDeviceGetCurrPcieLinkWidth",
            "nvmlDeviceGetFieldValues",
            *processes,
            "nvmlDeviceGetMigMode",
        ]
    )
    assert calls(gpus, 5.5) == fifth
    fifth["nvmlDeviceGetCount"] += 1
    assert calls(gpus, 10.6) == fifth
    gpus.close()
