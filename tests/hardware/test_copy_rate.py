"""The memory's rate is really measured, and its sizes are read as the kernel writes them."""

import os
import time

import psutil

from phitui.hardware.host.copy_rate import MemoryRate, cache_bytes, measure


def test_memory_is_measured_within_its_budget():
    begun = time.process_time()
    rate = measure(psutil.virtual_memory().available, len(os.sched_getaffinity(0)), budget_s=0.2)
    assert time.process_time() - begun < 3 * len(os.sched_getaffinity(0))
    # From the slowest board to the largest server's twelve channels of two sockets.
    assert 0.3 < rate.read_gb_s < 2000
    assert 0.3 < rate.copy_gb_s < 2000
    assert rate.peak_gb_s == max(rate.read_gb_s, rate.copy_gb_s)


def test_the_peak_is_the_higher_rate():
    assert MemoryRate(20.0, 30.0).peak_gb_s == 30.0
    assert MemoryRate(40.0, 30.0).peak_gb_s == 40.0


def cache(root, cpu, index, level, size, shared):
    folder = root / f"sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
    folder.mkdir(parents=True)
    for name, text in (("level", level), ("size", size), ("shared_cpu_list", shared)):
        (folder / name).write_text(f"{text}\n")


def test_a_shared_cache_counts_once_and_two_dies_twice(tmp_path):
    cache(tmp_path, 0, 2, 2, "1024K", "0")
    cache(tmp_path, 0, 3, 3, "32768K", "0-1")
    cache(tmp_path, 1, 3, 3, "32768K", "0-1")
    cache(tmp_path, 2, 3, 3, "32768K", "2")
    cache(tmp_path, 3, 3, 3, "many", "3")
    assert cache_bytes(tmp_path) == 2 * 32 * 1024**2
    assert cache_bytes(tmp_path / "nothing") == 0
