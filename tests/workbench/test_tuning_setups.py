"""What the tuner is given: limits as they are written, configurations to try, a model's memory."""

import msgspec
import pytest

from phitui.core.errors import UsageError
from phitui.engine.worker.memory_model import memory_model
from phitui.engine.worker.threads import usable_cores
from phitui.hardware.nvml.probe import DriverReport, Gpu
from phitui.models.manifest import read_manifest
from phitui.storage.tunings import TUNINGS, Tuning
from phitui.workbench.tune import profiles, saved
from phitui.workbench.tune.saved import card_name
from phitui.workbench.tune.setups import Limit, Setup, compute_types, parse_limit, setups


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
    monkeypatch.setattr("phitui.workbench.tune.setups.usable_cores", lambda: 12)
    made = setups(Setup(1, 12, "int8_float32"), "cpu")
    assert [(one.workers, one.threads) for one in made] == [(2, 6), (3, 4), (4, 3), (6, 2), (12, 1)]
    assert usable_cores() >= 1


def test_a_card_has_one_or_two_workers():
    assert setups(Setup(1, 0, "float16"), "cuda") == [Setup(2, 0, "float16")]


def test_compute_types_are_those_that_run():
    assert compute_types("cpu", ["float32", "int8", "int8_float32"]) == ["int8_float32", "float32"]
    assert compute_types("cuda", ["float16", "float32", "int8_float16"]) == ["int8_float16", "float16"]


def test_the_engines_card_is_known_by_its_uuid():
    gpus = [Gpu(0, "RTX 4090", uuid="GPU-4E1F"), Gpu(1, "RTX 4090", uuid="GPU-b7c8")]
    assert card_name(gpus, "b7c8") == "GPU-b7c8"
    assert card_name(gpus, "4e1f") == "GPU-4E1F"
    assert card_name(gpus, "ffff") == "GPU-ffff"  # a slice: the driver lists whole cards
    assert card_name(gpus, "") == "a GPU that its driver does not name"
    assert card_name(gpus[:1], "") == "GPU-4E1F"
    assert card_name([Gpu(0, "RTX 4090")], "") == "RTX 4090"


def test_partial_rotary_positions_are_counted_as_they_are(tiny_folder):
    manifest = read_manifest(tiny_folder)
    whole = memory_model(manifest, "int8_float16", 1)
    assert whole.rotary_dim == manifest.sizes.head_dim
    part = memory_model(msgspec.structs.replace(manifest, rotary_dim=manifest.sizes.head_dim // 2), "int8_float16", 1)
    assert 2 * part.rotary(100) == whole.rotary(100)


def test_awq_runs_in_float16_with_weights_that_are_not_int8(tiny_folder):
    manifest = msgspec.structs.replace(read_manifest(tiny_folder), quantization="int4_awq_gemm", awq_group=128)
    model = memory_model(manifest, "float16", 1)
    assert (model.item_bytes, model.int8) == (2, False)
    sizes = manifest.sizes
    assert model.unpacked_bytes == 2 * sizes.ff_dim * sizes.model_dim
    gemv = msgspec.structs.replace(manifest, quantization="int4_awq_gemv")
    assert memory_model(gemv, "float16", 1).unpacked_bytes == 0


def test_a_models_numbers(tiny_folder):
    model = memory_model(read_manifest(tiny_folder), "int8_float16", workers=2)
    assert (model.item_bytes, model.int8, model.workers, model.kv_dim) == (2, True, 2, 64)
    assert memory_model(read_manifest(tiny_folder), "float32", 1).item_bytes == 4


def test_of_several_cards_the_tunings_own_counts(tmp_path, tiny_folder, monkeypatch):
    """The list of tunings judges each by the card that it was made on, as far as the driver has it."""
    manifest = read_manifest(tiny_folder)
    report = DriverReport("550.54", "12.4", [Gpu(0, "A", uuid="GPU-4e1f"), Gpu(1, "A", uuid="GPU-b7c8")])
    for module in (saved, profiles):
        monkeypatch.setattr(module, "probe_driver", lambda: report)
    made = saved.conditions(manifest, "cuda", "float16", 512, "b7c8")
    assert made.device == "GPU-b7c8"
    for device in ("GPU-b7c8", "GPU-gone"):
        where = msgspec.structs.replace(made, device=device)
        kept = Tuning(where, manifest.name, device, 256, 256, 1, 0, 40, 90, 46_080, 900.0, 1, 2, "")
        TUNINGS.add(tmp_path, kept)
    found, _ = profiles.profiles(str(tiny_folder), None, {"PHITUI_HOME": str(tmp_path)})
    assert {one.tuning.made: one.problem for one in found} == {"GPU-b7c8": "", "GPU-gone": "the device changed"}
