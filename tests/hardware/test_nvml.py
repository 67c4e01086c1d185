"""The real pynvml on the stand-in driver: cards in health."""

from __future__ import annotations

import psutil
import pytest
from figure_checks import DIFFERENCES, NOT_ON_A_4090, check_device, unexpected

from phitui.hardware.host.cpu import memory
from phitui.hardware.nvml.gpus import Gpus
from phitui.hardware.snapshot import Link, Memory


@pytest.fixture
def gpus():
    reader = Gpus()
    yield reader
    reader.close()


def test_an_rtx_4090_at_work(install, gpus):
    install("rtx4090")
    reading = gpus.read(0.0)
    (device,) = reading.devices
    check_device(device)
    assert reading.reason == ""
    assert (device.kind, device.index, device.name) == ("gpu", 0, "NVIDIA GeForce RTX 4090")
    assert device.uuid == "GPU-4e1f0c52-7a3b-4d6e-9b1a-0c2d3e4f5a60"
    assert (device.util_pct, device.memory_busy_pct) == (97, 61)
    assert device.vram == Memory(25757220864, 5368709120, 379584512, 20008927232)
    assert (device.power_w, device.power_limit_w) == (287.512, 450)
    assert (device.temperature_c, device.fan_pct) == (64, 42)
    assert (device.sm_clock_mhz, device.mem_clock_mhz) == (2610, 10251)
    assert device.throttle_reasons == ["SW_POWER_CAP"]
    assert (device.sm_clock_max_mhz, device.mem_clock_max_mhz, device.bus_width_bits) == (3105, 10501, 384)
    assert (device.power_instant_w, device.memory_temperature_c) == (291.04, None)
    assert device.energy_j >= 123456789.012
    assert device.link == Link(4, 4, 16, 16, None, None)
    assert (reading.driver, reading.cuda) == ("550.54.14", "12.4")
    assert unexpected(device) == {}
    assert set(gpus.read(1.0).devices[0].unavailable) == NOT_ON_A_4090


def test_two_cards_keep_their_figures_apart(install, gpus):
    install("2x4090")
    busy, idle = gpus.read(0.0).devices
    assert (busy.index, busy.util_pct, busy.throttle_reasons) == (0, 97, ["SW_POWER_CAP"])
    # An idle card's 0 % and a fan that stands are figures, not the lack of them.
    assert (idle.index, idle.util_pct, idle.fan_pct, idle.throttle_reasons) == (1, 0, 0, ["GPU_IDLE"])
    check_device(idle)


def test_an_h100_has_no_fan_and_says_so(install, gpus):
    install("h100")
    (device,) = gpus.read(0.0).devices
    check_device(device)
    waiting = unexpected(device, DIFFERENCES | {"fan_pct"})
    assert waiting.keys() == {"bandwidth.value_gb_s", "sm_active_pct", "tensor_active_pct"}
    assert set(waiting.values()) == {"known from the second reading on"}
    assert device.unavailable["fan_pct"] == "this card does not report it"
    assert device.memory_temperature_c == 62
    assert device.throttle_reasons == []


def test_a_card_that_shares_the_machines_memory(install, gpus):
    install("gb10")
    (device,) = gpus.read(0.0).devices
    check_device(device)
    total, available = memory()
    assert device.shares_ram is True
    assert device.vram.total_bytes == total
    assert device.vram.used_bytes + device.vram.free_bytes == total
    assert abs(device.vram.free_bytes - available) < 1 << 30
    assert device.unavailable["vram.reserved_bytes"] == "RAM has no driver's reserve"
    assert device.util_pct == 35
    assert device.processes[0].unavailable["used_bytes"] == "the driver does not report this process's share"


def test_a_gb10_on_a_machine_whose_ram_cannot_be_read(install, gpus, monkeypatch):
    def broken():
        raise OSError(5, "Input/output error")

    install("gb10")
    monkeypatch.setattr(psutil, "virtual_memory", broken)
    (device,) = gpus.read(0.0).devices
    check_device(device)
    assert device.vram == Memory()
    assert "Input/output error" in device.unavailable["vram.used_bytes"]


