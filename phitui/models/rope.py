"""Rotary positions, and the ways in which checkpoints stretch them.

Every way but the stretching of LongRoPE's attention is a divisor for each rotary frequency. CTranslate2 takes
divisors as they are (its "Su" kind), so that one form carries LongRoPE's factors, Llama 3's, the linear kind
and those that llama.cpp has computed already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from phitui.models.settings import Settings

_LONG = ("longrope", "su", "yarn")  # three names that Phi-3's own files have had for the same thing


@dataclass(frozen=True)
class Rope:
    """`dim` is how many of a head's elements turn, from the first. `factors` divide the frequencies; () is none.

    `interleaved`: the halves of a rotary pair are neighbours, as in GGUF files of the llama kind. `stretch` is
    (max, original) positions, from which the engine derives LongRoPE's scaling of the attention; `regime` is up
    to how many positions the factors hold (0: all).
    """

    base: float
    dim: int
    interleaved: bool = False
    factors: tuple[float, ...] = ()
    stretch: tuple[int, int] = (0, 0)
    regime: int = 0


def from_config(settings: Settings, head_dim: int, most: int) -> Rope:
    """The rotary positions of a Hub folder's config.json; `most` is max_position_embeddings.

    Raises PhituiError for settings that are wrong or that phitui cannot convert.
    """
    scaling = _scaling(settings)
    both = Settings({**settings.values, **scaling}, settings.where)
    base = both.number("rope_theta", 10000.0)
    dim = _rotary_dim(settings, both.number("partial_rotary_factor", 1.0), head_dim)
    kind = str(scaling.get("rope_type", scaling.get("type", "default")))
    is_phi3 = settings.values.get("model_type") == "phi3"
    if kind in _LONG and is_phi3:
        return _long(both, Rope(base, dim), most)
    if kind == "llama3":
        return Rope(base, dim, factors=llama3_factors(both, base, dim))
    if kind == "linear":
        return Rope(base, dim, factors=(both.number("factor"),) * (dim // 2))
    if kind != "default":
        raise settings.unsupported(f"positions are scaled by {kind[:40]!r}")
    return Rope(base, dim)


def _scaling(settings: Settings) -> dict[str, Any]:
    """rope_scaling, or rope_parameters as transformers 5 writes it. {} where positions are not scaled."""
    for key in ("rope_parameters", "rope_scaling"):
        found = settings.values.get(key)
        if isinstance(found, dict):
            return {name: value for name, value in found.items() if value is not None}
    return {}


def _rotary_dim(settings: Settings, share: float, head_dim: int) -> int:
    """Phi-4-mini turns three quarters of each head."""
    dim = int(head_dim * share)
    whole = settings.values.get("model_type") != "phi3"
    if dim % 2 or not 0 < dim <= head_dim or (whole and dim != head_dim):
        raise settings.unsupported(f"{share:g} of each head's {head_dim} elements has rotary positions")
    return dim


def _long(settings: Settings, rope: Rope, most: int) -> Rope:
    short = settings.values.get("short_factor")
    factors = checked_factors(settings, "rope_scaling.short_factor", short, rope.dim)
    original = settings.integer("original_max_position_embeddings", most)
    return long_rope(settings, rope, factors, (most, original), settings.values.get("attention_factor"))


def long_rope(
    settings: Settings, rope: Rope, factors: tuple[float, ...], stretch: tuple[int, int], attention: object
) -> Rope:
    """LongRoPE in its first regime. `attention` is the scaling of the attention that the files state, if any.

    Raises PhituiError where it is not the one that the engine derives from `stretch`.
    """
    most, original = stretch
    # transformers' and llama.cpp's formula; the engine has the same, of a whole number.
    scale = most // original
    derived = math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 and original > 1 else 1.0
    stated = attention if isinstance(attention, int | float) and attention > 0 else derived
    if (most > original and most % original) or abs(stated - derived) > 1e-4:
        raise settings.unsupported("LongRoPE is stretched by an uneven or a custom factor")
    return Rope(rope.base, rope.dim, rope.interleaved, factors, stretch, original)


def checked_factors(settings: Settings, name: str, values: object, dim: int) -> tuple[float, ...]:
    """One positive number for each rotary pair. Raises PhituiError for anything else."""
    if not isinstance(values, list) or len(values) != dim // 2:
        raise settings.wrong(name, values, f"{dim // 2} numbers")
    if not all(isinstance(f, int | float) and 0 < f < 1e6 for f in values):
        raise settings.wrong(name, values, "positive numbers")
    return tuple(float(f) for f in values)


def llama3_factors(settings: Settings, base: float, dim: int) -> tuple[float, ...]:
    """Llama 3.1's scaling as divisors: none for short wave lengths, `factor` for long ones, mixed in between.

    The formula is transformers' `_compute_llama3_parameters`.
    """
    factor, low, high = (settings.number(key) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    original = settings.integer("original_max_position_embeddings")
    if high <= low:
        raise settings.wrong("rope_scaling.high_freq_factor", high, f"more than low_freq_factor, {low:g}")

    def divisor(index: int) -> float:
        wave_length: float = 2 * math.pi * base ** (2 * index / dim)
        if wave_length < original / high:
            return 1.0
        if wave_length > original / low:
            return factor
        smooth = (original / wave_length - low) / (high - low)
        return 1 / ((1 - smooth) / factor + smooth)

    return tuple(divisor(index) for index in range(dim // 2))
