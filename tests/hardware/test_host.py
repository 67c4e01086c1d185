"""The machine's own figures: RAM within cgroup limits, the CPU's sensor and its name."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest
from figure_checks import check, check_device

from phitui.hardware.host import cpu
from phitui.hardware.host.cgroup import CgroupLimit, cgroup_limits, cpu_quota
from phitui.hardware.host.cpu import HostReader, cpu_device, cpu_name
from phitui.hardware.snapshot import HOST_FIGURES

GIB = 1 << 30


def tree(root, files):
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def v2(folder, limit, used, droppable):
    return {
        f"sys/fs/cgroup/{folder}memory.max": f"{limit}\n",
        f"sys/fs/cgroup/{folder}memory.current": f"{used}\n",
        f"sys/fs/cgroup/{folder}memory.stat": f"anon 5\ninactive_file {droppable}\n",
    }


def v1(folder, limit, used, droppable):
    return {
        f"sys/fs/cgroup/memory/{folder}memory.limit_in_bytes": f"{limit}\n",
        f"sys/fs/cgroup/memory/{folder}memory.usage_in_bytes": f"{used}\n",
        f"sys/fs/cgroup/memory/{folder}memory.stat": f"cache 5\ntotal_inactive_file {droppable}\n",
    }


def test_version_2_limits_of_all_levels(tmp_path):
    tree(tmp_path, {"proc/self/cgroup": "0::/user.slice/phitui.scope\n"})
    tree(tmp_path, v2("user.slice/phitui.scope/", 2 * GIB, GIB, 1000))
    tree(tmp_path, v2("user.slice/", "max", 3 * GIB, 0))
    tree(tmp_path, v2("", 4 * GIB, 3 * GIB, 0))
    assert list(cgroup_limits(tmp_path)) == [CgroupLimit(2 * GIB, GIB - 1000), CgroupLimit(4 * GIB, 3 * GIB)]


@pytest.mark.parametrize("line", ["0::/", "0::/../../outside", "0::/not/mounted/here"])
def test_version_2_in_a_container(tmp_path, line):
    tree(tmp_path, {"proc/self/cgroup": line + "\n", **v2("", GIB, 600, 100)})
    assert list(cgroup_limits(tmp_path)) == [CgroupLimit(GIB, 500)]


@pytest.mark.parametrize("folder", ["docker/1f/", ""])
def test_version_1_at_its_own_path_or_at_the_mount(tmp_path, folder):
    tree(
        tmp_path,
        {"proc/self/cgroup": "5:cpu,cpuacct:/\n4:memory:/docker/1f\n0::/\n", **v1(folder, GIB, 700, 200)},
    )
    assert list(cgroup_limits(tmp_path)) == [CgroupLimit(GIB, 500)]


@pytest.mark.parametrize("text", ["", "nonsense\n", "4:memory\n", "0::/x\n"])
def test_no_limit_and_no_sense(tmp_path, text):
    tree(tmp_path, {"proc/self/cgroup": text})
    assert list(cgroup_limits(tmp_path)) == []
    assert list(cgroup_limits(tmp_path / "nothing")) == []


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "250000 100000\n"}, 2.5),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
                "sys/fs/cgroup/a/cpu.max": "50000 100000\n",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu,cpuacct:/docker/1f\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "nonsense 0\n"}, None),
        ({}, None),
    ],
)
def test_cpu_quota(tmp_path, monkeypatch, files, quota):
    tree(tmp_path, files)
    assert cpu_quota(tmp_path) == quota
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    host = HostReader(root=tmp_path).read(0.0)
    check(host, HOST_FIGURES)
    assert host.cpu_quota == quota
    assert host.cpus == {2.5: 3, 0.5: 1, 3.0: 3, None: 8}[quota]
    assert (quota is None) == (host.unavailable.get("cpu_quota") == "no cgroup limits the CPU here")


def test_ram_is_the_machines_within_the_limit(tmp_path, monkeypatch):
    machine = SimpleNamespace(total=8 * GIB, available=6 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    assert cpu.memory(tmp_path) == (8 * GIB, 6 * GIB)
    tree(tmp_path, {"proc/self/cgroup": "0::/\n", **v2("", 2 * GIB, GIB, 0)})
    assert cpu.memory(tmp_path) == (2 * GIB, GIB)
    machine.available = GIB // 2  # others on the machine leave less than the limit would
    assert cpu.memory(tmp_path) == (2 * GIB, GIB // 2)
    tree(tmp_path, v2("", 2 * GIB, 3 * GIB, 0))
    assert cpu.memory(tmp_path) == (2 * GIB, 0)
    tree(tmp_path, v1("", 9223372036854771712, GIB, 0))  # version 1 writes "no limit" so
    tree(tmp_path, {"proc/self/cgroup": "4:memory:/\n"})
    assert cpu.memory(tmp_path) == (8 * GIB, GIB // 2)


def sensor(label, current):
    return SimpleNamespace(label=label, current=current)


@pytest.mark.parametrize(
    ("sensors", "shown", "reason"),
    [
        ({"coretemp": [sensor("Core 0", 50.0), sensor("Package id 0", 61.0)]}, 61.0, None),
        ({"nvme": [sensor("", 40.0)], "k10temp": [sensor("Tctl", 55.5)]}, 55.5, None),
        ({"cpu_thermal": [sensor("", 47.0)]}, 47.0, None),
        ({"nvme": [sensor("", 40.0)]}, None, "this machine shows no CPU sensor"),
        ({}, None, "this machine shows no CPU sensor"),
        ({"coretemp": [sensor("Package id 0", 65261.85)]}, None, "the answer is out of range: 65261.85 °C"),
    ],
)
def test_temperature_where_there_is_a_sensor(monkeypatch, sensors, shown, reason):
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)
    host = HostReader().read(0.0)
    check(host, HOST_FIGURES)
    assert host.temperature_c == shown
    assert host.unavailable.get("temperature_c") == reason
    device = cpu_device(host)
    check_device(device)
    assert device.temperature_c == shown


def test_cpu_share_needs_a_window():
    reader = HostReader()
    first = reader.read(10.0)
    assert first.unavailable["cpu_pct"] == "known from the second sample on"
    reader.prime(10.0)
    assert 0 <= reader.read(10.2).cpu_pct <= 100


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD Ryzen 9\x1b[2J 7950X\n", "AMD Ryzen 9[2J 7950X"),
        ("processor\t: 0\nBogoMIPS\t: 50\n", None),
    ],
)
def test_cpu_name(tmp_path, text, name):
    tree(tmp_path, {"proc/cpuinfo": text})
    assert cpu_name(tmp_path) == name if name else cpu_name(tmp_path).endswith(" CPU")