def test_an_old_driver_is_asked_the_old_way(install, gpus):
    install("old_driver", build="old")
    (device,) = gpus.read(0.0).devices
    check_device(device)
    assert device.vram == Memory(12884901888, 5368709120 + 379584512, None, 7136608256)
    assert device.unavailable["vram.reserved_bytes"] == "this driver does not report its reserve apart"
    too_old = {metric for metric, reason in device.unavailable.items() if reason.endswith("is too old to report it")}
    assert too_old >= {"bus_width_bits", "bandwidth.peak_gb_s", "sm_active_pct"}
    assert (device.link.generation, device.link.width, device.link.width_max) == (4, 8, 16)
    assert [process.pid for process in device.processes] == [1234]  # by the older form of the list
    assert device.temperature_c == 64
    assert device.throttle_reasons == ["SW_POWER_CAP"]


@pytest.mark.parametrize("code", [3, 13, 25])
def test_memory_info_falls_back_where_the_second_form_is_refused(install, gpus, code):
    """13 is FUNCTION_NOT_FOUND as a return code: the symbol is there and refuses."""
    driver = install("rtx4090")
    driver.change({"err.nvmlDeviceGetMemoryInfo_v2": code, "err.nvmlDeviceGetTemperatureV": code})
    (device,) = gpus.read(0.0).devices
    assert device.vram == Memory(25757220864, 5368709120 + 379584512, None, 20008927232)
    assert device.temperature_c == 64


def test_figures_follow_the_card(install, gpus):
    driver = install("rtx4090")
    assert gpus.read(0.0).devices[0].util_pct == 97
    driver.change({"0.util_gpu": 12, "0.power_mw": 90000})
    device = gpus.read(1.0).devices[0]
    assert (device.util_pct, device.power_w) == (12, 90)


def test_slow_figures_are_asked_every_five_seconds(install, gpus):
    driver = install("rtx4090")
    assert gpus.read(0.0).devices[0].temperature_c == 64
    driver.change({"0.temperature": 70, "0.fan": 55})
    assert gpus.read(4.9).devices[0].temperature_c == 64
    device = gpus.read(5.0).devices[0]
    assert (device.temperature_c, device.fan_pct) == (70, 55)


def test_static_facts_are_asked_once(install, gpus):
    driver = install("rtx4090")
    gpus.read(0.0)
    driver.change({"0.name": "Another name", "err.nvmlDeviceGetUUID": 999})
    device = gpus.read(10.0).devices[0]
    assert device.name == "NVIDIA GeForce RTX 4090"
    assert device.uuid is not None


def test_a_card_that_is_added_while_the_other_is_well_is_noticed(install, gpus):
    driver = install("2x4090")
    driver.change({"device_count": 1})
    assert len(gpus.read(0.0).devices) == 1
    driver.change({"device_count": 2})
    assert len(gpus.read(9.9).devices) == 1
    assert [device.util_pct for device in gpus.read(10.0).devices] == [97, 0]
    assert driver.started() == 1
    driver.change({"err.nvmlDeviceGetCount_v2": 999})  # a question that fails now and then takes no card away
    assert [device.util_pct for device in gpus.read(20.0).devices] == [97, 0]


def test_versions_that_are_garbage_have_a_reason(install, gpus):
    install("rtx4090").change({"driver_version": "\\x1b\\x07", "cuda_version": 4294967295})
    reading = gpus.read(0.0)
    assert (reading.driver, reading.cuda) == (None, None)
    assert set(reading.unavailable) == {"driver", "cuda"}
    assert all(reason.isprintable() for reason in reading.unavailable.values())


def test_closing_lets_go_of_the_driver(install):
    driver = install("rtx4090")
    reader = Gpus()
    reader.read(0.0)
    assert driver.started() == 1
    reader.close()
    reader.close()
    assert driver.started() == 0
