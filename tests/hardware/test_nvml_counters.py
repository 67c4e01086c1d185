"""Bandwidth with its source, and what comes from counters: GPM, the PCIe link, energy."""

from __future__ import annotations

import time

import pynvml
import pytest
from figure_checks import check_device

from phitui.hardware.figures import WAITING, Missing
from phitui.hardware.nvml.card import Counter
from phitui.hardware.nvml.driver import call
from phitui.hardware.nvml.gpm import Gpm
from phitui.hardware.nvml.gpus import Gpus
from phitui.hardware.snapshot import Bandwidth

GIGA = 10**9


@pytest.fixture
def gpus():
    reader = Gpus()
    yield reader
    reader.close()


def only(reading):
    (device,) = reading.devices
    check_device(device)
    return device


# ---- bandwidth ----


def test_a_4090_tells_the_share_of_time_and_an_h100_measures(install, gpus):
    driver = install("rtx4090")
    busy = only(gpus.read(0.0)).bandwidth  # needs no second reading
    assert busy == Bandwidth(pytest.approx(0.61 * 1008.096), pytest.approx(1008.096), "busy")
    driver = install("h100")
    measuring = Gpus()
    assert only(measuring.read(0.0)).bandwidth == Bandwidth(None, pytest.approx(3352.32), None)
    device = only(measuring.read(1.0))
    assert device.bandwidth == Bandwidth(pytest.approx(0.625 * 3352.32), pytest.approx(3352.32), "measured")
    assert (device.sm_active_pct, device.tensor_active_pct) == (81.25, 34.5)
    driver.change({"0.gpm.10": 12.5})
    assert only(measuring.read(2.0)).bandwidth.value_gb_s == pytest.approx(0.125 * 3352.32)
    measuring.close()
    assert (driver.started(), driver.samples()) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"err.nvmlGpmSampleGet": 4}, "no permission"),
        ({"err.nvmlGpmQueryDeviceSupport": 4}, "no permission"),
        ({"err.nvmlGpmQueryDeviceSupport": 13}, "this driver is too old to report it"),
        ({"err.nvmlGpmSampleAlloc": 20}, "the driver is out of memory"),
        ({"err.nvmlGpmMetricsGet": 999}, "the driver answered 'unknown error'"),
        ({"0.gpm": 0}, "this card has no such counters"),
        ({"0.gpm.2.err": 4, "0.gpm.10.err": 4}, "no permission"),
        ({"0.gpm.2": "nan", "0.gpm.10": "nan"}, "the answer is no number"),
        ({"0.gpm.2": "100.5", "0.gpm.10": "1e9"}, "the answer is out of range: 100.5 %"),
    ],
)
def test_without_measurement_it_is_the_busy_share_and_says_so(install, gpus, changes, reason):
    driver = install("h100")
    driver.change(changes)
    gpus.read(0.0)
    device = only(gpus.read(1.0))
    assert device.bandwidth == Bandwidth(pytest.approx(0.47 * 3352.32), pytest.approx(3352.32), "busy")
    assert device.unavailable["sm_active_pct"] == reason
    gpus.close()
    assert driver.samples() == 0


def test_permission_that_is_given_later_is_used(install, gpus):
    driver = install("h100")
    driver.change({"err.nvmlGpmSampleGet": 4})
    assert only(gpus.read(0.0)).bandwidth.source == "busy"
    driver.change({"err.nvmlGpmSampleGet": None})
    assert only(gpus.read(1.0)).unavailable["bandwidth.value_gb_s"] == WAITING.reason
    assert only(gpus.read(2.0)).bandwidth.source == "measured"


def test_neither_measured_nor_busy(install, gpus):
    install("rtx4090").change({"0.util_mem": None})
    device = only(gpus.read(0.0))
    assert device.bandwidth == Bandwidth(None, pytest.approx(1008.096), None)
    assert device.unavailable["bandwidth.value_gb_s"].startswith("not measured: this card has no such counters; memory")


@pytest.mark.parametrize("key", ["0.bus_width", "0.mem_clock_max"])
def test_no_peak_without_clock_or_width(install, gpus, key):
    install("rtx4090").change({key: None})
    device = only(gpus.read(0.0))
    assert device.bandwidth == Bandwidth()
    assert device.unavailable["bandwidth.peak_gb_s"] == "this card does not report it"
    assert "peak is not known" in device.unavailable["bandwidth.value_gb_s"]


def test_samples_closer_than_the_driver_allows_are_not_compared(install):
    driver = install("h100")
    driver.change({"gpm_apart_us": 100_000})
    call("nvmlInitWithFlags", 0)
    gpm = Gpm(call("nvmlDeviceGetHandleByIndex", 0))
    assert set(gpm.read(time.monotonic()).values()) == {WAITING}
    assert set(gpm.read(time.monotonic()).values()) == {WAITING}  # too soon: the driver is not asked
    time.sleep(0.12)
    assert gpm.read(time.monotonic())[10] == 62.5
    assert gpm.read(time.monotonic())[10] == 62.5  # as before, for another 0.1 s
    gpm.close()
    gpm.close()
    assert set(gpm.read(time.monotonic()).values()) == {Missing("closed")}
    call("nvmlShutdown")
    assert driver.samples() == 0


