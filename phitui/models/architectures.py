"""What the converter knows of model architectures: sizes, and which tensor is which weight.

Both kinds are pre-norm decoders with RMS norms, rotary positions and a gated feed-forward net; they differ in
the names and in what is fused. Phi-3 keeps queries, keys and values in one matrix, and gate and up in
another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phitui.errors import PhituiError
from phitui.models.manifest import Sizes

# No model of these kinds comes near; a damaged file can.
_LARGEST = {"layers": 1000, "vocabulary": 2_000_000, "model_dim": 100_000, "ff_dim": 1_000_000}


@dataclass(frozen=True)
class TensorNames:
    """The names of a checkpoint's tensors; {i} is the layer. Fused tensors are lists of one."""

    embeddings: str
    norm: str
    output: str
    attention_norm: str
    qkv: tuple[str, ...]
    attention_output: str
    ffn_norm: str
    gate_up: tuple[str, ...]
    down: str
    ignored: str = r"$^"


_LAYER = "model.layers.{i}."
PHI3_HUB = TensorNames(
    embeddings="model.embed_tokens.weight",
    norm="model.norm.weight",
    output="lm_head.weight",
    attention_norm=_LAYER + "input_layernorm.weight",
    qkv=(_LAYER + "self_attn.qkv_proj.weight",),
    attention_output=_LAYER + "self_attn.o_proj.weight",
    ffn_norm=_LAYER + "post_attention_layernorm.weight",
    gate_up=(_LAYER + "mlp.gate_up_proj.weight",),
    down=_LAYER + "mlp.down_proj.weight",
)
LLAMA_HUB = TensorNames(
    embeddings=PHI3_HUB.embeddings,
    norm=PHI3_HUB.norm,
    output=PHI3_HUB.output,
    attention_norm=PHI3_HUB.attention_norm,
    qkv=tuple(_LAYER + f"self_attn.{x}_proj.weight" for x in "qkv"),
    attention_output=PHI3_HUB.attention_output,
    ffn_norm=PHI3_HUB.ffn_norm,
    gate_up=(_LAYER + "mlp.gate_proj.weight", _LAYER + "mlp.up_proj.weight"),
    down=PHI3_HUB.down,
    # A table that older checkpoints carry; it follows from rope_theta.
    ignored=r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq$",
)
_BLOCK = "blk.{i}."
LLAMA_GGUF = TensorNames(
    embeddings="token_embd.weight",
    norm="output_norm.weight",
    output="output.weight",
    attention_norm=_BLOCK + "attn_norm.weight",
    qkv=tuple(_BLOCK + f"attn_{x}.weight" for x in "qkv"),
    attention_output=_BLOCK + "attn_output.weight",
    ffn_norm=_BLOCK + "ffn_norm.weight",
    gate_up=(_BLOCK + "ffn_gate.weight", _BLOCK + "ffn_up.weight"),
    down=_BLOCK + "ffn_down.weight",
)


@dataclass(frozen=True)
class Architecture:
    """All of a model but its weights and its tokenizer.

    `context_window` is how many tokens the converted model is right for, which may be fewer than the
    checkpoint promises; `context_why` says so. `rope_interleaved`: the halves of a rotary pair are
    neighbours, as in GGUF files of the llama kind. `rope_factors` divide the rotary frequencies (the "short
    factors" of LongRoPE), and `rope_stretch` is (max, original) positions, from which LongRoPE's scaling of
    the attention follows.
    """

    name: str
    sizes: Sizes
    names: TensorNames
    epsilon: float
    rope_base: float
    rope_interleaved: bool
    tied: bool
    context_window: int
    context_why: str = ""
    rope_factors: tuple[float, ...] = ()
    rope_stretch: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class _Values:
    """A model's settings, untrusted: each is checked as it is read."""

    values: dict[str, Any]
    where: Path
    prefix: str = ""
    _fix: str = field(default="Fetch the model again.", repr=False)

    def integer(self, key: str, default: int | None = None) -> int:
        value = self.values.get(self.prefix + key)
        if value is None:
            value = default
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.wrong(key, value, "a positive whole number")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.values.get(self.prefix + key)
        if value is None:
            value = default
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e30:
            raise self.wrong(key, value, "a positive number")
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        return bool(self.values.get(self.prefix + key, default))

    def wrong(self, key: str, value: object, wanted: str) -> PhituiError:
        shown = "nothing" if value is None else repr(value)[:60]
        return PhituiError(f"{self.where}: {self.prefix}{key} is {shown}, expected {wanted}", self._fix)

    def unsupported(self, what: str) -> PhituiError:
        return PhituiError(f"{self.where}: {what}, which phitui cannot convert", "Choose another model.")


