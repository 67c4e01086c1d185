"""Whatever stands in a config.json or in GGUF metadata: an Architecture or one clear line, and nothing else."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_phi3 import phi3_config, random_tensors

from phitui.core.errors import PhituiError
from phitui.models.convert.architectures import Architecture
from phitui.models.convert.awq import scheme
from phitui.models.convert.gguf_config import from_gguf_metadata
from phitui.models.convert.hub_config import from_hub_config
from phitui.models.convert.settings import Settings

NUMBERS = st.one_of(
    st.integers(-2, 8), st.sampled_from([16, 64, 4096, 2**31, 10**400]), st.floats(), st.just(None), st.booleans()
)
VALUES = st.one_of(NUMBERS, st.text(max_size=5), st.lists(NUMBERS, max_size=9), st.dictionaries(st.text(), NUMBERS))
ROPE = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["longrope", "su", "llama3", "linear", "default", "dynamic", 7]),
        "rope_type": st.sampled_from(["longrope", "llama3", "linear"]),
        "short_factor": st.one_of(st.just([1.5] * 8), VALUES),
        "long_factor": st.one_of(st.just([2.5] * 8), VALUES),
        "factor": NUMBERS,
        "low_freq_factor": NUMBERS,
        "high_freq_factor": NUMBERS,
        "original_max_position_embeddings": NUMBERS,
        "partial_rotary_factor": NUMBERS,
        "attention_factor": VALUES,
    },
)
CONFIG = phi3_config(2, False)
KEYS = [*CONFIG, "head_dim", "partial_rotary_factor", "quantization_config"]
CHANGES = st.dictionaries(st.sampled_from(KEYS), VALUES)
CONTEXTS = st.sampled_from([0, 16, 100, 5000, 2**31 - 1])
AWQ = st.fixed_dictionaries(
    {"quant_method": st.just("awq")},
    optional={
        "bits": st.one_of(st.just(4), VALUES),
        "group_size": st.one_of(st.just(128), VALUES),
        "version": st.one_of(st.just("gemm"), VALUES),
        "zero_point": VALUES,
        "backend": VALUES,
    },
)


@settings(max_examples=400, deadline=None)
@given(CHANGES, st.one_of(ROPE, VALUES), st.sampled_from(["rope_scaling", "rope_parameters"]), st.booleans(), CONTEXTS)
def test_any_config(changes, rope, key, llama, context):
    config = CONFIG | {key: rope} | ({"model_type": "llama"} if llama else {}) | changes
    one_line(lambda: from_hub_config(config, Path("config.json"), set(random_tensors(0, 2, False)), context))


@settings(max_examples=200, deadline=None)
@given(AWQ)
def test_any_quantization(stated):
    one_line(lambda: scheme(Settings({"quantization_config": stated}, Path("config.json"))))


class Factors:
    """A GGUF file of which only the tensors of the rotary factors are asked for."""

    where = Path("x.gguf")

    def __init__(self, factors):
        self._factors = np.array(factors, np.float32)

    def names(self):
        return ["rope_factors_short.weight", "rope_factors_long.weight", "rope_freqs.weight"]

    def shape(self, name):
        return self._factors.shape

    def rows(self, name, start, stop):
        return self._factors[start:stop]


METADATA = {
    "block_count": 2,
    "context_length": 4096,
    "embedding_length": 64,
    "feed_forward_length": 96,
    "attention.head_count": 4,
    "attention.layer_norm_rms_epsilon": 1e-5,
}
MORE = [
    *("rope.dimension_count", "rope.freq_base", "rope.scaling.type", "rope.scaling.original_context_length"),
    *("rope.scaling.attn_factor", "attention.sliding_window", "attention.head_count_kv", "expert_count"),
]


@settings(max_examples=400, deadline=None)
@given(
    st.dictionaries(st.sampled_from([*METADATA, *MORE]), VALUES),
    st.sampled_from(["phi3", "llama"]),
    st.lists(st.floats(width=32), min_size=7, max_size=9),
    CONTEXTS,
)
def test_any_metadata(changes, kind, factors, context):
    metadata = {f"{kind}.{key}": value for key, value in (METADATA | changes).items()}
    one_line(lambda: from_gguf_metadata({"general.architecture": kind, **metadata}, Factors(factors), 512, context))


def one_line(read):
    try:
        made = read()
    except PhituiError as error:
        assert "\n" not in str(error)
    else:
        if isinstance(made, Architecture):
            assert all(factor > 0 for factor in made.rope.factors)
            assert made.context_window > 0 and math.isfinite(made.rope.attention)
