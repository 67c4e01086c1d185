"""The architecture that a GGUF file's metadata describes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from phitui.models.convert.architectures import (
    LLAMA_GGUF,
    PHI3_GGUF,
    Architecture,
    limited_window,
    needed_positions,
    refuse_unknown_tensors,
)
from phitui.models.convert.checkpoint import Checkpoint
from phitui.models.convert.rope import Rope, attention_scale, checked_factors
from phitui.models.convert.settings import Settings, check_sizes
from phitui.models.manifest import Sizes

_NAMES = {"llama": LLAMA_GGUF, "phi3": PHI3_GGUF}
_LLAMA_FACTORS = "rope_freqs.weight"
_PHI3_FACTORS = "rope_factors_short.weight"
_PHI3_LONG_FACTORS = "rope_factors_long.weight"


def from_gguf_metadata(metadata: dict[str, Any], file: Checkpoint, vocabulary: int, context: int = 0) -> Architecture:
    """The architecture of a GGUF file. `vocabulary` is the number of its tokens; `context` is how many tokens the
    user wants (0: said nothing).

    Raises PhituiError for an architecture that is not supported, and for settings that are missing or wrong.
    """
    kind = metadata.get("general.architecture")
    if kind not in _NAMES:
        raise Settings(metadata, file.where).unsupported(f"the architecture is {str(kind)[:60]!r}")
    settings = Settings(metadata, file.where, f"{kind}.", "Fetch the file again.")
    sizes = _sizes(settings, vocabulary)
    most = settings.integer("context_length")
    sliding = settings.get("attention.sliding_window")
    needed = needed_positions(context, most, sliding)
    rope = _rope(settings, file, str(kind), sizes.head_dim, most, needed)
    window, why = limited_window(rope, most, sliding, context)
    architecture = Architecture(
        name=str(kind),
        sizes=sizes,
        names=_NAMES[str(kind)],
        epsilon=settings.number("attention.layer_norm_rms_epsilon"),
        rope=rope,
        tied=_NAMES[str(kind)].output not in file.names(),
        context_window=window,
        context_why=why,
    )
    refuse_unknown_tensors(architecture, settings, set(file.names()))
    return architecture


def _sizes(settings: Settings, vocabulary: int) -> Sizes:
    heads, model_dim = settings.integer("attention.head_count"), settings.integer("embedding_length")
    head_dim = settings.integer("attention.key_length", model_dim // heads or 1)
    sizes = Sizes(
        layers=settings.integer("block_count"),
        heads=heads,
        kv_heads=settings.integer("attention.head_count_kv", heads),
        head_dim=head_dim,
        model_dim=model_dim,
        ff_dim=settings.integer("feed_forward_length"),
        vocabulary=vocabulary,
    )
    check_sizes(sizes, settings)
    if settings.integer("attention.value_length", head_dim) != head_dim or settings.flag("expert_count"):
        raise settings.unsupported("it has a mixture of experts or heads of unequal size")
    return sizes


def _rope(settings: Settings, file: Checkpoint, kind: str, head_dim: int, most: int, needed: int) -> Rope:
    dim = settings.integer("rope.dimension_count", head_dim)
    # A part of the head could be turned in the llama kind, too, but no known model does it.
    if dim > head_dim or dim % 2 or (kind == "llama" and dim != head_dim):
        raise settings.unsupported(f"only {dim} of each head's {head_dim} elements have rotary positions")
    # llama.cpp permutes the rows of llama's queries and keys so that rotary pairs are neighbours.
    plain = Rope(settings.number("rope.freq_base", 10000.0), dim, interleaved=kind == "llama")
    scaling = settings.get("rope.scaling.type") or "none"
    if kind == "phi3" and _PHI3_FACTORS in file.names():
        return _long(settings, file, plain, most, needed)
    if kind == "llama" and _LLAMA_FACTORS in file.names():
        return Rope(plain.base, dim, plain.interleaved, _factors(settings, file, _LLAMA_FACTORS, dim))
    if scaling == "linear":
        factors = (settings.number("rope.scaling.factor"),) * (dim // 2)
        return Rope(plain.base, dim, plain.interleaved, factors)
    if scaling != "none":
        raise settings.unsupported(f"positions are scaled by {str(scaling)[:40]!r}")
    return plain


def _long(settings: Settings, file: Checkpoint, plain: Rope, most: int, needed: int) -> Rope:
    original = settings.integer("rope.scaling.original_context_length", most)
    is_long = needed > original
    factors = _factors(settings, file, _PHI3_LONG_FACTORS if is_long else _PHI3_FACTORS, plain.dim)
    attention = attention_scale(most, original, settings.get("rope.scaling.attn_factor"))
    return replace(plain, factors=factors, attention=attention, original=original, is_long=is_long)


def _factors(settings: Settings, file: Checkpoint, name: str, dim: int) -> tuple[float, ...]:
    shape = file.shape(name)
    if shape != (dim // 2,):
        raise settings.wrong(name, list(shape), f"{dim // 2} numbers")
    return checked_factors(settings, name, file.rows(name, 0, dim // 2).tolist(), dim)
