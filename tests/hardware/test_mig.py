"""A card in slices: each is a device of its own, and the card keeps its row."""

from __future__ import annotations

import pytest
from figure_checks import check_device

from phitui.hardware.nvml.gpus import Gpus
from phitui.hardware.snapshot import DEVICE_FIGURES, MEMORY_FIGURES, Memory


@pytest.fixture
def gpus():
    reader = Gpus()
    yield reader
    reader.close()


def read(gpus, now):
    devices = gpus.read(now).devices
    for device in devices:
        check_device(device)
    return devices


def test_the_card_and_its_slices(install, gpus):
    install("h100_mig")
    card, small, large = read(gpus, 0.0)
    assert (card.mig, card.power_w, card.temperature_c, card.util_pct) == ("", 212.34, 44, None)
    assert card.unavailable["util_pct"] == "this card does not report it"
    assert (small.index, small.mig, small.uuid) == (0, "1g.10gb", "MIG-1d2c3b4a-0000-5000-8000-000000000001")
    assert small.vram == Memory(10468982784, 8053063680, 0, 2415919104)
    assert small.unavailable["util_pct"] == "the driver does not report it apart for a slice of a card"
    assert [process.pid for process in small.processes] == [4321]
    # The third place is the second slice. Its name says no profile: it is worked out from its share of the card.
    assert (large.mig, large.uuid, large.processes) == ("3g.40gb", "MIG-1d2c3b4a-0000-5000-8000-000000000002", [])
    known = {*(f"vram.{part}" for part in MEMORY_FIGURES), "processes"}
    assert set(large.unavailable) == set(DEVICE_FIGURES) - known


@pytest.mark.parametrize(
    ("whole", "compute", "slices", "megabytes", "profile"),
    [
        (81559, 1, 1, 9728, "1g.10gb"),  # A100 80GB: sizes as nvidia-smi lists them
        (81559, 1, 1, 19968, "1g.20gb"),
        (81559, 1, 3, 40448, "1c.3g.40gb"),
        (81559, 7, 7, 81251, "7g.80gb"),
        (40960, 1, 1, 4864, "1g.5gb"),
        (40960, 2, 2, 9856, "2g.10gb"),
        (143771, 1, 1, 16384, "1g.18gb"),  # H200
        (81559, 1, 0, 9728, "MIG"),
        (81559, 1, 1, 1 << 40, "MIG"),
        (81559, 1, 1, 0, "MIG"),
    ],
)
def test_a_profile_from_the_share_of_the_card(install, gpus, whole, compute, slices, megabytes, profile):
    install("h100_mig").change(
        {
            "0.mem_total": whole << 20,
            "0.mig2.compute_slices": compute,
            "0.mig2.gpu_slices": slices,
            "0.mig2.memory_mb": megabytes,
        }
    )
    assert read(gpus, 0.0)[2].mig == profile


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("A100-SXM4-40GB MIG 1c.3g.20gb", "1c.3g.20gb"),
        ("H100 MIG 1g.10gb+me", "1g.10gb+me"),
        ("MIG \\x1b[2J", "3g.40gb"),
    ],
)
def test_a_profile_from_the_name(install, gpus, name, profile):
    install("h100_mig").change({"0.mig2.name": name})
    assert read(gpus, 0.0)[2].mig == profile


def test_slices_come_and_go_while_running(install, gpus):
    driver = install("h100_mig")
    uuids = [device.uuid for device in read(gpus, 0.0)]
    driver.change({"0.mig0.uuid": None})
    driver.change({f"0.mig5.{key}": driver.state[f"0.mig2.{key}"] for key in ("mem_total", "mem_used", "mem_free")})
    driver.change({"0.mig5.uuid": "MIG-new", "0.mig5.name": "H100 MIG 2g.20gb", "0.mig5.mem_reserved": 0})
    card, kept, new = read(gpus, 5.0)
    assert [card.uuid, kept.uuid] == [uuids[0], uuids[2]]
    assert (new.uuid, new.mig, new.vram.total_bytes) == ("MIG-new", "2g.20gb", 42412802048)
    driver.change({"0.mig_mode": 0, "0.util_gpu": 33, "0.util_mem": 5})
    (card,) = read(gpus, 10.0)
    assert card.util_pct == 33
    driver.change({"0.mig_mode": 1, "0.util_gpu": None, "0.util_mem": None})
    assert len(read(gpus, 15.0)) == 3


def test_a_slice_that_is_taken_away_between_two_looks(install, gpus):
    driver = install("h100_mig")
    read(gpus, 0.0)
    driver.change({"0.mig0.err": 15})
    card, gone, other = read(gpus, 1.0)
    assert card.power_w == 212.34
    assert gone.unavailable["vram.used_bytes"] == "this slice is gone"
    assert other.vram.total_bytes == 42412802048


def test_a_lost_card_keeps_the_rows_of_its_slices(install, gpus):
    driver = install("h100_mig")
    read(gpus, 0.0)
    driver.change({"0.err": 15})
    for now in (1.0, 2.0, 6.0):
        rows = read(gpus, now)
        assert [row.mig for row in rows] == ["", "1g.10gb", "3g.40gb"]
        assert all("lost" in row.unavailable["vram.used_bytes"] for row in rows)
    driver.change({"0.err": None})
    assert [row.vram.total_bytes is None for row in read(gpus, 30.0)] == [False] * 3


@pytest.mark.parametrize(
    "changes",
    [
        {"0.mig_mode": 4294967295},
        {"err.nvmlDeviceGetMigMode": 3},
        {"err.nvmlDeviceGetMigMode": 13},
        {"err.nvmlDeviceGetMaxMigDeviceCount": 999},
        {"err.nvmlDeviceGetMigDeviceHandleByIndex": 2},
        {"0.mig_max": 0},
    ],
)
def test_without_slices_there_is_the_card(install, gpus, changes):
    install("h100_mig").change(changes)
    (card,) = read(gpus, 0.0)
    assert card.power_w == 212.34


def test_more_slices_than_there_can_be(install, gpus):
    install("h100_mig").change({"0.mig_max": 4294967295})
    assert len(read(gpus, 0.0)) == 3


def test_names_of_slices_reach_nobody_raw(install, gpus):
    install("h100_mig").change({"0.mig0.name": "\\x1b]0;x\\x07 MIG 1g.10gb", "0.mig2.name": "", "0.mig2.uuid": "\\x1b"})
    _, first, second = read(gpus, 0.0)
    assert (first.name, first.mig) == ("]0;x MIG 1g.10gb", "1g.10gb")
    assert (second.name, second.uuid) == ("MIG device", None)
