"""The memory's rate is measured once per machine, in a process that leaves nothing behind."""

import asyncio
import json
import os

import psutil
import pytest
from support.waiting import until

from phitui.workbench.telemetry.calibration import known_rate, measure_rate


def measurers():
    return [
        child
        for child in psutil.Process().children()
        if any("phitui.hardware.host.copy_rate" in word for word in child.cmdline())
    ]


async def test_it_is_measured_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    profiles = tmp_path / "profiles.json"
    assert known_rate(profiles) is None
    rate = await measure_rate(profiles, tmp_path / "log")
    assert rate is not None, (tmp_path / "log").read_text()
    assert known_rate(profiles) == rate
    assert measurers() == []


async def test_one_of_a_busy_machine_is_taken_again_on_an_idle_one(tmp_path, monkeypatch):
    profiles = tmp_path / "profiles.json"
    monkeypatch.setattr(os, "getloadavg", lambda: (900.0, 0.0, 0.0))
    await measure_rate(profiles, tmp_path / "log")
    assert known_rate(profiles) is not None  # still as busy: no better one is to be had
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    assert known_rate(profiles) is None


async def test_a_prompt_need_not_wait_for_it(tmp_path):
    task = asyncio.create_task(measure_rate(tmp_path / "profiles.json", tmp_path / "log"))
    await until(measurers)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert measurers() == []
    assert not (tmp_path / "profiles.json").exists()


async def test_a_kept_rate_that_was_edited_is_no_rate(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    profiles = tmp_path / "profiles.json"
    await measure_rate(profiles, tmp_path / "log")
    good = json.loads(profiles.read_text())
    for damage in ({"read_gb_s": "fast"}, {"read_gb_s": 0.0}, {"load": None}):
        profiles.write_text(json.dumps({key: {**value, **damage} for key, value in good.items()}))
        assert known_rate(profiles) is None
