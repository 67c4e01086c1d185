"""How large the batches of a job are."""

import msgspec
import pytest

from phitui.config import load_config
from phitui.engine.api import Loaded
from phitui.jobs.batch_plan import plan_for
from phitui.jobs.tunings import conditions, tunings_file
from phitui.models.manifest import read_manifest
from phitui.store.tunings import Tuning, write_tuning


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
    write_tuning(tunings_file(), tuning(manifest))
    newer = tuning(manifest, made="2026-02-01", batch=50)
    write_tuning(
        tunings_file(), msgspec.structs.replace(newer, conditions=conditions(manifest, "cpu", "float32", 2000))
    )
    assert plan_for(load_config(), manifest, loaded)[:2] == (50, 46_080)
    assert "as tuned" in plan_for(load_config(), manifest, loaded).why


@pytest.mark.parametrize("other", ["compute_type", "workers", "model", "engine"])
def test_a_tuning_of_something_else_is_not_taken(manifest, loaded, other):
    if other == "workers":
        found = tuning(manifest, workers=2)
    else:
        where = msgspec.structs.replace(tuning(manifest).conditions, **{other: "another"})
        found = tuning(manifest, conditions=where)
    write_tuning(tunings_file(), found)
    assert plan_for(load_config(), manifest, loaded).batch == 26


def test_what_is_asked_for_wins_and_keeps_the_tuned_budget(manifest, loaded):
    write_tuning(tunings_file(), tuning(manifest))
    assert plan_for(load_config(), manifest, loaded, rows=7)[:2] == (7, 46_080)
