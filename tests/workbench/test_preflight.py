"""What goes on before a tuning, as the stand-in driver tells it, and on this machine."""

import pytest
import standin

from phitui.autotune.probes import Goal
from phitui.workbench.measure.preflight import preflight
from phitui.workbench.tune.form import TuneForm
from phitui.workbench.tune.run_state import LocalRunState
from phitui.workbench.tune.setups import Limit

CARD = "4e1f0c52-7a3b-4d6e-9b1a-0c2d3e4f5a60"


@pytest.fixture
def card(tmp_path):
    if standin.compiler() is None:
        pytest.skip(standin.NO_COMPILER)
    driver = standin.Driver(standin.build(tmp_path), tmp_path / "state", standin.profile("rtx4090"))
    with driver.installed():
        yield driver


def test_lowered_clocks_and_other_processes_are_named(card):
    card.change({"0.clock_reasons": 0x4, "0.processes.compute": "1234:5100273664 77:2000000000"})
    seen = preflight(1.5, "cuda", CARD, engine_pid=1234)
    assert seen.throttle_reasons == ["SW_POWER_CAP"]
    assert [(one.pid, one.used_bytes) for one in seen.others if one.kind != "G"] == [(77, 2_000_000_000)]
    assert "load average 1.50" in seen.text
    assert "clocks lowered by the driver (SW_POWER_CAP)" in seen.text
    assert "(77) with 1.86 GiB" in seen.text
    assert "(1234)" not in seen.text


def test_an_idle_card_of_ones_own_is_no_warning(card):
    card.change({"0.clock_reasons": 0x1, "0.processes.compute": "1234:5100273664", "0.processes.graphics": ""})
    seen = preflight(0.1, "cuda", CARD, engine_pid=1234)
    assert (seen.throttle_reasons, seen.others) == ([], [])
    assert "clocks not lowered; no other process on the card" in seen.text


def test_what_the_driver_does_not_tell_has_its_reason(card):
    card.change({"0.clock_reasons": None, "0.clock_reasons.code": 3})
    seen = preflight(None, "cuda", CARD, engine_pid=1234)
    assert seen.throttle_reasons is None
    assert seen.missing
    assert "load average –" in seen.text
    assert f"clocks: – ({seen.missing})" in seen.text


def test_without_that_card_nothing_is_known_of_it(card):
    card.change({})
    seen = preflight(0.5, "cuda", "00000000-7a3b-4d6e-9b1a-0c2d3e4f5a60", engine_pid=1)
    assert (seen.throttle_reasons, seen.others) == (None, None)
    assert seen.missing == "the driver lists no such card"


def test_a_cpu_has_its_load_and_no_card():
    seen = preflight(0.25, "cpu", "", None)
    assert (seen.throttle_reasons, seen.others, seen.missing) == (None, None, "")
    assert seen.cores >= 1
    assert seen.text.startswith("before the first probe: load average 0.25 on ")
    assert "card" not in seen.text


def test_the_course_of_a_tuning_keeps_it_for_the_screen():
    run_state = LocalRunState(TuneForm(Goal(8, 8), Limit(0.9), True, {}), "Tiny")
    run_state.note(seen := preflight(0.25, "cpu", "", None))
    assert run_state.before == seen.text
