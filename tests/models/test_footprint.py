"""A model's bytes by hand for Phi-3 Mini, and against what the converter really writes."""

import msgspec
import pytest
from awq_checkpoint import make_awq, tensors_of
from ct2_models import array, read_model_bin
from tiny_phi3 import VOCABULARY, make_tiny_phi3

from phitui.models.convert.convert import Label, _Filler, convert, open_source
from phitui.models.footprint import Footprint, footprint, is_tied
from phitui.models.manifest import FileEntry, Manifest, Sizes

PHI3 = Sizes(layers=32, heads=32, kv_heads=32, head_dim=96, model_dim=3072, ff_dim=8192, vocabulary=32064)
# Of CTranslate2's own variables: 3,820,879,872 of int8, 4,319,744 of scales in float32, 399,360 of norms in float16.
PHI3_WEIGHTS = 3_825_598_976


def manifest(sizes=PHI3, quantization="int8_float16", weight_bytes=PHI3_WEIGHTS):
    return Manifest(
        format=1, name="m", title="M", source="", revision="", license="", architecture="phi3", sizes=sizes,
        quantization=quantization, context_window=4096, end_tokens=["<|end|>"], special_tokens={}, chat_template="",
        converter="", files={"model.bin": FileEntry(weight_bytes, "")},
    )  # fmt: skip


def test_phi3_mini_by_hand():
    made = footprint(manifest(), "int8_float16")
    assert made == Footprint(weights=PHI3_WEIGHTS, weight_step=3_726_970_112, kv_token=393_216)


def test_float32_between_doubles_the_cache_and_the_norms():
    half, full = footprint(manifest(), "int8_float16"), footprint(manifest(), "int8_float32")
    assert full.kv_token == 2 * half.kv_token
    assert full.weight_step - half.weight_step == 65 * 3072 * 2
    assert footprint(manifest(), "int8") == full


def test_float16_reads_two_bytes_a_weight_and_no_scales():
    # 3,722,379,264 weights in layers and output (without the embeddings), 199,680 in norms.
    assert footprint(manifest(), "float16").weight_step == 2 * (3_722_379_264 + 199_680)


def test_grouped_query_heads_are_cached_repeated():
    grouped = msgspec.structs.replace(PHI3, kv_heads=8)
    made = footprint(manifest(grouped), "float16")
    assert made.kv_token == 393_216
    assert made.weights < footprint(manifest(), "float16").weights  # their projections are smaller all the same


def test_what_is_not_known():
    assert footprint(manifest(quantization="int4_awq_gemm"), "float16") is None  # groups of how many?
    assert footprint(manifest(), "auto") is None
    assert footprint(manifest(quantization="int9"), "float16") is None
    assert is_tied(manifest(quantization="int9")) is False


def test_phi3_mini_as_awq_by_hand():
    packed = msgspec.structs.replace(manifest(quantization="int4_awq_gemm"), awq_group=128)
    # 3,623,878,656 weights in the layers' linears: half a byte each, and 2.5 bytes for each 128 of them. The output
    # layer and the norms are float16.
    assert 3_623_878_656 % 128 == 0
    layers = 3_623_878_656 // 2 + 3_623_878_656 // 128 * 5 // 2
    made = footprint(packed, "float16")
    assert made.weight_step == layers + 2 * 32064 * 3072 + 2 * 65 * 3072
    assert made.kv_token == 393_216
    assert footprint(packed, "int8_float16") is None  # CTranslate2 runs it in float16 alone


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("layout", ["gemm", "gemv"])
def test_the_sums_of_awq_are_those_of_the_converted_model(tmp_path, layout, tied):
    dim, heads, kv_heads, ff_dim = {"gemm": (256, 4, 2, 384), "gemv": (1024, 8, 4, 2048)}[layout]
    tensors = tensors_of("phi3", layout, dim, dim // heads * kv_heads, ff_dim, VOCABULARY, 2, tied)
    sizes = {"dim": dim, "heads": heads, "kv_heads": kv_heads, "ff_dim": ff_dim}
    folder = make_awq(tmp_path / "hub", "phi3", layout, tensors, layers=2, tie_word_embeddings=tied, **sizes)
    made = convert(open_source(folder, Label("tiny")), tmp_path / "out", "", lambda progress: None)
    variables, _ = read_model_bin(tmp_path / "out" / "model.bin")
    bytes_of = {name: array(found).nbytes for name, found in variables.items() if found[1] and "rotary" not in name}
    embeddings = sum(size for name, size in bytes_of.items() if name.startswith("decoder/embeddings"))
    expected = footprint(made, "float16")
    assert (made.awq_group, is_tied(made)) == (128, tied)
    assert expected.weights == sum(bytes_of.values())
    assert expected.weight_step == sum(bytes_of.values()) - (0 if tied else embeddings)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("quantization", ["int8", "int8_float16", "float32", "float16"])
def test_the_sums_are_those_of_the_converted_model(tmp_path, tied, quantization):
    """The compute type that a model is stored in changes none of its variables at loading."""
    source = open_source(make_tiny_phi3(tmp_path / "hub", tied=tied), Label("tiny"))
    made = convert(source, tmp_path / "out", quantization, lambda progress: None)
    variables = dict(_Filler(source, quantization, lambda progress: None).spec().variables(ordered=True))
    sizes = {
        name: variable.num_bytes() if hasattr(variable, "num_bytes") else 0
        for name, variable in variables.items()
        if not isinstance(variable, str) and variable.shape  # not the aliases, and not the settings
    }
    vectors = {name: size for name, size in sizes.items() if "rotary" not in name}
    embeddings = sum(size for name, size in vectors.items() if name.startswith("decoder/embeddings"))
    expected = footprint(made, quantization)
    assert is_tied(made) is tied
    assert expected.weights == sum(vectors.values())
    assert expected.weight_step == sum(vectors.values()) - (0 if tied else embeddings)
    assert 0 <= made.weight_bytes - expected.weights < 0.1 * made.weight_bytes  # names and settings beside them
