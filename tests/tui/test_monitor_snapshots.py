"""Pictures of the monitor at the sizes that must work."""

import time

import pytest
from frozen_monitor import CARD, CPU, LOST, FrozenMonitor, snapshots

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


def test_ascii_and_light(snap_compare):
    assert snap_compare(FrozenMonitor(snapshots(CARD), "phitui-light", ascii_only=True), terminal_size=(120, 40))


def test_the_terminals_own_colours(snap_compare):
    assert snap_compare(FrozenMonitor(snapshots(CARD), "terminal"), terminal_size=(80, 24))


def test_why_figures_are_missing(snap_compare):
    assert snap_compare(FrozenMonitor(snapshots(CARD, LOST)), press=["tab", "w"], terminal_size=(120, 40))
