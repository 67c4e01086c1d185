"""How large the batches of a job are."""

import os

import msgspec
import pytest
import standin

from phitui.config.layers import home, load_config
from phitui.engine.protocol.api import Loaded
from phitui.models.manifest import read_manifest
from phitui.storage.tunings import TUNINGS, Tuning
from phitui.workbench.batch.plan import plan_for
from phitui.workbench.measure.usable import usable_bytes
from phitui.workbench.tune.profiles import profiles
from phitui.workbench.tune.saved import conditions


@pytest.fixture
def manifest(tiny_folder):
    return read_manifest(tiny_folder)


@pytest.fixture
def loaded(manifest):
    return Loaded(manifest.name, "Tiny", "cpu", "float32", 1, 4096, 1, 0.1, "")


def tuning(manifest, made="2026-01-01", **changes):
    found = Tuning(
        conditions(manifest, "cpu", "float32", 512),
        manifest.name,
        made,
        256,
        256,
        1,
        1,
        40,
        90,
        46_080,
        900.0,
        1,
        2,
        "",
    )
    return msgspec.structs.replace(found, **changes)


def test_without_a_tuning_it_is_as_configured(manifest, loaded):
    config = load_config(overrides={"engine": {"batch": 12, "kv_tokens": 3000}})
    assert plan_for(config, manifest, loaded)[:3] == (12, 3000, None)
    assert "0 tokens" not in plan_for(load_config(), manifest, loaded).why


def test_the_newest_tuning_that_holds_is_taken(manifest, loaded):
    TUNINGS.add(home(), tuning(manifest))
    newer = tuning(manifest, made="2026-02-01", batch=50)
    TUNINGS.add(home(), msgspec.structs.replace(newer, conditions=conditions(manifest, "cpu", "float32", 2000)))
    assert plan_for(load_config(), manifest, loaded)[:2] == (50, 46_080)
    assert "as tuned" in plan_for(load_config(), manifest, loaded).why


def test_what_is_applied_goes_before_the_newest_tuning(manifest, loaded):
    """An earlier profile that a person applied is in the configuration; the newest one is not asked then."""
    TUNINGS.add(home(), tuning(manifest))
    applied = load_config(overrides={"engine": {"batch": 26, "kv_tokens": 9000}})
    assert plan_for(applied, manifest, loaded)[:2] == (26, 9000)


@pytest.mark.parametrize("other", ["compute_type", "workers", "threads", "model", "engine"])
def test_a_tuning_of_something_else_is_not_taken(manifest, loaded, other):
    if other in ("workers", "threads"):
        found = tuning(manifest, **{other: 2})
    else:
        where = msgspec.structs.replace(tuning(manifest).conditions, **{other: "another"})
        found = tuning(manifest, conditions=where)
    TUNINGS.add(home(), found)
    assert plan_for(load_config(), manifest, loaded).batch == 26


def test_what_is_asked_for_wins_and_keeps_the_tuned_budget(manifest, loaded):
    TUNINGS.add(home(), tuning(manifest))
    assert plan_for(load_config(), manifest, loaded, rows=7)[:2] == (7, 46_080)


def test_a_tuning_that_memory_has_no_room_for_gives_its_times_alone(manifest, loaded):
    """A smaller one that has room is taken in its place."""
    TUNINGS.add(home(), tuning(manifest, peak_bytes=10**15, step_fixed_s=0.01, step_row_s=0.001))
    plan = plan_for(load_config(), manifest, loaded, engine_pid=os.getpid())
    assert (plan.batch, plan.kv_tokens, plan.cost.step_fixed_s) == (26, 0, 0.01)
    assert "what was tuned has no room: it takes 931322.57 GiB" in plan.why
    where = conditions(manifest, "cpu", "float32", 2000)
    TUNINGS.add(home(), tuning(manifest, made="2025-01-01", batch=8, conditions=where))
    assert plan_for(load_config(), manifest, loaded, engine_pid=os.getpid()).batch == 8


@pytest.mark.skipif(standin.compiler() is None, reason=standin.NO_COMPILER)
def test_on_a_card_what_is_free_counts_with_what_the_engine_has(tmp_path, tiny_folder, manifest, loaded):
    card = "4e1f0c52-7a3b-4d6e-9b1a-0c2d3e4f5a60"
    on_card = msgspec.structs.replace(loaded, device="cuda", device_uuid=card)
    driver = standin.Driver(standin.build(tmp_path), tmp_path / "state", standin.profile("rtx4090"))
    with driver.installed():
        driver.change({"0.processes.compute": "1234:5000000000"})
        free = usable_bytes("cuda", card, None)
        assert usable_bytes("cuda", card, 1234) == free + 5_000_000_000
        assert usable_bytes("cuda", card, 99) is None  # in a container the driver has other ids
        where = conditions(manifest, "cuda", "float32", 512, card)
        TUNINGS.add(home(), tuning(manifest, conditions=where, peak_bytes=free + 4_000_000_000))
        assert plan_for(load_config(), manifest, on_card, engine_pid=1234).batch == 40
        driver.change({"0.processes.compute": "1234:3000000000"})
        assert plan_for(load_config(), manifest, on_card, engine_pid=1234).batch == 26
        (kept,) = profiles(str(tiny_folder), 1234)[0]
        assert kept.problem.startswith("it takes")
