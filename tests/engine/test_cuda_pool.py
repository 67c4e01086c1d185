"""The memory pool of a CUDA device, on a stand-in for the driver's library that is built here."""

import ctypes
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
import standin

from phitui.core.errors import UnavailableError
from phitui.engine.worker.cuda_pool import CudaPool
from phitui.engine.worker.meter import CudaMeter
from phitui.hardware.figures import Missing
from phitui.hardware.host.own_memory import OwnMemory

GB = 10**9
SOURCE = Path(standin.HERE) / "standin_cuda.c"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if standin.compiler() is None:
        pytest.skip(standin.NO_COMPILER)
    file = tmp_path_factory.mktemp("cuda") / "libcuda.so.1"
    subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", file, SOURCE], check=True)
    loaded = ctypes.CDLL(str(file))
    for name in ("standin_reset", "standin_take", "standin_give"):
        getattr(loaded, name).argtypes = [ctypes.c_uint64] * (2 if name == "standin_reset" else 1)
    return loaded


@pytest.fixture
def cuda(library):
    library.standin_reset(24 * GB, 2 * GB)
    return library


def test_marks_follow_what_is_taken_and_given_back(cuda):
    pool = CudaPool(cuda)
    cuda.standin_take(4 * GB)
    cuda.standin_take(3 * GB)
    cuda.standin_give(3 * GB)
    assert (pool.reserved(), pool.reserved_high()) == (7 * GB, 7 * GB)
    pool.trim()
    assert (pool.reserved(), pool.reserved_high()) == (4 * GB, 7 * GB)
    pool.reset_high()
    assert pool.reserved_high() == 4 * GB


def test_free_memory_is_asked_for_on_any_thread(cuda):
    pool, seen = CudaPool(cuda), []
    cuda.standin_take(4 * GB)
    thread = threading.Thread(target=lambda: seen.append(pool.free()))
    thread.start()
    thread.join()
    assert seen == [18 * GB]


class Nothing:
    """A driver that says nothing."""

    def read(self):
        return Missing("no permission")


def test_the_meter_counts_from_rest_to_the_peak(cuda):
    cuda.standin_take(4 * GB)
    meter = CudaMeter(CudaPool(cuda), Nothing())
    assert (meter.rest(), meter.usable()) == (4 * GB, 22 * GB)
    cuda.standin_take(9 * GB)
    cuda.standin_give(9 * GB)
    assert meter.usable() == 22 * GB  # what the pool keeps is ours all the same
    meter.watch()
    cuda.standin_take(6 * GB)
    cuda.standin_give(6 * GB)
    assert meter.peak() == 10 * GB
    assert meter.beside() == Missing("no permission")
    assert meter.rest() == 4 * GB


def test_the_drivers_count_is_of_the_engines_card_and_process(cuda, nvml):
    """CUDA has one card, the driver lists two: the engine's is the second."""
    pool, mine = CudaPool(cuda), os.getpid()
    assert pool.uuid() == "b7c8d9e0-1f2a-4b3c-8d4e-5f60718293a4"
    nvml.change({"0.processes.compute": f"{mine}:1000", "1.processes.compute": f"77:900 {mine}:5000"})
    meter = CudaMeter(pool, OwnMemory(pool.uuid(), mine))
    meter.watch()
    wait_for(lambda: meter._sampler._most == 5000)
    nvml.change({"1.processes.compute": f"77:900 {mine}:8000"})
    wait_for(lambda: meter._sampler._most == 8000)
    nvml.change({"1.processes.compute": f"77:900 {mine}:6000"})
    meter.peak()
    assert meter.beside() == 8000


def test_where_the_driver_does_not_say_there_is_a_reason(nvml):
    card, mine = "b7c8d9e0-1f2a-4b3c-8d4e-5f60718293a4", os.getpid()
    nvml.change({"1.processes.compute": f"{mine}:-"})
    assert OwnMemory(card, mine).read() == Missing("the driver does not report this process's share")
    assert "no process of the engine's id" in OwnMemory(card, mine + 1).read().reason
    assert "no card of the engine's UUID" in OwnMemory("00000000-1f2a-4b3c-8d4e-5f60718293a4", mine).read().reason
    assert "no card of the engine's UUID" in OwnMemory("", mine).read().reason
    nvml.change({"1.processes.compute": None, "1.processes.compute.code": 4})
    assert isinstance(OwnMemory(card, mine).read(), Missing)


def wait_for(condition, wait_s=60):
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def nvml(tmp_path):
    driver = standin.Driver(standin.build(tmp_path), tmp_path / "state", standin.profile("2x4090"))
    with driver.installed():
        yield driver


def test_another_allocator_is_said_and_not_measured(cuda):
    with pytest.raises(UnavailableError, match="CT2_CUDA_ALLOCATOR"):
        CudaMeter(CudaPool(cuda), Nothing()).rest()


def test_what_the_driver_refuses_has_its_number(cuda):
    cuda.standin_refuse(100)
    with pytest.raises(UnavailableError, match="cuInit failed with error 100"):
        CudaPool(cuda)


def test_an_old_driver_without_pools_is_said(tmp_path):
    with pytest.raises(UnavailableError, match="has no cuInit"):
        CudaPool(ctypes.CDLL(None))
