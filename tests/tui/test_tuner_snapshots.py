"""Pictures of the tuner at the sizes that must work."""

import time

import pytest
from frozen_tuner import SERVER_KEPT, FrozenTuner, run_state_of, server_run_state_of
from pictured import each_look
from simulated_card import GB, Card

SIZES = [(80, 24), (120, 40), (200, 50)]
NAMES = ["80x24", "120x40", "200x50"]


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.mark.parametrize("size", SIZES, ids=NAMES)
def test_a_probe_runs(snap_compare, size):
    assert snap_compare(FrozenTuner(run_state_of(5)), terminal_size=size)


@pytest.mark.parametrize("size", SIZES, ids=NAMES)
def test_the_answer(snap_compare, size):
    assert snap_compare(FrozenTuner(run_state_of()), press=["tab"], terminal_size=size)


@pytest.mark.parametrize("size", SIZES[:2], ids=NAMES[:2])
def test_earlier_tunings(snap_compare, size):
    assert snap_compare(FrozenTuner(None), press=["down"], terminal_size=size)


def test_the_answer_in_light(snap_compare):
    assert snap_compare(FrozenTuner(run_state_of(), "phitui-light"), terminal_size=(120, 40))


@pytest.mark.colours_256
@pytest.mark.parametrize("probes", [5, None], ids=["a-probe-runs", "answer"])
def test_in_256_colours(snap_compare, probes):
    assert snap_compare(FrozenTuner(run_state_of(probes)), press=["tab"], terminal_size=(80, 24))


def test_out_of_memory_in_ascii_and_light(snap_compare):
    run_state = run_state_of(card=Card(5, total_bytes=12 * GB, limit_share=1.05, memory_noise=0.08))
    assert snap_compare(FrozenTuner(run_state, "phitui-light", ascii_only=True), terminal_size=(120, 40))


def test_memory_in_the_terminals_own_colours(snap_compare):
    assert snap_compare(FrozenTuner(run_state_of(5), "terminal"), press=["v"], terminal_size=(80, 24))


def on_server(run_state, theme, kept=SERVER_KEPT):
    return FrozenTuner(run_state, theme, kept=kept, server=True)


@each_look
def test_a_probe_of_a_server_runs(snap_compare, size, theme):
    assert snap_compare(on_server(server_run_state_of(7), theme), terminal_size=size)


@each_look
def test_the_answer_of_a_server(snap_compare, size, theme):
    assert snap_compare(on_server(server_run_state_of(), theme), terminal_size=size)


@pytest.mark.parametrize("size", SIZES[:2], ids=NAMES[:2])
def test_earlier_tunings_of_a_server(snap_compare, size):
    assert snap_compare(on_server(None, "phitui-dark"), press=["down"], terminal_size=size)


def test_what_bounds_a_server_and_its_answer_where_it_is_narrow(snap_compare):
    assert snap_compare(on_server(server_run_state_of(), "phitui-dark"), press=["v", "tab"], terminal_size=(80, 24))


def test_the_form_for_a_server(snap_compare):
    assert snap_compare(on_server(None, "phitui-light"), press=["s"], terminal_size=(80, 24))


@each_look
def test_the_form(snap_compare, size, theme):
    assert snap_compare(FrozenTuner(run_state_of(), theme), press=["s"], terminal_size=size)
