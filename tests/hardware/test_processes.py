"""Who uses the card: the driver's lists, brought together with what the operating system knows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import psutil
import pytest
from figure_checks import check_device, check_process

from phitui.hardware.host import os_processes
from phitui.hardware.host.os_processes import ProcessTable
from phitui.hardware.nvml.gpus import Gpus
from phitui.hardware.sampler import Sampler

MIB = 1 << 20
NOT_HERE = "no such process here: it has ended, or belongs to another PID namespace"


@pytest.fixture
def gpus():
    reader = Gpus()
    yield reader
    reader.close()


@pytest.fixture(autouse=True)
def _first_namespace(monkeypatch):
    """As outside of a container, wherever the tests run."""
    monkeypatch.setattr(os_processes, "_pid_namespace", lambda root: 0xEFFFFFFC)


def listed(gpus, now=0.0):
    (device,) = gpus.read(now).devices
    check_device(device)
    return {process.pid: process for process in device.processes}


@contextmanager
def running(*command: str, **options) -> Iterator[int]:
    child = subprocess.Popen(command, stdin=subprocess.PIPE, **options)
    try:
        yield child.pid
    finally:
        child.kill()
        child.wait()


def test_a_process_with_everything_known(install, gpus):
    program = "import sys\nprint(flush=True)\nwhile True: sum(range(1000))"
    begun = time.time()
    with running(sys.executable, "-c", program) as pid:
        install("rtx4090").change(
            {"0.processes.compute": f"{pid}:{900 * MIB}", "0.process_util": f"{pid}:12:900 {pid}:77:1000 {pid}:13:800"}
        )
        first = listed(gpus)[pid]
        assert (first.kind, first.used_bytes, first.util_pct) == ("C", 900 * MIB, 77)  # the newest sample
        assert first.command == f"{sys.executable} -c {program}".replace("\n", "")
        assert first.user == psutil.Process().username()
        assert first.name == psutil.Process(pid).name()
        assert abs(first.started - begun) < 5
        assert first.rss_bytes > MIB
        assert first.unavailable == {"cpu_pct": "known from the second reading on"}
        time.sleep(0.5)
        again = listed(gpus, 5.0)[pid]
    assert 10 < again.cpu_pct < 110
    assert again.unavailable == {}


def test_compute_and_graphics_of_one_process_are_one_row(install, gpus):
    pid = os.getpid()
    install("rtx4090").change(
        {
            "0.processes.compute": f"{pid}:{5 * MIB} 1:-",
            "0.processes.graphics": f"{pid}:- 2:{MIB}",
            "0.process_util": "",
        }
    )
    processes = listed(gpus)
    assert {pid: process.kind for pid, process in processes.items()} == {1: "C", 2: "G", pid: "C+G"}
    assert processes[pid].used_bytes == 5 * MIB
    assert processes[1].unavailable["used_bytes"] == "the driver does not report this process's share"
    assert processes[pid].unavailable["util_pct"] == "the driver has no sample of this process"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"err.nvmlDeviceGetProcessUtilization": 3}, "this card does not report it"),
        ({"err.nvmlDeviceGetProcessUtilization": 4}, "no permission"),
        ({"err.nvmlDeviceGetProcessUtilization": 6}, "the driver has no sample of this process"),
        ({"0.process_util": "1:4294967295:1000"}, "the answer is out of range: 4294967295 %"),
    ],
)
def test_no_share_of_the_multiprocessors(install, gpus, changes, reason):
    install("rtx4090").change({"0.processes.compute": f"1:{MIB}", "0.processes.graphics": "", **changes})
    assert listed(gpus)[1].unavailable["util_pct"] == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({f"0.processes.{kind}": None for kind in ("compute", "graphics")}, "this card does not report it"),  # WSL2
        (
            {f"err.nvmlDeviceGet{kind}RunningProcesses_v{n}": 13 for kind in ("Compute", "Graphics") for n in (2, 3)},
            "this driver is too old to report it",
        ),
    ],
)
def test_no_list_has_a_reason(install, gpus, changes, reason):
    install("rtx4090").change(changes)
    (device,) = gpus.read(0.0).devices
    check_device(device)
    assert (device.processes, device.unavailable["processes"]) == (None, reason)


def test_one_list_is_enough(install, gpus):
    install("rtx4090").change({"0.processes.graphics": None})
    assert set(listed(gpus)) == {1234}


def test_an_empty_list_is_no_process_and_known(install, gpus):
    install("rtx4090").change({"0.processes.compute": "", "0.processes.graphics": ""})
    (device,) = gpus.read(0.0).devices
    assert device.processes == []
    assert "processes" not in device.unavailable


def test_ids_that_cannot_be_are_left_out(install, gpus):
    many = " ".join(f"{pid}:1" for pid in range(4_000_000, 4_000_100))
    install("rtx4090").change({"0.processes.compute": f"0:1 4294967295:1 4194305:1 7:{1 << 63} {many}"})
    processes = listed(gpus)
    assert set(processes) == {7, 2201, *range(4_000_000, 4_000_100)}
    assert "out of range" in processes[7].unavailable["used_bytes"]


def test_a_process_that_vanishes_and_an_id_that_is_used_anew(install, gpus):
    driver = install("rtx4090")
    with running("sleep", "60") as pid:
        driver.change({"0.processes.compute": f"{pid}:{MIB}"})
        assert listed(gpus)[pid].name == "sleep"
    gone = listed(gpus, 5.0)[pid]
    assert (gone.name, gone.used_bytes, gone.unavailable["name"]) == (None, MIB, NOT_HERE)
    table = ProcessTable()
    with running("sleep", "60") as pid:
        assert table.of_driver(pid, "C", 1, 1, 0.0).name == "sleep"
        known = table._known[pid]
        known.stat = known.stat._replace(start=1)  # as of another process that had the same id
        assert table.of_driver(pid, "C", 1, 1, 5.0).unavailable == {"cpu_pct": "known from the second reading on"}
        assert table._known[pid] is not known


def test_names_and_commands_reach_nobody_raw(install, gpus, tmp_path):
    name = "x\x1b[31m\u202eevil"
    program = tmp_path / name
    shutil.copy(shutil.which("sleep"), program)
    with running("\x1b]0;title\x07", "60", executable=str(program)) as pid:
        time.sleep(0.05)
        install("rtx4090").change({"0.processes.compute": f"{pid}:{MIB}"})
        process = listed(gpus)[pid]
    assert process.name.startswith("x[31m")
    assert process.command == "]0;title 60"


def test_a_process_that_may_not_be_looked_at(install, gpus, monkeypatch):
    def denied(self):
        raise psutil.AccessDenied(self.pid, "\x1bname")

    install("rtx4090").change({"0.processes.compute": f"{os.getpid()}:{MIB}"})
    for question in ("name", "cmdline", "username"):
        monkeypatch.setattr(psutil.Process, question, denied)
    process = listed(gpus)[os.getpid()]
    assert process.started is not None
    for figure in ("name", "command", "user"):
        assert "AccessDenied" in process.unavailable[figure]


def test_a_container_names_only_what_holds_the_card(tmp_path, monkeypatch):
    """The driver's ids may be those of the host: another process may bear the same id here."""
    monkeypatch.setattr(os_processes, "_pid_namespace", lambda root: 4026532000)
    table = ProcessTable(tmp_path)
    other = table.of_driver(os.getpid(), "C", MIB, 50, 0.0)
    check_process(other)
    assert (other.name, other.command, other.used_bytes, other.util_pct) == (None, None, MIB, 50)
    assert "PID namespace" in other.unavailable["name"]
    descriptors = tmp_path / f"proc/{os.getpid()}/fd"
    descriptors.mkdir(parents=True)
    for file in ("stat", "statm"):
        shutil.copy(f"/proc/{os.getpid()}/{file}", tmp_path / f"proc/{os.getpid()}")
    (descriptors / "3").symlink_to("/dev/null")
    assert table.of_driver(os.getpid(), "C", MIB, 50, 0.0).name is None
    (descriptors / "4").symlink_to("/dev/nvidia0")
    assert table.of_driver(os.getpid(), "C", MIB, 50, 0.0).name is not None


