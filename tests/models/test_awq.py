"""AWQ checkpoints: compared with what ctranslate2's own loaders write, and taken apart in numpy. No card is here."""

from __future__ import annotations

import json
from types import SimpleNamespace

import ctranslate2
import numpy as np
import pytest
from awq_checkpoint import dequantized, make_awq, quantization_config, tensors_of
from ct2_models import array, read_model_bin
from ctranslate2.converters import transformers as loaders
from test_bad_checkpoints import refusal
from tiny_phi3 import VOCABULARY, make_tiny_phi3

from phitui.core.errors import PhituiError, UnavailableError, UsageError
from phitui.engine.protocol.api import Load
from phitui.engine.worker.loading import load_model
from phitui.models.convert.convert import Label, convert, needed_bytes, open_source
from phitui.models.convert.hub_config import check_config
from phitui.models.manifest import verify

LAYERS = 2
# Within what the kernels ask for: gemm fills tiles of 128 outputs, gemv takes 1024 inputs at a time.
SIZES = {
    "gemm": {"dim": 256, "heads": 4, "kv_heads": 2, "ff_dim": 384},
    "gemv": {"dim": 1024, "heads": 8, "kv_heads": 4, "ff_dim": 2048},
}
CASES = [(kind, layout) for kind in ("phi3", "llama") for layout in ("gemm", "gemv")]


def checkpoint(kind, layout, tied=False):
    size = SIZES[layout]
    kv_dim = size["dim"] // size["heads"] * size["kv_heads"]
    return tensors_of(kind, layout, size["dim"], kv_dim, size["ff_dim"], VOCABULARY, LAYERS, tied)


def folder_of(tmp_path, kind, layout, tensors, **changes):
    return make_awq(tmp_path / "hub", kind, layout, tensors, layers=LAYERS, **SIZES[layout], **changes)


def converted(tmp_path, kind, layout, tensors, **changes):
    source = open_source(folder_of(tmp_path, kind, layout, tensors, **changes), Label("tiny"))
    manifest = convert(source, tmp_path / "out", "", lambda progress: None)
    return manifest, *read_model_bin(tmp_path / "out" / "model.bin")


@pytest.mark.parametrize(("kind", "layout"), CASES)
@pytest.mark.parametrize("tied", [False, True])
def test_every_weight_is_the_checkpoints(tmp_path, kind, layout, tied):
    tensors = checkpoint(kind, layout, tied)
    manifest, variables, aliases = converted(tmp_path, kind, layout, tensors, tie_word_embeddings=tied)
    assert manifest.quantization == f"int4_awq_{layout}" and manifest.is_awq
    assert verify(tmp_path / "out") == manifest
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["quantization_type"] == {"gemm": 1, "gemv": 2}[layout]
    assert (config["quantization_bits"], config["quantization_group_size"]) == (4, 128)

    def theirs(layer, *names):
        parts = [[tensors[f"model.layers.{layer}.{name}.{end}"] for end in ENDS] for name in names]
        return np.concatenate([dequantized(*part, layout) for part in parts])

    def ours(layer, name):
        place = f"decoder/layer_{layer}/{name}/weight"
        return dequantized(*(array(variables[place + end]) for end in ("", "_zero", "_scale")), layout)

    for layer in range(LAYERS):
        qkv, gate_up = QKV[kind], GATE_UP[kind]
        assert np.array_equal(ours(layer, "self_attention/linear_0"), theirs(layer, *qkv))
        assert np.array_equal(ours(layer, "self_attention/linear_1"), theirs(layer, "self_attn.o_proj"))
        gate, up = np.split(theirs(layer, *gate_up), 2)
        assert np.array_equal(ours(layer, "ffn/linear_0"), gate)
        assert np.array_equal(ours(layer, "ffn/linear_0_noact"), up)
        assert np.array_equal(ours(layer, "ffn/linear_1"), theirs(layer, "mlp.down_proj"))
    assert np.array_equal(array(variables["decoder/embeddings/weight"]), tensors["model.embed_tokens.weight"])
    assert ("decoder/projection/weight" in aliases) == tied
    # The engine converts nothing of an AWQ model when it loads: its floats must be float16 already.
    floats = {name for name, (dtype, shape, _) in variables.items() if dtype in ("float32", "bfloat16") and shape}
    assert floats == set()