def test_an_old_pynvml_has_no_counters(install, gpus, monkeypatch):
    install("h100")
    monkeypatch.delattr(pynvml, "c_nvmlGpmMetricsGet_t")
    assert only(gpus.read(0.0)).unavailable["sm_active_pct"] == "the installed nvidia-ml-py is too old for it"


@pytest.mark.parametrize("changes", [{"0.err": 15}, {"driver_epoch": 1}, {"0.epoch": 1}])
def test_a_lost_card_gives_its_samples_back_and_waits_anew(install, gpus, changes):
    driver = install("h100")
    gpus.read(0.0)
    gpus.read(1.0)
    driver.change(changes)
    assert gpus.read(2.0).devices[0].bandwidth == Bandwidth()
    assert driver.samples() == 0
    driver.change({"0.err": None})
    gpus.read(30.0)
    gpus.read(60.0)
    assert only(gpus.read(61.0)).bandwidth.source == "measured"
    assert driver.samples() == 2


# ---- the link ----


def test_link_traffic_is_the_difference_over_time(install, gpus):
    driver = install("rtx4090")
    driver.change({"0.field.197.per_s": None, "0.field.198.per_s": None})
    first = only(gpus.read(10.0))
    assert (first.link.tx_gb_s, first.unavailable["link.tx_gb_s"]) == (None, WAITING.reason)
    sent, received = (int(driver.state[f"0.field.{field}"]) for field in (197, 198))
    driver.change({"0.field.197": sent + 3 * GIGA, "0.field.198": received + GIGA // 2})
    link = only(gpus.read(12.0)).link
    assert (link.tx_gb_s, link.rx_gb_s) == (1.5, 0.25)
    assert only(gpus.read(13.0)).link.tx_gb_s == 0  # nothing sent is a figure
    assert (link.generation, link.generation_max, link.width, link.width_max) == (4, 4, 16, 16)


def test_a_link_below_its_best(install, gpus):
    install("rtx4090").change({"0.pcie_gen": 1, "0.pcie_width": 4})
    link = only(gpus.read(0.0)).link
    assert (link.generation, link.generation_max, link.width, link.width_max) == (1, 4, 4, 16)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"0.field.197": 5}, "the driver's counter went backwards"),
        ({"0.field.197": 1 << 63}, "out of range"),
        ({"0.field.197.type": 1}, "the driver's counter is too short"),
        ({"0.field.197.type": 99}, "the answer is of the unknown type 99"),
        ({"0.field.197.err": 4}, "no permission"),
        ({"0.field.197": None}, "this card does not report it"),
        ({"err.nvmlDeviceGetFieldValues": 13}, "this driver is too old to report it"),
        ({"err.nvmlDeviceGetFieldValues": 3}, "this card does not report it"),
    ],
)
def test_a_counter_that_cannot_be_used(install, gpus, changes, reason):
    driver = install("rtx4090")
    gpus.read(0.0)
    driver.change(changes)
    device = only(gpus.read(1.0))
    assert device.link.tx_gb_s is None
    assert reason in device.unavailable["link.tx_gb_s"]
    assert device.util_pct == 97


def test_a_field_as_another_type(install, gpus):
    install("h100").change({"0.field.186": "300000.5", "0.field.186.type": 0, "0.field.82": 71, "0.field.82.type": 5})
    device = only(gpus.read(0.0))
    assert (device.power_instant_w, device.memory_temperature_c) == (pytest.approx(300.0005), 71)


def test_a_type_that_the_installed_pynvml_may_not_have(install, gpus):
    install("h100").change({"0.field.82.type": 6})
    device = only(gpus.read(0.0))
    if any(name == "usVal" for name, _ in pynvml.c_nvmlValue_t._fields_):
        assert device.memory_temperature_c == 62
    else:
        assert device.unavailable["memory_temperature_c"] == "the answer is of the unknown type 6"


# ---- energy ----


def test_energy_goes_up_and_never_down(install, gpus):
    driver = install("rtx4090")
    driver.change({"0.energy_mj": 50_000, "0.energy_mj.per_s": None})
    assert only(gpus.read(0.0)).energy_j == 50
    driver.change({"0.energy_mj": 350_000})
    assert only(gpus.read(1.0)).energy_j == 350
    driver.change({"0.energy_mj": 100})
    assert only(gpus.read(2.0)).unavailable["energy_j"] == "the driver's counter went backwards"
    assert only(gpus.read(3.0)).energy_j == 0.1  # the counter began anew
    driver.change({"0.energy_mj": 900_000_000})
    assert only(gpus.read(4.0)).unavailable["energy_j"] == "the driver's counter jumped"
    assert only(gpus.read(5.0)).energy_j == 900_000


def test_a_counter_by_hand():
    counter = Counter()
    assert counter.rate(100, 1.0) == WAITING
    assert counter.rate(Missing("no"), 2.0) == Missing("no")
    assert counter.rate(400, 4.0) == 100  # over the whole time since the last answer
    assert counter.rate(500, 4.0).reason == "no time has passed since the reading before"
    assert counter.rate(0, 5.0).reason == "the driver's counter went backwards"
    assert counter.rate(10, 6.0) == 10
