"""LongRoPE's two regimes and `--context`, against plain numpy and on the real engine."""

from __future__ import annotations

import math

import ctranslate2
import numpy as np
import pytest
from ct2_models import read_model_bin
from phi3_reference import log_probabilities
from test_convert import assert_same, engine_log_probabilities
from tiny_gguf import write_gguf
from tiny_phi3 import HEAD_DIM, VOCABULARY, make_tiny_phi3, random_tensors

from phitui.models.convert import rotary_variables
from phitui.models.convert.convert import Label, convert, open_source
from phitui.models.convert.quantize import Vector

ORIGINAL, MOST = 32, 2048
SHORT = [1.0 + 0.3 * i for i in range(HEAD_DIM // 2)]
LONG = [1.5 + 0.7 * i for i in range(HEAD_DIM // 2)]
STRETCH = math.sqrt(1 + math.log(MOST / ORIGINAL) / math.log(ORIGINAL))
SETTINGS = {
    "rope_scaling": {"type": "longrope", "short_factor": SHORT, "long_factor": LONG},
    "max_position_embeddings": MOST,
    "original_max_position_embeddings": ORIGINAL,
}
PROMPT = np.random.default_rng(5).integers(3, VOCABULARY, 100).tolist()
WEIGHTS = random_tensors(0, 2, False)


def long_model(tmp_path, context, quantization="float32", **settings):
    folder = make_tiny_phi3(tmp_path / "hub", **(SETTINGS | settings))
    source = open_source(folder, Label("tiny"), context)
    return convert(source, tmp_path / "out", quantization, lambda progress: None)


def test_the_long_factors_are_right_for_prompts_above_the_original_length(tmp_path):
    manifest = long_model(tmp_path, 1000)
    assert manifest.context_window == 1000
    assert manifest.context_note.startswith("1000 of 2048 tokens: as asked; LongRoPE is converted with its long")
    reference = log_probabilities(WEIGHTS, PROMPT, 2, factors=LONG, stretch=STRETCH)
    assert_same(engine_log_probabilities(tmp_path / "out", PROMPT), reference)
    short = log_probabilities(WEIGHTS, PROMPT, 2, factors=SHORT, stretch=STRETCH)
    assert np.abs(short - reference).max() > 1


def test_a_generator_stays_in_its_regime(tmp_path):
    """The engine's own switch changes later short prompts, by 8.6 in log p on such a model."""
    long_model(tmp_path, 0)
    generator = ctranslate2.Generator(str(tmp_path / "out"), intra_threads=1)

    def short_prompt():
        return np.array(generator.forward_batch([PROMPT[:20]], return_log_probs=True))

    before = short_prompt()
    generator.forward_batch([PROMPT * 30], return_log_probs=False)  # its tables grow with it
    assert np.array_equal(short_prompt(), before)


@pytest.mark.parametrize(
    ("asked", "settings", "window", "factors"),
    [
        (0, {}, ORIGINAL, SHORT),
        (20, {}, 20, SHORT),
        (ORIGINAL, {}, ORIGINAL, SHORT),
        (ORIGINAL + 1, {}, ORIGINAL + 1, LONG),
        (MOST, {}, MOST, LONG),
        (10**6, {}, MOST, LONG),
        (MOST, {"sliding_window": 262144}, MOST, LONG),
        (MOST, {"sliding_window": 500}, 500, LONG),
        # No more than the short factors hold for can be used, so they are the right ones.
        (MOST, {"sliding_window": 30}, 30, SHORT),
    ],
)
def test_window_and_factors(tmp_path, asked, settings, window, factors):
    folder = make_tiny_phi3(tmp_path / "hub", **(SETTINGS | settings))
    architecture = open_source(folder, Label("tiny"), asked).architecture
    assert architecture.context_window == window
    assert architecture.rope.factors == tuple(factors)
    assert architecture.rope.attention == pytest.approx(STRETCH)
    assert architecture.rope.is_long == (factors is LONG)
    assert ("its long factors" in architecture.context_why) == (factors is LONG)
    assert (f"{window} of {MOST} tokens" in architecture.context_why) == (window < MOST or asked > MOST)


def test_a_model_without_longrope_can_be_limited(tmp_path):
    architecture = open_source(make_tiny_phi3(tmp_path / "hub"), Label("tiny"), 100).architecture
    assert (architecture.context_window, architecture.context_why) == (100, "100 of 4096 tokens: as asked")


def test_longrope_without_long_factors_is_refused_only_where_they_are_needed(tmp_path):
    rope = {"type": "longrope", "short_factor": SHORT}
    folder = make_tiny_phi3(tmp_path / "hub", **(SETTINGS | {"rope_scaling": rope}))
    open_source(folder, Label("tiny"), ORIGINAL)
    with pytest.raises(Exception, match=r"rope_scaling.long_factor is nothing"):
        open_source(folder, Label("tiny"), MOST)


@pytest.mark.parametrize(("settings", "scale"), [({"attention_factor": 1.7}, 1.7), ({}, None)])
def test_any_scale_of_the_attention(tmp_path, settings, scale):
    """Uneven stretches and scales that the files state."""
    rope = SETTINGS["rope_scaling"] | settings
    long_model(tmp_path, 1000, rope_scaling=rope, max_position_embeddings=1999)
    stretch = scale or math.sqrt(1 + math.log(1999 / ORIGINAL) / math.log(ORIGINAL))
    reference = log_probabilities(WEIGHTS, PROMPT, 2, factors=LONG, stretch=stretch)
    assert_same(engine_log_probabilities(tmp_path / "out", PROMPT), reference)


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_the_long_regime_with_three_quarters_of_each_head(tmp_path, quantization):
    long = LONG[:6]
    rope = {"type": "longrope", "short_factor": SHORT[:6], "long_factor": long}
    long_model(tmp_path, 1000, quantization, rope_scaling=rope, partial_rotary_factor=0.75)
    weights = WEIGHTS
    if quantization == "int8":  # the rows of queries are scaled, which their int8 scales take up
        weights = {name: as_int8(values) if values.ndim == 2 else values for name, values in WEIGHTS.items()}
    reference = log_probabilities(weights, PROMPT, 2, factors=long, stretch=STRETCH, rotary_dim=12)
    generator = ctranslate2.Generator(str(tmp_path / "out"), intra_threads=1, compute_type="float32")
    engine = np.array(generator.forward_batch([PROMPT], return_log_probs=True))[0].astype(np.float64)
    assert_same(engine, reference)


def as_int8(values):
    scale = 127 / np.abs(values).max(axis=1, keepdims=True)
    return np.rint(values * scale) / scale


def test_the_long_regime_from_gguf(tmp_path):
    path = write_gguf(
        tmp_path / "tiny.gguf",
        WEIGHTS,
        2,
        architecture="phi3",
        extra={"rope_factors_short.weight": SHORT, "rope_factors_long.weight": LONG},
        rope_scaling_orig_ctx_len=ORIGINAL,
        rope_scaling_attn_factors=STRETCH,
    )
    manifest = convert(open_source(path, Label("tiny"), 200), tmp_path / "out", "float32", lambda progress: None)
    assert manifest.context_window == 200
    reference = log_probabilities(WEIGHTS, PROMPT, 2, factors=LONG, stretch=STRETCH)
    assert_same(engine_log_probabilities(tmp_path / "out", PROMPT), reference)


def test_nothing_is_left_to_what_the_engine_cannot_do_in_half_precision(tmp_path):
    """It multiplies float16 sines by a float32 scale where these two are set, and fails."""
    long_model(tmp_path, 1000)
    variables, aliases = read_model_bin(tmp_path / "out" / "model.bin")
    assert not [name for name in variables if "max_position_embeddings" in name]
    shared = f"decoder/{rotary_variables.FACTORS}"
    assert variables[shared][0] == "float32"
    for layer in range(2):
        for kind in ("short", "long"):
            assert aliases[f"decoder/layer_{layer}/self_attention/rotary_scaling_{kind}_factor"] == shared


def test_the_engine_leaves_the_factors_as_they_are_by_their_name(tmp_path, monkeypatch):
    """Stored as float16 they stay float16 in a float32 model, so stored as float32 they do in a float16 one."""

    def halves(rope):
        return Vector(np.array(rope.factors, np.float16), "float16")

    monkeypatch.setattr(rotary_variables, "_factors", halves)
    long_model(tmp_path / "scale", 1000)
    with pytest.raises(ValueError, match="expected storage to be of type float32, but is of type float16"):
        engine_log_probabilities(tmp_path / "scale" / "out")
    monkeypatch.setattr(rotary_variables, "FACTORS", "rotary_factors")
    long_model(tmp_path / "other", 1000)
    engine_log_probabilities(tmp_path / "other" / "out")  # converted to float32 at load