ENDS = ("qweight", "qzeros", "scales")
QKV = {"phi3": ["self_attn.qkv_proj"], "llama": [f"self_attn.{x}_proj" for x in "qkv"]}
GATE_UP = {"phi3": ["mlp.gate_up_proj"], "llama": ["mlp.gate_proj", "mlp.up_proj"]}


class Chunked(np.ndarray):
    """An array with the one method of torch's that ctranslate2's Phi-3 loader calls."""

    def chunk(self, count, dim):
        return [np.ascontiguousarray(part).view(np.ndarray) for part in np.split(self, count, dim)]


def module_tree(tensors):
    """The checkpoint as ctranslate2's loaders see a transformers model: nested attributes."""
    root = SimpleNamespace()
    for name, values in tensors.items():
        place = root
        *path, last = name.split(".")
        for part in path:
            place.__dict__.setdefault(part, SimpleNamespace())
            place = place.__dict__[part]
        setattr(place, last, values.view(Chunked) if "gate_up" in name else values)
    layers = root.model.layers.__dict__
    root.model.layers = [layers[str(i)] for i in range(len(layers))]
    return root


# Its Phi-3 loader cuts gate and up along the inputs in gemv: left out, see the next test.
@pytest.mark.parametrize(("kind", "layout"), [("phi3", "gemm"), ("llama", "gemm"), ("llama", "gemv")])
def test_model_bin_is_what_ctranslate2_itself_writes(tmp_path, monkeypatch, kind, layout):
    tensors = checkpoint(kind, layout)
    folder = folder_of(tmp_path, kind, layout, tensors)
    convert(open_source(folder, Label("tiny")), tmp_path / "out", "", lambda progress: None)
    spec = theirs(monkeypatch, folder, kind, tensors)
    (tmp_path / "theirs").mkdir()
    spec.save(str(tmp_path / "theirs"))
    ours, other = (read_model_bin(tmp_path / name / "model.bin") for name in ("out", "theirs"))
    if kind == "phi3":  # it writes two settings that only scaled positions need
        drop = [name for name in other[0] if "max_position_embeddings" in name]
        assert len(drop) == 2 * LAYERS
        for name in drop:
            del other[0][name]
    assert ours == other
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("out", "theirs")]
    keys = [key for key in configs[0] if key.startswith("quantization")]
    assert len(keys) == 3 and all(configs[0][key] == configs[1][key] for key in keys)


def theirs(monkeypatch, folder, kind, tensors):
    """The specification that ctranslate2's own loader makes. It needs no torch but for a class to compare with."""
    monkeypatch.setattr(loaders, "transformers", SimpleNamespace(Conv1D=type(None)), raising=False)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = SimpleNamespace(**config["quantization_config"])
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": config["rope_theta"]}
    root = module_tree(tensors)
    root.config = SimpleNamespace(**config)
    for layer in root.model.layers:
        layer.self_attn.rotary_emb = SimpleNamespace(long_factor=None, short_factor=None)
    loader = {"phi3": loaders.Phi3Loader, "llama": loaders.LlamaLoader}[kind]()
    spec = loader.get_model_spec(root)
    vocabulary = json.loads((folder.parent / "out" / "vocabulary.json").read_text())
    spec.register_vocabulary(vocabulary)
    spec.validate()
    spec.optimize(None)
    return spec


