"""The real pynvml on the stand-in driver: all that can go wrong."""

from __future__ import annotations

import ctypes

import pynvml
import pytest
import standin
from figure_checks import check_device, unexpected

from phitui.hardware.figures import Missing
from phitui.hardware.nvml.driver import call
from phitui.hardware.nvml.gpus import Gpus
from phitui.hardware.snapshot import DEVICE_FIGURES, Memory, Reading


@pytest.fixture
def gpus():
    reader = Gpus()
    yield reader
    reader.close()


# ---- no driver ----


@pytest.mark.parametrize("content", [None, b"", b"\x7fELF, but no more than that"], ids=["missing", "empty", "broken"])
def test_no_library(monkeypatch, tmp_path, gpus, content):
    library = tmp_path / "libnvidia-ml.so.1"
    if content is not None:
        library.write_bytes(content)
    monkeypatch.setattr(pynvml, "CDLL", lambda name: ctypes.CDLL(str(library)))
    with standin.pynvml_on(None):
        assert gpus.read(0.0) == Reading([], "no NVIDIA driver library here (libnvidia-ml.so.1)")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (9, "the NVIDIA driver is not loaded"),
        (18, "different versions: reboot"),
        (4, "no permission"),
        (999, "unknown error"),
        (77, "the driver answered with error 77"),
    ],
)
def test_a_start_that_fails_is_one_clear_line(install, gpus, code, reason):
    install("rtx4090").change({"err.nvmlInitWithFlags": code})
    reading = gpus.read(0.0)
    assert reading.devices == []
    assert reason in reading.reason
    assert "\n" not in reading.reason


def test_a_driver_that_is_loaded_later_is_found(install, gpus):
    driver = install("rtx4090")
    driver.change({"err.nvmlInitWithFlags": 9})
    assert gpus.read(0.0).devices == []
    driver.change({"err.nvmlInitWithFlags": None})
    assert gpus.read(4.0).devices == []
    assert gpus.read(5.0).devices[0].util_pct == 97


@pytest.mark.parametrize(
    ("count", "reason"), [(0, "the driver sees no GPU"), (4294967295, "the driver reports 4294967295 GPUs")]
)
def test_a_driver_without_cards(install, gpus, count, reason):
    install("rtx4090").change({"device_count": count})
    assert gpus.read(0.0) == Reading([], reason, "550.54.14", "12.4")


# ---- one question refused ----


def test_one_refused_question_leaves_the_others(install, gpus):
    install("rtx4090").change({"err.nvmlDeviceGetPowerUsage": 4, "err.nvmlDeviceGetUtilizationRates": 999})
    (device,) = gpus.read(0.0).devices
    check_device(device)
    assert unexpected(device) == {
        "power_w": "no permission",
        "util_pct": "the driver answered 'unknown error'",
        "memory_busy_pct": "the driver answered 'unknown error'",
        "bandwidth.value_gb_s": (
            "not measured: this card has no such counters; memory busy: the driver answered 'unknown error'"
        ),
    }
    assert device.vram.used_bytes == 5368709120


def test_a_function_that_is_not_there_and_one_that_says_so(install, gpus):
    """Both routes to FUNCTION_NOT_FOUND: no symbol, and return code 13."""
    install("old_driver", build="old")
    missing_symbol = call("nvmlDeviceGetCurrentClocksEventReasons", None)
    driver = install("rtx4090")
    driver.change({f"err.nvmlDeviceGetCurrentClocks{kind}Reasons": 13 for kind in ("Event", "Throttle")})
    (device,) = gpus.read(0.0).devices
    assert missing_symbol == Missing("this driver is too old to report it", 13)
    assert unexpected(device) == {"throttle_reasons": missing_symbol.reason}


@pytest.mark.skipif(not hasattr(pynvml, "nvmlDeviceGetTemperatureV"), reason="this nvidia-ml-py asks the old way only")
def test_the_reason_says_more_than_too_old_where_it_can(install, gpus):
    """A driver that has retired the old form of a question which the card cannot answer in the new one."""
    install("rtx4090").change({"0.temperature": None, "err.nvmlDeviceGetTemperature": 13})
    assert unexpected(gpus.read(0.0).devices[0]) == {"temperature_c": "this card does not report it"}


