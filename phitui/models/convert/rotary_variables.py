"""Rotary positions as variables of CTranslate2, in a form that it computes rightly in every precision.

Its own way fails in half precision, at the first token (4.8.5, "expected storage to be of type float32, but is of
type float16" and the reverse): it converts the factors to the type of the activations at load and then reads them as
float32, and it multiplies float16 sines by a float32 scale. So the factors lie in one variable whose name has
"_scale" in it, which it leaves as it is, and the layers have aliases of it; and LongRoPE's scaling of the attention
goes into the scale of the queries.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phitui.models.convert.quantize import Vector
from phitui.models.convert.rope import Rope
from phitui.models.manifest import Sizes

FACTORS = "rotary_factors_scale"


def set_positions(attention: Any, rope: Rope, head_dim: int) -> None:
    """Fill what one layer's attention needs, but for the aliases of the factors."""
    if rope.attention != 1 and rope.dim == head_dim:
        # Queries and keys are both scaled, so their products are by the square.
        attention.queries_scale = np.float32(rope.attention**2 / math.sqrt(head_dim))
    if rope.factors:
        # A place for the aliases, which `ModelSpec.validate` would take for arrays.
        attention.rotary_scaling_short_factor = attention.rotary_scaling_long_factor = _factors(rope)


def share_factors(decoder: Any, rope: Rope) -> None:
    """Put the factors where the engine does not convert them, with aliases from all layers. After `validate`.

    Short and long ones are the same: the engine's own switch from one to the other is for good.
    """
    if not rope.factors:
        return
    decoder.__dict__[FACTORS] = _factors(rope)  # its classes know no such attribute
    for layer in decoder.layer:
        layer.self_attention.rotary_scaling_short_factor = f"decoder/{FACTORS}"
        layer.self_attention.rotary_scaling_long_factor = f"decoder/{FACTORS}"


def _factors(rope: Rope) -> Vector:
    return Vector(np.array(rope.factors, np.float32), "float32")


def query_scales(rope: Rope, sizes: Sizes) -> NDArray[np.float32] | None:
    """Factors for the rows of the fused queries, keys and values where only a part of each head is scaled.

    None where there is nothing to do: `set_positions` has done it, or there is no scaling.
    """
    if rope.attention == 1 or rope.dim == sizes.head_dim:
        return None
    scales = np.ones(((sizes.heads + 2 * sizes.kv_heads), sizes.head_dim), np.float32)
    scales[: sizes.heads, : rope.dim] = rope.attention**2
    return scales.reshape(-1)