def test_the_namespace_of_this_process_is_known(monkeypatch):
    monkeypatch.undo()
    assert os_processes._pid_namespace(Path("/")) == os.stat("/proc/self/ns/pid").st_ino
    assert os_processes._pid_namespace(Path("/nowhere")) is None


def test_processes_are_asked_every_five_seconds(install, gpus):
    driver = install("rtx4090")
    assert set(listed(gpus)) == {1234, 2201}
    assert set(listed(gpus, 1.0)) == {1234, 2201}  # the second reading comes soon, for what is a difference
    driver.change({"0.processes.compute": ""})
    assert set(listed(gpus, 5.9)) == {1234, 2201}
    assert set(listed(gpus, 6.0)) == {2201}


@pytest.mark.parametrize("profile", ["rtx4090", "h100_mig", None])
def test_shares_of_processes_are_known_with_the_second_snapshot(install, profile):
    """That is all that `phitui monitor --once` waits for."""
    with running(sys.executable, "-c", "x = b'x' * (100 << 20)\nwhile True: pass") as pid:
        if profile:
            mine = {"0.processes.compute": f"{pid}:1000000"}
            install(profile).change({**mine, "0.mig0.processes.compute": f"{pid}:1000000"})
        found = SimpleQueue()

        def shares() -> list[float | None]:
            devices = found.get(timeout=60).devices
            return [p.cpu_pct for device in devices for p in device.processes or () if p.pid == pid]

        sampler = Sampler(0.6, found.put)
        sampler.start()
        try:
            shares()
            known = shares()
            assert len(known) == (2 if profile == "h100_mig" else 1)
            assert None not in known
            # A busy machine may leave the process without the CPU for the while between two readings.
            assert any(all((share or 0) > 5 for share in shares()) for _ in range(20))
        finally:
            sampler.stop()


