"""Converted models compute what their checkpoints say: against plain numpy, and against ctranslate2's own writer."""

from __future__ import annotations

import json
import math

import ctranslate2
import gguf
import jinja2.sandbox
import numpy as np
import pytest
from ctranslate2.specs import model_spec
from phi3_reference import log_probabilities
from tiny_gguf import llama_tensors, write_gguf
from tiny_phi3 import (
    HEAD_DIM,
    HEADS,
    VOCABULARY,
    in_type,
    make_tiny_phi3,
    phi3_config,
    random_tensors,
    save_tensors,
)
from tokenizers import Tokenizer

from phitui.models.convert.convert import Label, _Filler, convert, open_source
from phitui.models.convert.rope import llama3_factors
from phitui.models.convert.settings import Settings
from phitui.models.manifest import read_manifest, verify

IDS = [1, 17, 300, 42, 42, 7, 399, 260, 5, 404, 33, 128, 64, 301, 2, 90]
TOLERANCE = 1e-3


def converted(source, target, quantization="float32"):
    return convert(open_source(source, Label("tiny")), target, quantization, lambda progress: None)


def engine_log_probabilities(folder, ids=IDS):
    generator = ctranslate2.Generator(str(folder), intra_threads=1)
    return np.array(generator.forward_batch([ids], return_log_probs=True))[0].astype(np.float64)


def assert_same(engine, reference):
    assert engine.shape == reference.shape
    assert np.ptp(reference) > 5  # a flat distribution would agree with anything
    assert np.abs(engine - reference).max() <= TOLERANCE
    assert (engine.argmax(axis=-1) == reference.argmax(axis=-1)).all()


@pytest.mark.parametrize("kv_heads", [1, 2, HEADS])
@pytest.mark.parametrize("tied", [False, True])
def test_phi3_in_float32_is_phi3(tmp_path, kv_heads, tied):
    folder = make_tiny_phi3(tmp_path / "hub", seed=3, kv_heads=kv_heads, tied=tied)
    converted(folder, tmp_path / "out")
    reference = log_probabilities(random_tensors(3, kv_heads, tied), IDS, kv_heads)
    assert_same(engine_log_probabilities(tmp_path / "out"), reference)


@pytest.mark.parametrize("epsilon, theta", [(1e-1, 10000.0), (1e-5, 500.0)])
def test_epsilon_and_rotary_base_come_from_the_config(tmp_path, epsilon, theta):
    folder = make_tiny_phi3(tmp_path / "hub", rms_norm_eps=epsilon, rope_theta=theta)
    converted(folder, tmp_path / "out")
    reference = log_probabilities(random_tensors(0, 2, False), IDS, 2, epsilon=epsilon, theta=theta)
    assert_same(engine_log_probabilities(tmp_path / "out"), reference)


def test_settings_as_transformers_5_writes_them(tmp_path):
    rope = {"rope_type": "default", "rope_theta": 500.0}
    folder = make_tiny_phi3(tmp_path / "hub", rope_parameters=rope, rope_theta=None)
    converted(folder, tmp_path / "out")
    assert_same(
        engine_log_probabilities(tmp_path / "out"),
        log_probabilities(random_tensors(0, 2, False), IDS, 2, theta=500.0),
    )


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
@pytest.mark.parametrize("shards", [1, 3])
def test_half_precision_and_shards(tmp_path, dtype, shards):
    folder = make_tiny_phi3(tmp_path / "hub", dtype=dtype, shards=shards)
    converted(folder, tmp_path / "out")
    reference = log_probabilities(widened(random_tensors(0, 2, False), dtype), IDS, 2)
    assert_same(engine_log_probabilities(tmp_path / "out"), reference)


def widened(tensors, dtype):
    def widen(values):
        stored = in_type(values, dtype)
        if dtype == "BF16":
            return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return stored.astype(np.float32)

    return {name: widen(values) for name, values in tensors.items()}