def from_hub_config(config: dict[str, Any], where: Path, tensors: set[str]) -> Architecture:
    """The architecture that a Hub folder's config.json describes. `tensors` are the checkpoint's names.

    Raises PhituiError for an architecture that is not supported, and for settings that are missing or wrong.
    """
    values = _Values(config, where)
    kind = config.get("model_type")
    if kind not in ("phi3", "llama"):
        names = ", ".join(map(str, config.get("architectures") or [])) or "no name"
        raise values.unsupported(f"the architecture is {str(kind)[:60]!r} ({names[:60]})")
    if config.get("quantization_config"):
        raise values.unsupported("the weights are quantized already")
    sizes = _hub_sizes(values)
    rope = _rope_settings(values)
    names_of = PHI3_HUB if kind == "phi3" else LLAMA_HUB
    factors, stretch = _long_rope(values, rope, sizes) if kind == "phi3" else _plain_rope(values, rope)
    window, why = _window(values, stretch)
    architecture = Architecture(
        name=kind,
        sizes=sizes,
        names=names_of,
        epsilon=values.number("rms_norm_eps", 1e-5 if kind == "phi3" else 1e-6),
        rope_base=_Values({**config, **rope}, where).number("rope_theta", 10000.0),
        rope_interleaved=False,
        tied=values.flag("tie_word_embeddings"),
        context_window=window,
        context_why=why,
        rope_factors=factors,
        rope_stretch=stretch,
    )
    _refuse_unknown_tensors(architecture, values, tensors)
    return architecture


