"""Phi-3 and Llama in plain numpy, written from their definition: what the converted models are compared with."""

from __future__ import annotations

import numpy as np
from tiny_phi3 import HEAD_DIM, HEADS, LAYERS


def log_probabilities(
    tensors: dict[str, np.ndarray],
    ids: list[int],
    kv_heads: int,
    *,
    epsilon: float = 1e-5,
    theta: float = 10000.0,
    factors: list[float] | None = None,
    stretch: float = 1.0,
    rotary_dim: int = HEAD_DIM,
) -> np.ndarray:
    """log p of every next token, shaped (positions, vocabulary), in float64.

    `factors` divide the rotary frequencies and `stretch` multiplies sine and cosine (LongRoPE). The first
    `rotary_dim` elements of each head turn.
    """
    tensors = {name: values.astype(np.float64) for name, values in tensors.items()}
    x = tensors["model.embed_tokens.weight"][ids]
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        h = _norm(x, tensors[layer + "input_layernorm.weight"], epsilon)
        qkv = h @ tensors[layer + "self_attn.qkv_proj.weight"].T
        attended = _attention(qkv, kv_heads, _angles(len(ids), theta, factors, rotary_dim), stretch)
        x = x + attended @ tensors[layer + "self_attn.o_proj.weight"].T
        h = _norm(x, tensors[layer + "post_attention_layernorm.weight"], epsilon)
        gate, up = np.split(h @ tensors[layer + "mlp.gate_up_proj.weight"].T, 2, axis=-1)
        x = x + (gate / (1 + np.exp(-gate)) * up) @ tensors[layer + "mlp.down_proj.weight"].T
    x = _norm(x, tensors["model.norm.weight"], epsilon)
    logits = x @ tensors.get("lm_head.weight", tensors["model.embed_tokens.weight"]).T
    logits -= logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def _norm(x: np.ndarray, weight: np.ndarray, epsilon: float) -> np.ndarray:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon) * weight


def _angles(positions: int, theta: float, factors: list[float] | None, rotary_dim: int) -> np.ndarray:
    """(positions, rotary_dim / 2)"""
    frequencies = theta ** (-np.arange(0, rotary_dim, 2) / rotary_dim)
    if factors is not None:
        frequencies = frequencies / np.array(factors)
    return np.outer(np.arange(positions), frequencies)


def _rotate(x: np.ndarray, angles: np.ndarray, stretch: float) -> np.ndarray:
    """x is (heads, positions, head_dim); the halves of what turns are the pairs."""
    half = angles.shape[-1]
    first, second, rest = np.split(x, [half, 2 * half], axis=-1)
    sine, cosine = np.sin(angles) * stretch, np.cos(angles) * stretch
    return np.concatenate([first * cosine - second * sine, second * cosine + first * sine, rest], axis=-1)


def _attention(qkv: np.ndarray, kv_heads: int, angles: np.ndarray, stretch: float) -> np.ndarray:
    """Causal attention; qkv is (positions, (heads + 2 kv_heads) head_dim)."""
    positions = len(qkv)
    heads = qkv.reshape(positions, -1, HEAD_DIM).swapaxes(0, 1)
    q, k, v = np.split(heads, [HEADS, HEADS + kv_heads])
    q, k = _rotate(q, angles, stretch), _rotate(k, angles, stretch)
    k, v = (np.repeat(part, HEADS // kv_heads, axis=0) for part in (k, v))
    scores = q @ k.swapaxes(1, 2) / np.sqrt(HEAD_DIM)
    scores += np.triu(np.full((positions, positions), -np.inf), 1)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return (weights @ v).swapaxes(0, 1).reshape(positions, -1)
