"""What `phitui doctor` learns of the driver."""

from __future__ import annotations

import ctypes
import time

import pynvml
import pytest
import standin

from phitui.hardware.nvml.probe import DriverReport, Gpu, probe_driver

UUIDS = ("GPU-4e1f0c52-7a3b-4d6e-9b1a-0c2d3e4f5a60", "GPU-b7c8d9e0-1f2a-4b3c-8d4e-5f60718293a4")


def test_two_cards(install):
    driver = install("2x4090")
    card = "NVIDIA GeForce RTX 4090"
    assert probe_driver() == DriverReport(
        "550.54.14",
        "12.4",
        [Gpu(0, card, "8.9", 25757220864, uuid=UUIDS[0]), Gpu(1, card, "8.9", 25757220864, uuid=UUIDS[1])],
    )
    assert driver.started() == 0


def test_an_old_driver(install):
    install("old_driver", build="old")
    report = probe_driver()
    assert (report.driver, report.cuda, report.reason) == ("470.256.02", "11.4", "")
    assert (report.gpus[0].compute_capability, report.gpus[0].vram_bytes) == ("8.6", 12884901888)


def test_no_library(monkeypatch, tmp_path):
    monkeypatch.setattr(pynvml, "CDLL", lambda name: ctypes.CDLL(str(tmp_path / "missing.so")))
    with standin.pynvml_on(None):
        assert probe_driver() == DriverReport(reason="no NVIDIA driver library here (libnvidia-ml.so.1)")


@pytest.mark.parametrize(("code", "words"), [(9, "not loaded"), (18, "different versions")])
def test_a_driver_that_does_not_start(install, code, words):
    install("rtx4090").change({"err.nvmlInitWithFlags": code})
    assert words in probe_driver().reason


def test_a_driver_that_does_not_answer(install):
    install("rtx4090").change({"delay_us.nvmlInitWithFlags": 3_600_000_000})
    begin = time.monotonic()
    assert probe_driver(limit_s=0.3).reason == "the driver has not answered for 0.3 s"
    assert time.monotonic() - begin < 30  # the call hangs for an hour


def test_a_driver_without_cards(install):
    install("rtx4090").change({"device_count": 0})
    report = probe_driver()
    assert (report.driver, report.gpus, report.reason) == ("550.54.14", [], "the driver sees no GPU")


def test_one_card_is_lost_and_one_is_not(install):
    install("2x4090").change({"0.err": 15})
    report = probe_driver()
    assert report.reason == ""
    assert "lost" in report.gpus[0].unavailable["compute_capability"]
    assert report.gpus[1].compute_capability == "8.9"


def test_no_card_answers(install):
    install("rtx4090").change({"err.nvmlDeviceGetHandleByIndex_v2": 999})
    report = probe_driver()
    assert report.reason == "no card answers"
    assert report.gpus[0].unavailable["vram_bytes"] == "the driver answered 'unknown error'"


def test_garbage(install):
    install("rtx4090").change(
        {"cuda_version": 4294967295, "driver_version": "\\x1b\\x07", "0.cc_major": 0, "0.mem_total": 0}
    )
    report = probe_driver()
    assert (report.driver, report.cuda) == (None, None)
    assert set(report.unavailable) == {"driver", "cuda"}
    assert report.gpus[0].compute_capability is None
    assert "out of range" in report.gpus[0].unavailable["compute_capability"]
