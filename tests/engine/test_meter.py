"""Peak memory of this very process, by the kernel's mark and without it, and the bound on it."""

import mmap
import sys

import pytest

from phitui.engine.worker.meter import CpuMeter

MB = 10**6
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def take_and_give_back(size):
    """Touch `size` bytes that the system has to find, and leave no trace of them."""
    with mmap.mmap(-1, size) as block:
        for start in range(0, size, mmap.PAGESIZE):
            block[start] = 1


@linux
@pytest.mark.parametrize("mark", [True, False], ids=["kernel", "sampled"])
def test_a_peak_that_is_over_is_still_known(tmp_path, mark):
    meter = CpuMeter() if mark else CpuMeter(tmp_path / "none")
    before = meter.rest()
    meter.watch()
    take_and_give_back(200 * MB)
    peak = meter.peak()
    assert 180 * MB < peak - before < 230 * MB
    assert meter.rest() - before < 20 * MB
    meter.watch()
    assert meter.peak() - before < 20 * MB  # the one before is forgotten


@linux
def test_what_is_usable_is_what_is_free_and_what_is_ours():
    meter = CpuMeter()
    with mmap.mmap(-1, 300 * MB) as block:
        for start in range(0, 300 * MB, mmap.PAGESIZE):
            block[start] = 1
        held, usable = meter.rest(), meter.usable()
    assert usable > held > 300 * MB


@linux
def test_above_the_bound_there_is_no_memory():
    meter = CpuMeter()
    with meter.bounded(meter.rest() + 50 * MB), pytest.raises(MemoryError):
        bytearray(200 * MB)
    assert len(bytearray(200 * MB)) == 200 * MB  # and afterwards there is again
    with meter.bounded(0):
        assert len(bytearray(200 * MB)) == 200 * MB
