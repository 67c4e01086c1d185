"""Pictures of the monitor at the sizes that must work."""

import time

import msgspec
import pytest
from frozen_monitor import CARD, CPU, HOST, LOST, FrozenMonitor, snapshots

from phitui.hardware.snapshot import OtherHost

SIZES = [(80, 24), (120, 40), (200, 50)]
NAMES = ["80x24", "120x40", "200x50"]


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.mark.parametrize("size", SIZES, ids=NAMES)
def test_one_card(snap_compare, size):
    assert snap_compare(FrozenMonitor(snapshots(CARD)), terminal_size=size)


@pytest.mark.parametrize("size", SIZES, ids=NAMES)
def test_two_cards_one_of_them_lost(snap_compare, size):
    assert snap_compare(FrozenMonitor(snapshots(CARD, LOST)), terminal_size=size)


@pytest.mark.parametrize("size", SIZES, ids=NAMES)
def test_without_a_card(snap_compare, size):
    shown = snapshots(CPU, reason="no NVIDIA driver library here (libnvidia-ml.so.1)")
    assert snap_compare(FrozenMonitor(shown), terminal_size=size)


def other_hosts():
    """Three machines: one that answers, one that is late, and one that answered once and is lost."""
    card = msgspec.structs.replace(CARD, processes=None)
    stale = msgspec.structs.replace(card, host="gpu2", stale_s=8.0, stale_why="gpu2: no whole answer within 5 s")
    gone = "gpu3 cannot be reached: Connection refused"
    lost = msgspec.structs.replace(card.without_figures(gone), host="gpu3", stale_s=95.0, stale_why=gone, lost=True)
    hosts = [
        OtherHost("gpu1", "fresh", [msgspec.structs.replace(card, host="gpu1")], HOST, 0.5),
        OtherHost("gpu2", "stale", [stale], HOST, 8.0, stale.stale_why),
        OtherHost("gpu3", "lost", [lost], age_s=95.0, reason=gone),
    ]
    for snapshot in snapshots(CARD):
        yield msgspec.structs.replace(snapshot, hosts=hosts)


def test_other_hosts_fresh_stale_and_lost(snap_compare):
    assert snap_compare(FrozenMonitor(other_hosts()), terminal_size=(120, 40))


def test_light(snap_compare):
    assert snap_compare(FrozenMonitor(snapshots(CARD, LOST), "phitui-light"), terminal_size=(120, 40))


@pytest.mark.colours_256
def test_in_256_colours(snap_compare):
    assert snap_compare(FrozenMonitor(snapshots(CARD, LOST)), terminal_size=(80, 24))


def test_ascii_and_light(snap_compare):
    assert snap_compare(FrozenMonitor(snapshots(CARD), "phitui-light", ascii_only=True), terminal_size=(120, 40))


def test_the_terminals_own_colours(snap_compare):
    assert snap_compare(FrozenMonitor(snapshots(CARD), "terminal"), terminal_size=(80, 24))


def test_why_figures_are_missing(snap_compare):
    assert snap_compare(FrozenMonitor(snapshots(CARD, LOST)), press=["tab", "w"], terminal_size=(120, 40))
