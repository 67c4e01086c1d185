"""Rotary positions, and the ways in which checkpoints stretch them.

Every way but LongRoPE's scaling of the attention is a divisor for each rotary frequency. CTranslate2 takes
divisors as they are (its "Su" kind), so that one form carries LongRoPE's factors, Llama 3's, the linear kind
and those that llama.cpp has computed already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from phitui.models.convert.settings import Settings

_LONG = ("longrope", "su", "yarn")  # three names that Phi-3's own files have had for the same thing


@dataclass(frozen=True)
class Rope:
    """`dim` is how many of a head's elements turn, from the first. `factors` divide the frequencies; () is none.

    `interleaved`: the halves of a rotary pair are neighbours, as in GGUF files of the llama kind. `attention`
    multiplies the rotated elements of queries and keys. `original` is up to how many positions LongRoPE's short
    factors hold (0: there is no LongRoPE); `is_long` says that `factors` are its long ones.
    """

    base: float
    dim: int
    interleaved: bool = False
    factors: tuple[float, ...] = ()
    attention: float = 1.0
    original: int = 0
    is_long: bool = False


def from_config(settings: Settings, head_dim: int, most: int, needed: int = 0) -> Rope:
    """The rotary positions of a Hub folder's config.json; `most` is max_position_embeddings.

    `needed` is how many positions are wanted (0: no wish): more than LongRoPE's short factors hold for takes
    its long ones.
    Raises PhituiError for settings that are wrong or that phitui cannot convert.
    """
    scaling = _scaling(settings)
    both = Settings({**settings.values, **scaling}, settings.where)
    base = both.number("rope_theta", 10000.0)
    dim = _rotary_dim(settings, both.number("partial_rotary_factor", 1.0), head_dim)
    kind = str(scaling.get("rope_type", scaling.get("type", "default")))
    is_phi3 = settings.values.get("model_type") == "phi3"
    if kind in _LONG and is_phi3:
        return _long(both, Rope(base, dim), most, needed)
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


def _long(settings: Settings, rope: Rope, most: int, needed: int) -> Rope:
    original = settings.integer("original_max_position_embeddings", most)
    key = "long_factor" if needed > original else "short_factor"
    factors = checked_factors(settings, f"rope_scaling.{key}", settings.values.get(key), rope.dim)
    attention = attention_scale(most, original, settings.values.get("attention_factor"))
    return replace(rope, factors=factors, attention=attention, original=original, is_long=needed > original)


def attention_scale(most: int, original: int, stated: object) -> float:
    """What LongRoPE multiplies rotated queries and keys by, in both of its regimes.

    `stated` is what the files say, if they do; else it follows from the positions, `most` and `original`, by the
    formula of transformers (`_compute_longrope_parameters`) and llama.cpp.
    """
    if isinstance(stated, int | float) and not isinstance(stated, bool) and 0 < stated < 1e3:
        return float(stated)
    return math.sqrt(1 + math.log(most / original) / math.log(original)) if most > original > 1 else 1.0


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
