"""From exporters' texts to figures: units by hand, and texts that are not what they should be."""

import random

import pytest
from exporter_texts import dcgm, node, nvitop

from phitui.hardware.exporters.exporters import MOST_DEVICES, Exporter
from phitui.hardware.exporters.exposition import NotMetrics, samples
from phitui.hardware.figures import BOUNDS

MIB = 1 << 20


def test_dcgm_exporter():
    told = Exporter("gpu1", memory_gb_s=3352).read(dcgm(gpus=2))
    assert told.kinds == ("dcgm",)
    card, second = told.devices
    assert (card.host, card.kind, card.index, card.name, card.uuid) == (
        *("gpu1", "gpu", 0, "NVIDIA H100 80GB HBM3"),
        "GPU-0000-0",
    )
    assert second.index == 1
    assert (card.util_pct, card.memory_busy_pct, card.temperature_c, card.memory_temperature_c) == (41, 17, 55, 61)
    assert (card.vram.used_bytes, card.vram.free_bytes) == (20_000 * MIB, 60_000 * MIB)
    assert card.vram.total_bytes == 80_559 * MIB and card.vram.reserved_bytes == 559 * MIB
    assert card.power_w == 305.25 and card.power_limit_w is None
    assert card.unavailable["power_limit_w"] == "the exporter does not report DCGM_FI_DEV_POWER_MGMT_LIMIT"
    assert (card.sm_clock_mhz, card.mem_clock_mhz) == (1980, 2619)
    assert card.energy_j == 7_200_000 and card.tensor_active_pct == 25
    assert card.link.tx_gb_s == 2
    assert (card.bandwidth.value_gb_s, card.bandwidth.peak_gb_s, card.bandwidth.source) == (1676, 3352, "measured")
    known = {"util_pct", "vram.total_bytes", "bandwidth.value_gb_s", "bandwidth.peak_gb_s"}
    assert not known & set(card.unavailable)


def test_without_the_peak_the_share_is_told_and_no_bandwidth():
    card = Exporter("gpu1").read(dcgm()).devices[0]
    assert card.bandwidth.value_gb_s is None
    assert "50 % of its peak" in card.unavailable["bandwidth.value_gb_s"]
    assert "hosts.gpu1.memory_gb_s" in card.unavailable["bandwidth.peak_gb_s"]


def test_nvitop_exporter():
    told = Exporter("box").read(nvitop())
    (card,) = told.devices
    assert (card.name, card.uuid, card.util_pct, card.memory_busy_pct) == (
        "NVIDIA GeForce RTX 4090",
        "GPU-1111",
        12,
        3,
    )
    assert (card.vram.total_bytes, card.vram.used_bytes) == (24564 * MIB, 1024 * MIB)
    assert (card.power_w, card.power_limit_w, card.fan_pct) == (61.5, 450, 30)
    assert card.link.tx_gb_s == pytest.approx(1.073741824)
    assert (told.host.cpu_pct, told.host.load1, told.host.ram_total_bytes) == (7.5, 1.25, 1 << 36)


def test_node_exporter_needs_two_readings_for_the_cpu():
    exporter = Exporter("box")
    first = exporter.read(node(busy=100, idle=900))
    assert first.devices[0].kind == "cpu" and first.devices[0].util_pct is None
    assert "second reading" in first.devices[0].unavailable["util_pct"]
    second = exporter.read(node(busy=103, idle=901)).devices[0]
    assert second.util_pct == pytest.approx(75)
    assert (second.vram.total_bytes, second.vram.used_bytes) == (1 << 34, 1 << 32)
    host = exporter.read(node(busy=0, idle=0)).host  # it has started anew
    assert host.cpu_pct is None and host.load1 == 0.42 and host.cpus == 2


def test_dcgm_and_node_behind_one_address():
    told = Exporter("box").read(dcgm() + node(1, 1))
    assert told.kinds == ("dcgm", "node")
    assert [device.kind for device in told.devices] == ["gpu"] and told.host.load1 == 0.42


@pytest.mark.parametrize("value", ["9223372036854775794", "-1", "NaN", "+Inf", "101", "1e400"])
def test_a_value_that_cannot_be_is_not_shown(value):
    text = dcgm().replace(b"} 41\n", f"}} {value}\n".encode())
    card = Exporter("gpu1").read(text).devices[0]
    assert card.util_pct is None and card.unavailable["util_pct"]
    assert card.power_w == 305.25


def test_labels_with_escapes_do_not_reach_the_terminal():
    name = rb'modelName="a\"b\\c\n' + b"\x1b[31m\xff" + rb'"'
    card = Exporter("gpu1").read(dcgm().replace(b'modelName="NVIDIA H100 80GB HBM3"', name)).devices[0]
    assert card.name.isprintable() and card.name.startswith('a"b\\c') and "\x1b" not in card.name


def test_a_container_for_each_card_is_one_card_and_a_slice_is_its_own():
    text = dcgm()
    pods = text.replace(b'Hostname="node-a"', b'Hostname="node-a",pod="x"')
    mig = text.replace(b'Hostname="node-a"', b'Hostname="node-a",GPU_I_ID="7",GPU_I_PROFILE="1g.10gb"')
    devices = Exporter("gpu1").read(text + pods + mig).devices
    assert [device.mig for device in devices] == ["", "1g.10gb"]


def test_so_many_cards_are_not_believed():
    assert len(Exporter("gpu1").read(dcgm(gpus=200)).devices) == MOST_DEVICES


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "no metrics of dcgm"),
        (b"<html><body>404</body></html>", "no metrics of dcgm"),
        (b"go_threads 8\n", "but go_threads and others"),
        (b'DCGM_FI_DEV_GPU_UTIL{gpu="0" 5\n', "no sample"),
        (b"node_load1 x\n", "no sample"),
        (b'node_load1{a="' + b"x" * 9000 + b'"} 1\n', "a line of more than"),
        (b"node_load1 1\n" * 20_001, "more than 20,000 samples"),
        (b"\x00\xff\xfe" * 1000, "no metrics"),
    ],
)
def test_what_is_no_metrics(text, why):
    with pytest.raises(NotMetrics, match=why):
        Exporter("gpu1").read(text)


def test_what_is_wrong_in_lines_that_nobody_wants_is_no_matter():
    assert samples(b"junk{ 5 6 7\nnode_load1 1\n" + b"x" * 100_000 + b" 1\n", {"node_load1"})[0].value == 1


def test_whatever_is_sent_no_figure_is_out_of_range():
    chance = random.Random(8)
    text = dcgm(gpus=2) + nvitop() + node(5, 5)
    for _ in range(150):
        broken = bytearray(text)
        for _ in range(chance.randrange(1, 12)):
            place = chance.randrange(len(broken))
            broken[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        try:
            told = Exporter("box", 1000).read(bytes(broken))
        except NotMetrics:
            continue
        for device in told.devices:
            for figure in ("util_pct", "power_w", "temperature_c", "sm_clock_mhz"):
                value = getattr(device, figure)
                assert value is None or BOUNDS[figure].low <= value <= BOUNDS[figure].high
                assert (value is None) == (figure in device.unavailable)