def test_ctranslate2_itself_cuts_gate_and_up_of_gemv_in_the_wrong_axis(tmp_path, monkeypatch):
    """Each of its halves has all outputs and half of the inputs; its kernels want (outputs, inputs / 8)."""
    dim, ff_dim = 2048, 1024
    tensors = tensors_of("phi3", "gemv", dim, 256, ff_dim, VOCABULARY, 1)
    folder = make_awq(tmp_path / "hub", "phi3", "gemv", tensors, dim, 16, 2, ff_dim, 1)
    convert(open_source(folder, Label("tiny")), tmp_path / "out", "", lambda progress: None)
    gate = theirs(monkeypatch, folder, "phi3", tensors).decoder.layer[0].ffn.linear_0.weight
    assert list(gate.shape) == [2 * ff_dim, dim // 16]
    variables, _ = read_model_bin(tmp_path / "out" / "model.bin")
    assert variables["decoder/layer_0/ffn/linear_0/weight"][1] == (ff_dim, dim // 8)


@pytest.mark.parametrize("layout", ["gemm", "gemv"])
def test_longrope_on_a_part_of_each_head_scales_the_queries(tmp_path, layout):
    tensors = checkpoint("phi3", layout)
    size = SIZES[layout]
    head_dim = size["dim"] // size["heads"]
    turned = head_dim * 3 // 4
    rope = {"type": "longrope", "short_factor": [1.5] * (turned // 2), "attention_factor": 1.25}
    _, variables, aliases = converted(tmp_path, "phi3", layout, tensors, rope_scaling=rope, partial_rotary_factor=0.75)
    place = "decoder/layer_1/self_attention/linear_0/weight"
    ours = dequantized(*(array(variables[place + end]) for end in ("", "_zero", "_scale")), layout)
    before = dequantized(*(tensors[f"model.layers.1.self_attn.qkv_proj.{end}"] for end in ENDS), layout)
    wanted = before.copy().reshape(-1, head_dim, size["dim"])
    wanted[: size["heads"], :turned] *= 1.25**2
    assert np.allclose(ours, wanted.reshape(before.shape), rtol=2**-11, atol=0)
    assert not np.array_equal(ours, before)
    # Factors are the one thing that stays float32: the engine reads them as that.
    assert variables["decoder/rotary_factors_scale"][0] == "float32" and len(aliases) == 2 * LAYERS


@pytest.mark.parametrize("layout", ["gemm", "gemv"])
def test_the_engine_knows_the_model_and_refuses_the_cpu(tmp_path, layout):
    converted(tmp_path, "phi3", layout, checkpoint("phi3", layout))
    with pytest.raises(ValueError, match="float16"):
        ctranslate2.Generator(str(tmp_path / "out"), device="cpu")


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_loading_one_without_a_card_is_one_line_with_what_would_work(tmp_path, device):
    converted(tmp_path, "llama", "gemm", checkpoint("llama", "gemm"))
    load = Load(str(tmp_path / "out"), device, "auto", 1, str(tmp_path / "profiles.json"))
    with pytest.raises(UnavailableError, match=r"AWQ int4 runs on CUDA cards.*7\.5 and newer only.*Convert another"):
        load_model(load, lambda progress: None)


@pytest.mark.parametrize(("kind", "layout"), CASES)
def test_the_stated_space_is_enough_and_not_twice_too_much(tmp_path, kind, layout):
    folder = folder_of(tmp_path, kind, layout, checkpoint(kind, layout))
    source = open_source(folder, Label("tiny"))
    manifest = convert(source, tmp_path / "out", "awq", lambda progress: None)
    assert manifest.total_bytes <= needed_bytes(source, "") <= manifest.total_bytes + 1_500_000


@pytest.mark.parametrize("asked", ["int8", "float16", "int4_awq_gemv", "int3"])
def test_awq_is_not_requantized(tmp_path, asked):
    folder = folder_of(tmp_path, "phi3", "gemm", checkpoint("phi3", "gemm"))
    with pytest.raises(UsageError, match=r"AWQ int4.*cannot be stored as .*unquantized checkpoint"):
        convert(open_source(folder, Label("tiny")), tmp_path / "out", asked, lambda progress: None)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="AWQ int4"):  # which is asked before the weights are fetched
        check_config(folder / "config.json", asked)


@pytest.mark.parametrize("asked", ["awq", "int4_awq_gemm"])
def test_nothing_is_quantized_to_awq(tmp_path, asked):
    source = open_source(make_tiny_phi3(tmp_path / "hub"), Label("tiny"))
    with pytest.raises(UsageError, match="does not quantize to AWQ"):
        convert(source, tmp_path / "out", asked, lambda progress: None)


@pytest.mark.parametrize(
    "changes",
    [
        {"bits": 8},
        {"group_size": 32},
        {"group_size": -1},
        {"version": "exllama"},
        {"zero_point": False},
        {"backend": "llm-awq"},
        {"bits": None},
    ],
)
def test_other_kinds_of_awq_are_refused(tmp_path, changes):
    settings = {"quantization_config": quantization_config("gemm", **changes)}
    folder = folder_of(tmp_path, "llama", "gemm", checkpoint("llama", "gemm"), **settings)
    assert "quantized already, and not as AWQ of 4 bits" in refusal(folder, tmp_path)
    with pytest.raises(PhituiError, match="not as AWQ"):
        check_config(folder / "config.json")


@pytest.mark.parametrize("method", ["gptq", "bitsandbytes", 7, None])
def test_other_quantizations_are_refused(tmp_path, method):
    settings = {"quantization_config": {"quant_method": method, "bits": 4}}
    folder = folder_of(tmp_path, "llama", "gemm", checkpoint("llama", "gemm"), **settings)
    assert f"quantized already ({method})" in refusal(folder, tmp_path)


def without(tensors, name):
    return {key: values for key, values in tensors.items() if key != name}


DOWN = "model.layers.1.mlp.down_proj."


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: without(t, DOWN + "qzeros"), "lacks the tensor"),
        (lambda t: without(t, DOWN + "qweight"), "lacks the tensor"),
        (lambda t: t | {DOWN + "qweight": t[DOWN + "qweight"][:128]}, "has the shape [128, 32], not [384, 32]"),
        (lambda t: t | {DOWN + "scales": t[DOWN + "scales"].T.copy()}, "has the shape"),
        (lambda t: t | {DOWN + "qweight": t[DOWN + "qweight"].astype(np.int64)}, "in I64, not in I32"),
        (lambda t: t | {DOWN + "scales": t[DOWN + "scales"] * np.float16(np.nan)}, "NaN"),
        (lambda t: t | {DOWN + "bias": np.zeros(256, np.float16)}, "has the tensor"),
        (lambda t: t | {DOWN + "weight": np.zeros((256, 384), np.float16)}, "has the tensor"),
    ],
    ids=["no zeros", "no weight", "short", "transposed", "int64", "nan", "bias", "both"],
)
def test_damaged_awq_checkpoints(tmp_path, change, says):
    folder = folder_of(tmp_path, "llama", "gemm", change(checkpoint("llama", "gemm")))
    assert says in refusal(folder, tmp_path, quantization="")


@pytest.mark.parametrize(("layout", "ff_dim"), [("gemm", 320), ("gemv", 1536)])
def test_sizes_that_the_kernels_cannot_compute_are_refused(tmp_path, layout, ff_dim):
    """gemv with 1536 inputs would silently compute nothing: its padded groups look like groups of 96."""
    size = SIZES[layout] | {"ff_dim": ff_dim}
    kv_dim = size["dim"] // size["heads"] * size["kv_heads"]
    tensors = tensors_of("llama", layout, size["dim"], kv_dim, ff_dim, VOCABULARY, LAYERS)
    folder = make_awq(tmp_path / "hub", "llama", layout, tensors, layers=LAYERS, **size)
    assert f"cannot compute as AWQ {layout}" in refusal(folder, tmp_path, quantization="")