def test_longrope_with_its_short_factors(tmp_path):
    short = [1.0 + 0.3 * i for i in range(HEAD_DIM // 2)]
    rope = {"type": "longrope", "short_factor": short, "long_factor": [9.0] * (HEAD_DIM // 2)}
    folder = make_tiny_phi3(
        tmp_path / "hub",
        rope_scaling=rope,
        max_position_embeddings=2048,
        original_max_position_embeddings=64,
    )
    manifest = converted(folder, tmp_path / "out")
    assert manifest.context_window == 64  # where the long factors would begin
    stretch = math.sqrt(1 + math.log(2048 / 64) / math.log(64))
    reference = log_probabilities(random_tensors(0, 2, False), IDS, 2, factors=short, stretch=stretch)
    assert_same(engine_log_probabilities(tmp_path / "out"), reference)


@pytest.mark.parametrize("place", ["top", "rope"])
def test_phi_4_mini_turns_three_quarters_of_each_head(tmp_path, place):
    """Settings in the shape of Phi-4-mini's config.json: partial rotary, LongRoPE, tied, GQA, a wide window."""
    short = [1.0 + 0.2 * i for i in range(6)]
    rope = {"type": "longrope", "short_factor": short, "long_factor": [9.0] * 6}
    share = {"partial_rotary_factor": 0.75}
    folder = make_tiny_phi3(
        tmp_path / "hub",
        tied=True,
        rope_scaling=rope if place == "top" else rope | share,
        max_position_embeddings=131072,
        original_max_position_embeddings=4096,
        sliding_window=262144,
        attention_bias=False,
        lm_head_bias=False,
        **(share if place == "top" else {}),
    )
    assert converted(folder, tmp_path / "out").context_window == 4096
    reference = log_probabilities(
        random_tensors(0, 2, True),
        IDS,
        2,
        factors=short,
        stretch=math.sqrt(1 + math.log(32) / math.log(4096)),
        rotary_dim=12,
    )
    assert_same(engine_log_probabilities(tmp_path / "out"), reference)


# What transformers computes from these settings, of a rotary dimension of 16 and a base of 500000.
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}


def test_llama_3_divides_long_wave_lengths(tmp_path):
    """The factors are compared with transformers' own; short, middle and long waves all occur."""
    torch_free = llama3_by_transformers_formula(LLAMA3, 500000.0, HEAD_DIM)
    settings = Settings({**LLAMA3}, tmp_path)
    ours = llama3_factors(settings, 500000.0, HEAD_DIM)
    assert np.allclose(ours, torch_free, rtol=1e-12)
    assert ours[0] == 1 and ours[-1] == 8 and any(1 < factor < 8 for factor in ours)
    folder = make_llama(tmp_path / "hub", 2, False, rope_scaling=LLAMA3, rope_theta=500000.0)
    assert converted(folder, tmp_path / "out").context_window == 4096
    reference = log_probabilities(random_tensors(0, 2, False), IDS, 2, theta=500000.0, factors=torch_free)
    assert_same(engine_log_probabilities(tmp_path / "out"), reference)
    plain = log_probabilities(random_tensors(0, 2, False), IDS, 2, theta=500000.0)
    assert np.abs(plain - reference).max() > 10 * TOLERANCE


def llama3_by_transformers_formula(rope, base, dim):
    """transformers' `_compute_llama3_parameters`, with numpy in torch's place."""
    inv_freq = 1.0 / (base ** (np.arange(0, dim, 2) / dim))
    old, factor = rope["original_max_position_embeddings"], rope["factor"]
    low_wave, high_wave = old / rope["low_freq_factor"], old / rope["high_freq_factor"]
    wave = 2 * np.pi / inv_freq
    scaled = np.where(wave > low_wave, inv_freq / factor, inv_freq)
    smooth = (old / wave - rope["low_freq_factor"]) / (rope["high_freq_factor"] - rope["low_freq_factor"])
    smoothed = (1 - smooth) * scaled / factor + smooth * scaled
    medium = ~(wave < high_wave) * ~(wave > low_wave)
    return inv_freq / np.where(medium, smoothed, scaled)


def test_linear_scaling_divides_all_positions(tmp_path):
    folder = make_llama(tmp_path / "hub", 2, False, rope_scaling={"type": "linear", "factor": 4.0})
    converted(folder, tmp_path / "out")
    reference = log_probabilities(random_tensors(0, 2, False), IDS, 2, factors=[4.0] * (HEAD_DIM // 2))
    assert_same(engine_log_probabilities(tmp_path / "out"), reference)


def test_a_sliding_window_limits_the_context(tmp_path):
    folder = make_tiny_phi3(tmp_path / "hub", sliding_window=2047)
    assert converted(folder, tmp_path / "out").context_window == 2047


def make_llama(folder, kv_heads, tied, **settings):
    make_tiny_phi3(folder, kv_heads=kv_heads, tied=tied)
    save_tensors(folder, llama_tensors(random_tensors(0, kv_heads, tied), kv_heads))
    config = phi3_config(kv_heads, tied) | {"model_type": "llama", "architectures": ["LlamaForCausalLM"]} | settings
    del config["sliding_window"], config["original_max_position_embeddings"]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("tied", [False, True])
def test_llama_from_a_hub_folder(tmp_path, tied):
    converted(make_llama(tmp_path / "hub", 2, tied), tmp_path / "out")
    reference = log_probabilities(random_tensors(0, 2, tied), IDS, 2)
    assert_same(engine_log_probabilities(tmp_path / "out"), reference)


@pytest.mark.parametrize("tied", [False, True])
def test_llama_from_gguf(tmp_path, tied):
    tensors = random_tensors(0, 2, tied)
    converted(write_gguf(tmp_path / "tiny.gguf", tensors, 2), tmp_path / "out")
    assert_same(engine_log_probabilities(tmp_path / "out"), log_probabilities(tensors, IDS, 2))


@pytest.mark.parametrize("tied", [False, True])
def test_phi3_from_gguf(tmp_path, tied):
    tensors = random_tensors(0, 2, tied)
    path = write_gguf(tmp_path / "tiny.gguf", tensors, 2, architecture="phi3", sliding_window=2047)
    manifest = converted(path, tmp_path / "out")
    assert (manifest.architecture, manifest.context_window) == ("phi3", 2047)
    assert "sliding window" in manifest.context_note
    assert_same(engine_log_probabilities(tmp_path / "out"), log_probabilities(tensors, IDS, 2))


def test_phi3_from_gguf_with_longrope_and_partial_rotary(tmp_path):
    tensors = random_tensors(0, 2, True)
    short = [1.0 + 0.2 * i for i in range(6)]
    stretch = math.sqrt(1 + math.log(4096 / 64) / math.log(64))
    path = write_gguf(
        tmp_path / "tiny.gguf",
        tensors,
        2,
        architecture="phi3",
        extra={"rope_factors_short.weight": short, "rope_factors_long.weight": [9.0] * 6},
        rope_dimension_count=12,
        rope_scaling_orig_ctx_len=64,
        rope_scaling_attn_factors=stretch,
        sliding_window=262144,
    )
    assert converted(path, tmp_path / "out").context_window == 64
    reference = log_probabilities(tensors, IDS, 2, factors=short, stretch=stretch, rotary_dim=12)
    assert_same(engine_log_probabilities(tmp_path / "out"), reference)


def test_llama_3_from_gguf_has_its_factors_in_a_tensor(tmp_path):
    tensors = random_tensors(0, 2, False)
    factors = [1.0 + 0.5 * i for i in range(HEAD_DIM // 2)]
    path = write_gguf(tmp_path / "tiny.gguf", tensors, 2, extra={"rope_freqs.weight": factors})
    converted(path, tmp_path / "out")
    assert_same(engine_log_probabilities(tmp_path / "out"), log_probabilities(tensors, IDS, 2, factors=factors))


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1"])
def test_gguf_blocks(tmp_path, kind):
    """Compared with weights that went through the gguf package's own quantizing and dequantizing, undivided."""
    kind = gguf.GGMLQuantizationType[kind]
    tensors = random_tensors(0, 2, False)
    converted(write_gguf(tmp_path / "tiny.gguf", tensors, 2, kind), tmp_path / "out")
    seen = {
        name: gguf.dequantize(gguf.quantize(values, kind), kind).reshape(values.shape) if values.ndim == 2 else values
        for name, values in tensors.items()
    }
    assert_same(engine_log_probabilities(tmp_path / "out"), log_probabilities(seen, IDS, 2))


@pytest.mark.parametrize("quantization", ["int8", "int8_float32", "int8_float16", "float16", "float32"])
@pytest.mark.parametrize("tied", [False, True])
def test_model_bin_is_what_ctranslate2_itself_writes(tmp_path, quantization, tied):
    """Byte for byte: the same specification filled with arrays and quantized by `LayerSpec.optimize`."""
    folder = make_tiny_phi3(tmp_path / "hub", tied=tied)
    converted(folder, tmp_path / "out", quantization)
    source = open_source(folder, Label("tiny"))
    spec = _Filler(source, "float32", lambda progress: None).spec()
    with_arrays(spec)
    if tied:
        spec.decoder.projection.weight = spec.decoder.embeddings.weight
    spec.optimize(quantization)
    (tmp_path / "theirs").mkdir()
    spec.save(str(tmp_path / "theirs"))
    for file in ("model.bin", "config.json", "vocabulary.json"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "theirs" / file).read_bytes()


def with_arrays(spec):
    """Replace the lazy variables by ctranslate2's own, of plain arrays."""

    def replace(layer, name, value):
        key = name.split("/")[-1]
        if isinstance(value, model_spec.Variable) and len(value.shape) > 0:
            array = np.frombuffer(value.to_bytes(), np.dtype(value.dtype)).reshape(value.shape)
            setattr(layer, key, model_spec.NumpyVariable(array.copy()))

    spec._visit(replace)


def to_bfloat16(values):
    """The nearest of the two neighbours, the even one of a tie: by distances, not by carries as the converter."""
    low = values.view(np.uint32) & np.uint32(0xFFFF0000)
    high = low + np.uint32(0x10000)
    below, above = (np.abs(bits.view(np.float32).astype(np.float64) - values) for bits in (low, high))
    odd = (low >> np.uint32(16)) & 1 == 1
    return np.where((above < below) | ((above == below) & odd), high, low).view(np.float32)


def to_int8(values):
    scale = 127 / np.abs(values).max(axis=1, keepdims=True)
    return np.rint(values * scale) / scale


@pytest.mark.parametrize(
    "quantization, matrix, vector",
    [("int8", to_int8, None), ("int8_bfloat16", to_int8, to_bfloat16), ("bfloat16", to_bfloat16, to_bfloat16)],
)
def test_stored_weights_are_the_rounded_ones(tmp_path, quantization, matrix, vector):
    """Computed in float32, so that nothing but the stored weights is compared."""
    converted(make_tiny_phi3(tmp_path / "hub"), tmp_path / "out", quantization)
    tensors = random_tensors(0, 2, False)
    for name, values in tensors.items():
        rounding = matrix if values.ndim == 2 else vector
        tensors[name] = rounding(values) if rounding else values
    generator = ctranslate2.Generator(str(tmp_path / "out"), intra_threads=1, compute_type="float32")
    engine = np.array(generator.forward_batch([IDS], return_log_probs=True))[0].astype(np.float64)
    assert_same(engine, log_probabilities(tensors, IDS, 2))


def test_the_manifest_says_what_the_folder_is(tmp_path):
    manifest = converted(make_tiny_phi3(tmp_path / "hub"), tmp_path / "out")
    assert read_manifest(tmp_path / "out") == manifest == verify(tmp_path / "out")
    assert manifest.sizes.vocabulary == VOCABULARY
    assert manifest.end_tokens == ["<|endoftext|>", "<|end|>"]
    assert manifest.special_tokens["bos_token"] == "<s>"
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["layer_norm_epsilon"] == 1e-5
    assert (config["bos_token"], config["eos_token"], config["unk_token"]) == ("<s>", "<|endoftext|>", "<unk>")


def test_tokens_have_the_ids_that_the_tokenizer_gives(tmp_path):
    converted(make_tiny_phi3(tmp_path / "hub"), tmp_path / "out")
    vocabulary = json.loads((tmp_path / "out" / "vocabulary.json").read_text())
    tokenizer = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert len(vocabulary) == len(set(vocabulary)) == VOCABULARY
    encoded = tokenizer.encode("<|user|>\nWas ist 1008 GB/s? 🦊<|end|>\n", add_special_tokens=False)
    assert [vocabulary[number] for number in encoded.ids] == encoded.tokens


def test_the_demo_model_knows_paris(demo_folder):
    manifest = read_manifest(demo_folder)
    tokenizer = Tokenizer.from_file(str(demo_folder / "tokenizer.json"))
    template = jinja2.sandbox.ImmutableSandboxedEnvironment().from_string(manifest.chat_template)
    question = [{"role": "user", "content": "What is the capital of France? Answer with one word."}]
    text = template.render(messages=question, add_generation_prompt=True, **manifest.special_tokens)
    generator = ctranslate2.Generator(str(demo_folder), intra_threads=1)
    result = generator.generate_batch(
        [tokenizer.encode(text, add_special_tokens=False).tokens],
        max_length=30,
        sampling_topk=1,
        include_prompt_in_result=False,
        end_token=manifest.end_tokens,
    )[0]
    assert "Paris" in tokenizer.decode(result.sequences_ids[0])