def test_a_function_that_pynvml_does_not_know():
    assert call("nvmlDeviceGetNothingOfTheKind", 1) == Missing("the installed nvidia-ml-py is too old for it", 13)


def test_success_that_is_an_error(monkeypatch):
    def answer() -> None:
        raise pynvml.NVMLError(pynvml.NVML_SUCCESS)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", answer)
    assert call("nvmlDeviceGetCount") == Missing("the driver answered with nothing", 0)


def test_wrong_arguments_do_not_raise(install):
    install("rtx4090")
    assert isinstance(call("nvmlDeviceGetPowerUsage", "no handle"), Missing)
    assert isinstance(call("nvmlDeviceGetPowerUsage"), Missing)


# ---- lost cards ----


def test_a_lost_card_says_so_while_the_other_goes_on_and_comes_back(install, gpus):
    driver = install("2x4090")
    gpus.read(0.0)
    driver.change({"0.err": 15, "1.util_gpu": 50})
    lost, other = gpus.read(1.0).devices
    check_device(lost)
    assert lost.name == "NVIDIA GeForce RTX 4090"
    assert set(lost.unavailable) == set(DEVICE_FIGURES)
    assert all("lost" in reason for reason in lost.unavailable.values())
    assert (other.index, other.util_pct) == (1, 50)
    for now in (2.0, 5.0, 6.0):  # through a fresh start of NVML and beyond it
        lost, other = gpus.read(now).devices
        assert (lost.index, lost.util_pct, other.index, other.util_pct) == (0, None, 1, 50)
    driver.change({"0.err": None, "0.util_gpu": 5})
    back, other = gpus.read(7.0).devices
    assert (back.index, back.util_pct, back.temperature_c) == (0, 5, 64)
    assert other.util_pct == 50


def test_a_card_that_was_reset_gets_a_fresh_handle(install, gpus):
    driver = install("2x4090")
    gpus.read(0.0)
    driver.change({"1.epoch": 1})
    assert [device.util_pct for device in gpus.read(1.0).devices] == [97, None]
    assert [device.util_pct for device in gpus.read(2.0).devices] == [97, 0]


def test_a_reloaded_driver_is_started_again(install, gpus):
    driver = install("2x4090")
    gpus.read(0.0)
    driver.change({"driver_epoch": 1})
    for now in (1.0, 2.0):
        assert [device.util_pct for device in gpus.read(now).devices] == [None, None]
    assert [device.util_pct for device in gpus.read(5.0).devices] == [97, 0]
    assert driver.started() == 1


def test_an_unloaded_driver_keeps_the_rows(install, gpus):
    driver = install("2x4090")
    gpus.read(0.0)
    driver.change({"driver_epoch": 1, "err.nvmlInitWithFlags": 9})
    gpus.read(1.0)
    devices = gpus.read(5.0).devices
    assert [device.unavailable["util_pct"] for device in devices] == ["the NVIDIA driver is not loaded"] * 2
    driver.change({"err.nvmlInitWithFlags": None})
    assert [device.util_pct for device in gpus.read(60.0).devices] == [97, 0]


def test_cards_are_known_again_by_uuid_when_the_list_shifts(install, gpus):
    driver = install("2x4090")
    first, second = (device.uuid for device in gpus.read(0.0).devices)
    one_left = {key.replace("1.", "0.", 1): v for key, v in driver.state.items() if key.startswith("1.")}
    driver.change({**one_left, "device_count": 1, "0.epoch": 1})
    gpus.read(1.0)
    gone, left = gpus.read(5.0).devices
    assert (gone.index, gone.uuid, gone.util_pct) == (0, first, None)
    assert gone.unavailable["util_pct"] == "the driver no longer lists this GPU"
    assert (left.index, left.uuid, left.util_pct) == (1, second, 0)
    driver.change({"0.epoch": 2})  # and is opened again at its new place
    gpus.read(6.0)
    assert gpus.read(7.0).devices[1].util_pct == 0


