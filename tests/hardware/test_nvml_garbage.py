"""Random states of the driver: whatever it says, every figure is within bounds or has a reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgspec
import pynvml
import pytest
import standin
from figure_checks import check_device
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from phitui.cli.monitor_text import table
from phitui.hardware.analysis.hint_figures import of_device
from phitui.hardware.analysis.hints import hints
from phitui.hardware.history import History
from phitui.hardware.host.cpu import cpu_device
from phitui.hardware.nvml.gpus import Gpus
from phitui.hardware.snapshot import Host, Reading, Snapshot
from phitui.tui.charts.cells import KeyHint
from phitui.tui.monitor.picture import MonitorPicture

HOST = Host(50.0, 8, None, 1.0, 64 << 30, 20 << 30, 44 << 30, 50.0)
BASES = {name: standin.profile(name) for name in ("2x4090", "h100", "h100_mig", "gb10")}
NAMES = {"name", "uuid"}
LISTS = {"processes.compute", "processes.graphics", "process_util"}
KEYS = {key.partition(".")[2].split("mig2.")[-1].split("mig0.")[-1] for base in BASES.values() for key in base}
FIGURES = [*sorted(KEYS - NAMES - LISTS - {""}), "epoch", "err", "field.197.type", "gpm.10.err", "field.186.err"]
SOURCE = standin.SOURCE.read_text()
FUNCTIONS = [name for name in vars(pynvml) if name.startswith("nvml") and f"int {name}(" in SOURCE]
PLACES = st.sampled_from(["0.", "1.", "2.", "0.mig0.", "0.mig1.", "1.mig2."])
NUMBER = st.one_of(st.integers(0, 200), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)) | st.sampled_from(
    ["nan", "-1", "1e300", "99.5", "100.01", "-40"]
)
CODE = st.one_of(st.integers(0, 30), st.sampled_from([77, 999, 4294967295]))
TEXT = st.binary(max_size=120).map(standin.escaped)
PID = st.one_of(st.sampled_from([0, 1, os.getpid(), os.getppid()]), st.integers(0, 2**32 - 1))
PROCESS = st.tuples(PID, NUMBER | st.just("-")).map(lambda one: f"{one[0]}:{one[1]}")


def key(*parts: Any) -> st.SearchStrategy[str]:
    return st.tuples(*(st.just(part) if isinstance(part, str) else part for part in parts)).map("".join)


ENTRY = st.one_of(
    st.tuples(key(PLACES, st.sampled_from(FIGURES)), NUMBER),
    st.tuples(key(PLACES, st.sampled_from(sorted(NAMES))), TEXT),
    st.tuples(key(PLACES, st.sampled_from(sorted(LISTS))), st.lists(PROCESS, max_size=6).map(" ".join)),
    st.tuples(key("err.", st.sampled_from(FUNCTIONS)), CODE),
    st.tuples(key(PLACES, "err.", st.sampled_from(FUNCTIONS)), CODE),
    st.tuples(st.just("device_count"), st.one_of(st.integers(0, 4), NUMBER)),
    st.tuples(st.sampled_from(["driver_version", "cuda_version"]), TEXT | NUMBER),
    st.tuples(st.just("driver_epoch"), st.integers(0, 2)),
)
STATE = st.lists(ENTRY, max_size=25).map(dict)


def texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield name
            yield from texts(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from texts(value)
    elif isinstance(tree, str):
        yield tree


def check_reading(reading: Reading) -> None:
    assert reading.devices or reading.reason
    for device in reading.devices:
        check_device(device)
    assert all(text.isprintable() for text in texts(msgspec.to_builtins(reading)))
    assert msgspec.json.decode(msgspec.json.encode(reading), type=Reading) == reading


class Shown:
    """What is made of readings for people: the picture, the table, the hints."""

    def __init__(self) -> None:
        self.history = History(100)
        self.picture = MonitorPicture(self.history, "here", show_reasons=True)
        self.second = 0

    def check(self, reading: Reading) -> None:
        """Each is made of it, in its size, and nothing in it steers a terminal."""
        self.second += 1
        snapshot = Snapshot(
            1e9 + self.second, HOST, reading.devices or [cpu_device(HOST)], reading.unavailable, reading.driver,
            reading.cuda,
        )  # fmt: skip
        self.history.add(snapshot)
        self.picture.snapshot = snapshot
        self.picture.show_reasons = not self.picture.show_reasons
        self.picture.select(1)
        for width, height in ((80, 24), (200, 50)):
            rows = self.picture.rows(width, height, [KeyHint("q", "Close")])
            assert [sum(cell_len(part) for part, _ in row) for row in rows] == [width] * height
            assert all(part.isprintable() for row in rows for part, _ in row)
        assert all(line.isprintable() for line in table(snapshot).split("\n"))
        for device in snapshot.devices:
            assert all(str(hint).isprintable() for hint in hints(of_device(device, HOST, 0.95)))


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(BASES)), states=st.lists(STATE, min_size=1, max_size=3), whole=st.booleans())
def test_whatever_the_driver_says_no_figure_is_out_of_range(driver, name, states, whole):
    base = BASES[name]
    gpus, shown = Gpus(), Shown()
    for second, state in enumerate([*states, {}]):
        driver.replace({**base, **state} if whole else {"device_count": 2, **state})
        check_reading(gpus.read(4.0 * second))
        check_reading(reading := gpus.read(4.0 * second + 1.0))
        shown.check(reading)
    driver.replace({**base, "driver_epoch": 9})  # a reloaded driver, in health
    gpus.read(1000.0)
    healthy = {device.uuid: device for device in gpus.read(2000.0).devices}
    card = healthy[base["0.uuid"]]
    assert str(card.vram.used_bytes) == base.get("0.mem_used") or card.shares_ram
    assert card.power_w == int(base["0.power_mw"]) / 1000
    gpus.close()
    assert (driver.started(), driver.samples()) == (0, 0)


@pytest.mark.parametrize("name", sorted(BASES))
def test_each_question_refused_in_each_way(driver, name):
    """Not supported, no permission, not found as a return code, lost, wrong version, unknown error; then health."""
    gpus = Gpus()
    now = 0.0
    driver.replace(BASES[name])
    healthy = len(gpus.read(now).devices)
    for function in FUNCTIONS:
        for code in (3, 4, 13, 15, 25, 999):
            driver.change({f"err.{function}": code})
            for _ in range(2):
                now += 5.0
                check_reading(gpus.read(now))
            driver.change({f"err.{function}": None})
    gpus.read(now + 100.0)
    reading = gpus.read(now + 200.0)
    check_reading(reading)
    assert len(reading.devices) == healthy
    assert all(device.vram.total_bytes for device in reading.devices)
    gpus.close()
    assert driver.samples() == 0


@pytest.fixture
def driver(install):
    return install("2x4090")
