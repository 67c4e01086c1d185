"""What the tuner is given: limits as they are written, configurations to try, a model's memory."""

import pytest

from phitui.engine.threads import usable_cores
from phitui.errors import UsageError
from phitui.jobs.tuning_model import Limit, Setup, compute_types, memory_model, parse_limit, setups
from phitui.models.manifest import read_manifest


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("0.95", Limit(0.95)), ("1", Limit(1.0)), ("6GB", Limit(1.0, 6 * 10**9)), ("1.5g", Limit(1.0, 15 * 10**8)),
        ("800MiB", Limit(1.0, 800 * 2**20)), ("512 mb", Limit(1.0, 512 * 10**6)),
    ],
)  # fmt: skip
def test_a_limit_is_a_share_or_a_size(text, limit):
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", ["0", "1.5", "95", "95%", "-1GB", "0GB", "nan", "", "GB", "1TBB", "9" * 40 + "GB"])
def test_what_is_neither_is_refused(text):
    with pytest.raises(UsageError, match="--limit: expected a share"):
        parse_limit(text)


def test_a_size_never_goes_above_what_is_usable():
    assert Limit(1.0, 6 * 10**9).of(4 * 10**9) == 4 * 10**9
    assert Limit(0.5).of(4 * 10**9) == 2 * 10**9


def test_a_cpus_cores_are_given_away_in_every_way(monkeypatch):
    monkeypatch.setattr("phitui.jobs.tuning_model.usable_cores", lambda: 12)
    made = setups(Setup(1, 12, "int8_float32"), "cpu")
    assert [(one.workers, one.threads) for one in made] == [(2, 6), (3, 4), (4, 3), (6, 2), (12, 1)]
    assert usable_cores() >= 1


def test_a_card_has_one_or_two_workers():
    assert setups(Setup(1, 0, "float16"), "cuda") == [Setup(2, 0, "float16")]


def test_compute_types_are_those_that_run():
    assert compute_types("cpu", ["float32", "int8", "int8_float32"]) == ["int8_float32", "float32"]
    assert compute_types("cuda", ["float16", "float32", "int8_float16"]) == ["int8_float16", "float16"]


def test_a_models_numbers(tiny_folder):
    model = memory_model(read_manifest(tiny_folder), "int8_float16", workers=2)
    assert (model.item_bytes, model.int8, model.workers, model.kv_dim) == (2, True, 2, 64)
    assert memory_model(read_manifest(tiny_folder), "float32", 1).item_bytes == 4