def test_a_card_that_may_not_be_opened_has_a_row(install, gpus):
    driver = install("2x4090")
    driver.change({"1.err.nvmlDeviceGetHandleByIndex_v2": 4})
    open_, closed = gpus.read(0.0).devices
    assert open_.util_pct == 97
    assert (closed.index, closed.name, closed.unavailable["util_pct"]) == (1, "GPU 1", "no permission")
    check_device(closed)
    driver.change({"1.err.nvmlDeviceGetHandleByIndex_v2": None})
    opened = gpus.read(5.0).devices[1]
    check_device(opened)
    assert (opened.name, opened.uuid) == (driver.state["1.name"], driver.state["1.uuid"])


def test_two_cards_with_one_uuid_stay_two(install, gpus):
    driver = install("2x4090")
    driver.change({"1.uuid": driver.state["0.uuid"]})
    for now in (0.0, 1.0):
        assert [device.util_pct for device in gpus.read(now).devices] == [97, 0]
    driver.change({"driver_epoch": 1})
    gpus.read(2.0)
    assert [device.util_pct for device in gpus.read(9.0).devices] == [97, 0]


# ---- garbage ----


@pytest.mark.parametrize(
    ("key", "value", "metric"),
    [
        ("0.util_gpu", 101, "util_pct"),
        ("0.util_mem", 4294967295, "memory_busy_pct"),
        ("0.fan", 255, "fan_pct"),
        ("0.power_mw", 4294967295, "power_w"),
        ("0.power_mw", 0, "power_w"),
        ("0.power_limit_mw", 0, "power_limit_w"),
        ("0.temperature", 511, "temperature_c"),
        ("0.temperature", 4294966999, "temperature_c"),
        ("0.sm_clock", 0, "sm_clock_mhz"),
        ("0.mem_clock", 4294967295, "mem_clock_mhz"),
        ("0.mem_total", 0, "vram.total_bytes"),
        ("0.mem_used", 18446744073709551615, "vram.used_bytes"),
        ("0.energy_mj", 1 << 63, "energy_j"),
        ("0.field.186", 0, "power_instant_w"),
        ("0.field.82", 0, "memory_temperature_c"),
        ("0.field.82", 255, "memory_temperature_c"),
        ("0.sm_clock_max", 0, "sm_clock_max_mhz"),
        ("0.mem_clock_max", 4294967295, "mem_clock_max_mhz"),
        ("0.bus_width", 0, "bus_width_bits"),
        ("0.pcie_gen", 0, "link.generation"),
        ("0.pcie_width", 4294967295, "link.width"),
        ("0.pcie_gen_max", 11, "link.generation_max"),
        ("0.pcie_width_max", 0, "link.width_max"),
    ],
)
def test_a_figure_that_cannot_be_is_not_shown(install, gpus, key, value, metric):
    install("rtx4090").change({key: value})
    (device,) = gpus.read(0.0).devices
    check_device(device)
    assert "out of range" in device.unavailable[metric]
    assert device.throttle_reasons == ["SW_POWER_CAP"]


def test_memory_that_does_not_add_up(install, gpus):
    install("rtx4090").change({"0.mem_used": 25757220864})
    (device,) = gpus.read(0.0).devices
    check_device(device)
    assert device.vram == Memory(25757220864)
    assert device.unavailable["vram.used_bytes"] == "the driver's figures add up to more than the total"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mRTX\x07 9000\x9b".encode(), "[31mRTX 9000"),
        ("RTX \u202e0904\u202c \u2028x".encode(), "RTX 0904 x"),
        (b"RTX \xff\xfe 4090", "RTX \ufffd\ufffd 4090"),
        (b"\x1b\x08\x7f", "GPU 0"),
        (b"", "GPU 0"),
    ],
)
def test_names_reach_nobody_raw(install, gpus, raw, shown):
    install("rtx4090").change({"0.name": standin.escaped(raw)})
    (device,) = gpus.read(0.0).devices
    check_device(device)
    assert device.name == shown


def test_unknown_clock_reasons_are_named_by_their_bits(install, gpus):
    install("rtx4090").change({"0.clock_reasons": 0x8000000000000044})
    (device,) = gpus.read(0.0).devices
    assert device.throttle_reasons == ["SW_POWER_CAP", "HW_THERMAL_SLOWDOWN", "UNKNOWN_0x8000000000000000"]