def test_what_nobody_asks_for_is_forgotten():
    table = ProcessTable()
    table.of_driver(os.getpid(), "C", 1, 1, 0.0)
    table.forget(29.0)
    assert set(table._known) == {os.getpid()}
    table.forget(30.0)
    assert table._known == {}


# ---- a machine without a card ----


def test_the_largest_processes_of_the_machine():
    with running(sys.executable, "-c", "x = b'x' * (300 << 20); input()") as pid:
        deadline = time.monotonic() + 60
        while psutil.Process(pid).memory_info().rss < 300 * MIB and time.monotonic() < deadline:
            time.sleep(0.02)
        table = ProcessTable()
        table.largest(0.0)
        time.sleep(1.0)
        largest = table.largest(5.0)
    assert 1 <= len(largest) <= 50
    sizes = [process.used_bytes for process in largest]
    assert sizes == sorted(sizes, reverse=True)
    for process in largest:
        check_process(process)
        assert process.kind == "C"
    found = next(process for process in largest if process.pid == pid)
    assert found.used_bytes == found.rss_bytes > 300 * MIB
    assert found.util_pct is not None and found.cpu_pct is not None, found.unavailable
    assert found.util_pct <= found.cpu_pct


def test_no_more_than_fifty(tmp_path, monkeypatch):
    for pid in range(1, 201):
        (tmp_path / f"proc/{pid}").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/statm").write_text(f"{pid * 10} {pid} 0 0 0 0 0\n")
    monkeypatch.setattr(psutil, "pids", lambda: [*range(1, 201), 999])
    asked = []
    monkeypatch.setattr(
        ProcessTable, "_facts", lambda self, pid, now: asked.append(pid) or os_processes.Missing("gone")
    )
    assert ProcessTable(tmp_path).largest(0.0) == []
    assert asked == list(range(200, 150, -1))
