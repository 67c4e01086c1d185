"""The architecture that a Hub folder's config.json describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phitui.models.convert import rope
from phitui.models.convert.architectures import (
    LLAMA_HUB,
    PHI3_HUB,
    Architecture,
    limited_window,
    needed_positions,
    refuse_unknown_tensors,
)
from phitui.models.convert.awq import scheme, settled
from phitui.models.convert.settings import Settings, check_sizes
from phitui.models.convert.tokenizer import read_json
from phitui.models.manifest import Sizes

# By model_type: which tensor is which weight, and rms_norm_eps where config.json leaves it out.
_KINDS = {"phi3": (PHI3_HUB, 1e-5), "llama": (LLAMA_HUB, 1e-6)}


def from_hub_config(config: dict[str, Any], where: Path, tensors: set[str], context: int = 0) -> Architecture:
    """The architecture of config.json. `tensors` are the checkpoint's names; `context` is how many tokens the
    user wants (0: said nothing).

    Raises PhituiError for an architecture that is not supported, and for settings that are missing or wrong.
    """
    settings = Settings(config, where)
    kind = _kind(settings)
    names, epsilon = _KINDS[kind]
    sizes = _sizes(settings)
    most = settings.integer("max_position_embeddings")
    sliding = settings.values.get("sliding_window") if settings.flag("use_sliding_window", True) else None
    rotary = rope.from_config(settings, sizes.head_dim, most, needed_positions(context, most, sliding))
    window, why = limited_window(rotary, most, sliding, context)
    architecture = Architecture(
        name=kind,
        sizes=sizes,
        names=names,
        epsilon=settings.number("rms_norm_eps", epsilon),
        rope=rotary,
        tied=settings.flag("tie_word_embeddings"),
        context_window=window,
        context_why=why,
        awq=scheme(settings),
    )
    refuse_unknown_tensors(architecture, settings, tensors)
    return architecture


def check_config(path: Path, quantization: str = "") -> None:
    """Raise PhituiError for a config.json of a model that phitui cannot convert, as far as that alone tells.

    `quantization` is what the user asked for.
    """
    settings = Settings(read_json(path, required=True), path)
    _kind(settings)
    settled(scheme(settings), quantization, path)


def _kind(settings: Settings) -> str:
    """The architecture, a key of _KINDS."""
    kind = settings.values.get("model_type")
    if not isinstance(kind, str) or kind not in _KINDS:
        names = settings.values.get("architectures")
        said = ", ".join(map(str, names)) if isinstance(names, list) else "no name"
        raise settings.unsupported(f"the architecture is {str(kind)[:60]!r} ({said[:60]})")
    return kind


def _sizes(settings: Settings) -> Sizes:
    heads, model_dim = settings.integer("num_attention_heads"), settings.integer("hidden_size")
    if settings.values.get("hidden_act", "silu") not in ("silu", "swish"):
        raise settings.unsupported(f"the activation is {settings.values['hidden_act']!r}")
    sizes = Sizes(
        layers=settings.integer("num_hidden_layers"),
        heads=heads,
        kv_heads=settings.integer("num_key_value_heads", heads),
        head_dim=settings.integer("head_dim", model_dim // heads or 1),
        model_dim=model_dim,
        ff_dim=settings.integer("intermediate_size"),
        vocabulary=settings.integer("vocab_size"),
    )
    check_sizes(sizes, settings)
    return sizes
