"""Quantized weights and products in torch, by their definition: what CTranslate2's are compared with."""

from __future__ import annotations

import copy

import torch
from transformers import PreTrainedModel


def rounded(model: PreTrainedModel, matrices: str, vectors: str) -> PreTrainedModel:
    """A copy whose weights went through the stored types: "int8", "float16", "bfloat16" or "float32"."""
    model = copy.deepcopy(model)
    factors = _folded(model)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            dtype = matrices if weights.ndim == 2 else vectors
            if factors is not None and name.endswith("qkv_proj.weight"):
                weights.copy_(_through(weights * factors, dtype) / factors)
            else:
                weights.copy_(_through(weights, dtype))
    return model


def _folded(model: PreTrainedModel) -> torch.Tensor | None:
    """By what the rows of the fused queries, keys and values are multiplied before they are stored, or None.

    Where a part of each head turns and LongRoPE scales the attention, the scale, once for the queries and once for the
    keys, is in the rows of the queries that turn.
    """
    rotary, config = model.model.rotary_emb, model.config
    turning = 2 * len(rotary.inv_freq)
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if rotary.attention_scaling == 1 or turning == size:
        return None
    factors = torch.ones(config.num_attention_heads + 2 * config.num_key_value_heads, size)
    factors[: config.num_attention_heads, :turning] = rotary.attention_scaling**2
    return factors.reshape(-1, 1)


def _through(weights: torch.Tensor, dtype: str) -> torch.Tensor:
    if dtype == "int8":
        levels, scale = _quantized(weights)
        return levels / scale
    return weights.to(getattr(torch, dtype)).float()


def _quantized(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole numbers from -127 to 127, and the scale of each row: symmetric, as CTranslate2 does it."""
    largest = values.abs().amax(dim=-1, keepdim=True)
    # `127 / largest` would be torch's 127 × (1 / largest), which is one bit off here and there.
    scale = torch.full_like(largest, 127) / largest
    return torch.round(values * scale), scale


class Int8Linear(torch.nn.Module):
    """A product of int8 weights and int8 inputs (quantized row by row as they come), summed without rounding."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self._levels, self._scale = _quantized(weights)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        levels, scale = _quantized(inputs)
        # The sums of whole numbers are exact in float32 up to 2^24, which is about where they end.
        return levels @ self._levels.T / (scale * self._scale.T)


def int8_model(model: PreTrainedModel) -> PreTrainedModel:
    """A copy that computes as CTranslate2's compute type int8 does by its definition.

    Embeddings and all matrices are int8, activations are quantized before each product; norms and attention are
    float32.
    """
    matrices = {name: part.weight.data for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)}
    made = rounded(model, "int8", "float32")
    for name, weights in matrices.items():
        parent, _, child = name.rpartition(".")
        setattr(made.get_submodule(parent), child, Int8Linear(weights))
    return made