def _hub_sizes(values: _Values) -> Sizes:
    heads, model_dim = values.integer("num_attention_heads"), values.integer("hidden_size")
    if values.values.get("hidden_act", "silu") not in ("silu", "swish"):
        raise values.unsupported(f"the activation is {values.values['hidden_act']!r}")
    sizes = Sizes(
        layers=values.integer("num_hidden_layers"),
        heads=heads,
        kv_heads=values.integer("num_key_value_heads", heads),
        head_dim=values.integer("head_dim", model_dim // heads or 1),
        model_dim=model_dim,
        ff_dim=values.integer("intermediate_size"),
        vocabulary=values.integer("vocab_size"),
    )
    _check_sizes(sizes, values)
    return sizes


def _check_sizes(sizes: Sizes, values: _Values) -> None:
    for key, limit in _LARGEST.items():
        if getattr(sizes, key) > limit:
            raise values.unsupported(f"{key} is {getattr(sizes, key)}")
    if sizes.heads % sizes.kv_heads or sizes.head_dim % 2 or sizes.heads * sizes.head_dim > _LARGEST["model_dim"]:
        raise values.unsupported(
            f"there are {sizes.heads} heads of {sizes.head_dim} on {sizes.kv_heads} key-value heads"
        )


def _rope_settings(values: _Values) -> dict[str, Any]:
    """rope_scaling, or rope_parameters as transformers 5 writes it. {} where positions are not scaled."""
    for key in ("rope_parameters", "rope_scaling"):
        rope = values.values.get(key)
        if isinstance(rope, dict):
            return rope
    return {}


def _rope_kind(rope: dict[str, Any]) -> str:
    return str(rope.get("rope_type", rope.get("type", "default")))


def _plain_rope(values: _Values, rope: dict[str, Any]) -> tuple[tuple[float, ...], tuple[int, int]]:
    if _rope_kind(rope) != "default":
        raise values.unsupported(f"positions are scaled by {_rope_kind(rope)[:40]!r}")
    return (), (0, 0)


def _long_rope(values: _Values, rope: dict[str, Any], sizes: Sizes) -> tuple[tuple[float, ...], tuple[int, int]]:
    """LongRoPE's short factors and its (max, original) positions; nothing where positions are not scaled."""
    if values.number("partial_rotary_factor", rope.get("partial_rotary_factor", 1.0)) != 1.0:
        raise values.unsupported("only a part of each head has rotary positions")
    if _rope_kind(rope) not in ("longrope", "su", "yarn"):
        return _plain_rope(values, rope)
    short = rope.get("short_factor")
    if not isinstance(short, list) or len(short) != sizes.head_dim // 2:
        raise values.wrong("rope_scaling.short_factor", short, f"{sizes.head_dim // 2} numbers")
    if not all(isinstance(f, int | float) and 0 < f < 1e6 for f in short):
        raise values.wrong("rope_scaling.short_factor", short, "positive numbers")
    most = values.integer("max_position_embeddings")
    settings = rope | {key: value for key, value in values.values.items() if value is not None}
    original = _Values(settings, values.where).integer("original_max_position_embeddings", most)
    if most % original or rope.get("attention_factor") is not None:
        # The engine divides whole numbers, and derives the attention's scaling itself.
        raise values.unsupported("LongRoPE is stretched by an uneven or a custom factor")
    return tuple(float(f) for f in short), (most, original)


def _window(values: _Values, stretch: tuple[int, int]) -> tuple[int, str]:
    """How many tokens the converted model is right for, and why not more."""
    most = values.integer("max_position_embeddings")
    window, why = most, ""
    if stretch[1]:
        # With the short factors alone the engine stays in one regime: its own switch to the long ones is for
        # good.
        window, why = stretch[1], "LongRoPE is converted with its short factors"
    sliding = values.values.get("sliding_window")
    used = values.flag("use_sliding_window", True)
    if isinstance(sliding, int) and used and 0 < sliding < window:
        # Up to this length a sliding window and full attention, which is what the engine has, are the same.
        window, why = sliding, "the model's attention has a sliding window"
    return window, f"{window} of {most} tokens: {why}" if why else ""


def from_gguf_metadata(metadata: dict[str, Any], where: Path, tensors: set[str], vocabulary: int) -> Architecture:
    """The architecture that a GGUF file's metadata describes. `vocabulary` is the number of its tokens.

    Raises PhituiError as `from_hub_config` does.
    """
    kind = metadata.get("general.architecture")
    if kind != "llama":
        raise _Values(metadata, where).unsupported(f"the architecture is {str(kind)[:60]!r}")
    values = _Values(metadata, where, "llama.", "Fetch the file again.")
    heads, model_dim = values.integer("attention.head_count"), values.integer("embedding_length")
    head_dim = values.integer("attention.key_length", model_dim // heads or 1)
    sizes = Sizes(
        layers=values.integer("block_count"),
        heads=heads,
        kv_heads=values.integer("attention.head_count_kv", heads),
        head_dim=head_dim,
        model_dim=model_dim,
        ff_dim=values.integer("feed_forward_length"),
        vocabulary=vocabulary,
    )
    _check_sizes(sizes, values)
    _refuse_gguf_specials(values, head_dim)
    architecture = Architecture(
        name="llama",
        sizes=sizes,
        names=LLAMA_GGUF,
        epsilon=values.number("attention.layer_norm_rms_epsilon"),
        rope_base=values.number("rope.freq_base", 10000.0),
        rope_interleaved=True,
        tied=LLAMA_GGUF.output not in tensors,
        context_window=values.integer("context_length"),
    )
    _refuse_unknown_tensors(architecture, values, tensors)
    return architecture


def _refuse_gguf_specials(values: _Values, head_dim: int) -> None:
    if values.integer("rope.dimension_count", head_dim) != head_dim:
        raise values.unsupported("only a part of each head has rotary positions")
    if values.values.get("llama.rope.scaling.type", "none") != "none":
        raise values.unsupported(f"positions are scaled by {values.values['llama.rope.scaling.type']!r}")
    if values.integer("attention.value_length", head_dim) != head_dim or values.flag("expert_count"):
        raise values.unsupported("it has a mixture of experts or heads of unequal size")


def _refuse_unknown_tensors(architecture: Architecture, values: _Values, tensors: set[str]) -> None:
    """A tensor that nobody reads (a bias, a norm, an adapter) would change the answers: say so."""
    names = architecture.names
    known = {names.embeddings, names.norm, names.output}
    each = [
        names.attention_norm,
        *names.qkv,
        names.attention_output,
        names.ffn_norm,
        *names.gate_up,
        names.down,
    ]
    known.update(name.format(i=i) for i in range(architecture.sizes.layers) for name in each)
    strange = sorted(name for name in tensors - known if not re.match(names.ignored, name))
    if strange:
        raise values.unsupported(f"it has the tensor {strange[0][:100]!r} ({len(strange)} such)")
