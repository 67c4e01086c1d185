"""Peak memory of a batch in CTranslate2, predicted from a model's sizes and mended by what probes measure.

The terms follow the order in which CTranslate2's Transformer decoder allocates (layers/transformer.cc and
layers/attention.cc of its public source): while the prompt is read, the largest of the feed-forward and the attention
stage of one layer on top of the KV cache; while tokens are made, the KV cache with one layer's tensor copied, because
the cache grows by concatenation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

# CTranslate2 computes its tables of rotary positions for so many positions at a time.
_ROTARY_BLOCK = 2048
# Token ids, lengths and scales of a row's intermediate results.
_ROW_BYTES = 132
# From so many rows × tokens in one product on, AWQ's "gemm" layout is unpacked to float16 first (layers/common.cc).
_UNPACKED_FROM = 1024
# Below this spread of the predicted sizes two measurements say nothing of base and slope apart.
_SPREAD = 1.2
# Runs that are predicted to take less than this share of what is in use at rest do not show how much rows take: what
# allocators hold beside them scatters by as much.
_SCATTER = 0.05


class Shape(NamedTuple):
    """`batch` rows of `prompt` tokens each, to which `new` tokens are added."""

    batch: int
    prompt: int
    new: int

    @property
    def total(self) -> int:
        """Tokens of a row when it is done."""
        return self.prompt + self.new


@dataclass(frozen=True)
class MemoryModel:
    """What CTranslate2 allocates beside the weights, in bytes.

    `kv_dim` is heads × head dimension, of grouped-query models as well: CTranslate2 repeats their keys and values for
    every head before it caches them (`replicate_heads` in layers/attention.cc). `item_bytes` is the size of what is
    computed with: 2 for the float16 and bfloat16 kinds, 4 for float32 and for int8 on a CPU. `int8` says that the
    weights are int8: their products are int32 before they are scaled. `heap` is how much more than it is asked for the
    allocator takes from the system while the cache grows. `unpacked_bytes` is what one matrix of the feed-forward stage
    takes in float16, where the weights are packed in AWQ's "gemm" layout: large products unpack it for as long as they
    last. 0 for all others.
    """

    layers: int
    heads: int
    kv_dim: int
    model_dim: int
    ff_dim: int
    vocabulary: int
    rotary_dim: int
    item_bytes: int
    int8: bool
    workers: int = 1
    heap: float = 1.0
    unpacked_bytes: int = 0

    @property
    def kv_token_bytes(self) -> int:
        """KV cache of one token: keys and values of all layers."""
        return 2 * self.layers * self.kv_dim * self.item_bytes

    def rotary(self, positions: int) -> int:
        """The tables of sine and cosine, which each worker has for each layer and which only grow."""
        blocks = math.ceil(positions / _ROTARY_BLOCK)
        table = 2 * self.rotary_dim * self.item_bytes * _ROTARY_BLOCK
        return self.workers * self.layers * blocks * table

    def prefill(self, shape: Shape) -> int:
        """The peak while the prompt is read. All of it but the last token is: that one is the first decode step."""
        tokens = max(shape.prompt - 1, 0)
        read = shape.batch * tokens
        stage = max(read * self._ffn_row() + self._unpacked(shape.batch, tokens), read * self._attention_row(tokens))
        return read * (self.kv_token_bytes + _ROW_BYTES) + stage

    def decode(self, shape: Shape) -> int:
        """The peak at the last decode step: the cache, the copy of one layer's keys, and the logits."""
        cache = self.kv_token_bytes + self.kv_token_bytes // (2 * self.layers)
        logits = self.vocabulary * (self.item_bytes + 4)
        return shape.batch * ((shape.total - 1) * cache + logits)

    def peak(self, shape: Shape) -> int:
        """The larger of the two phases, with the rotary tables."""
        return self.rotary(shape.total) + max(self.prefill(shape), round(self.heap * self.decode(shape)))

    def largest_prompt(self, batch: int, most: int, within_bytes: int) -> int:
        """The longest prompt, at most `most` tokens, whose prefill stays within `within_bytes`; 0 if none does."""
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            if self.prefill(Shape(batch, middle, 0)) <= within_bytes:
                low = middle
            else:
                high = middle - 1
        return low

    def _unpacked(self, batch: int, tokens: int) -> int:
        """The matrix that each worker unpacks for its share of the rows. Those of the attention stage are not more than
        the feed-forward's in any product of this size, with what else there is then."""
        share = math.ceil(batch / self.workers)
        return self.workers * self.unpacked_bytes if share * tokens >= _UNPACKED_FROM else 0

    def _ffn_row(self) -> int:
        """Gate, up (int32 first where the weights are int8) and what they are made from."""
        item, dim, ff = self.item_bytes, self.model_dim, self.ff_dim
        if self.int8:
            return (3 * item + 1) * dim + (2 * item + 4) * ff
        return 2 * item * dim + 2 * item * ff

    def _attention_row(self, tokens: int) -> int:
        """The residual, queries, keys and values, and one row of scores for each head."""
        item = self.item_bytes
        return item * (self.model_dim + 3 * self.kv_dim) + item * self.heads * tokens


class Measured(NamedTuple):
    """The peak of all memory in use, in bytes, when `shape` ran."""

    shape: Shape
    peak_bytes: int


@dataclass(frozen=True)
class FittedMemory:
    """peak = `base_bytes` + `scale` × the model's prediction; `error` is the largest relative deviation of it from what
    was measured, None while nothing was."""

    model: MemoryModel
    base_bytes: float
    scale: float = 1.0
    error: float | None = None
    points: int = 0

    def peak(self, shape: Shape) -> int:
        """Predicted peak of all memory in use, in bytes."""
        return round(self.base_bytes + self.scale * self.model.peak(shape))

    def largest(self, shape: Shape, limit_bytes: int, most: int) -> int:
        """The largest batch of this prompt and answer that stays within the limit; 0 if none does."""
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            if self.peak(shape._replace(batch=middle)) <= limit_bytes:
                low = middle
            else:
                high = middle - 1
        return low


def fit(model: MemoryModel, rest_bytes: int, measured: Iterable[Measured]) -> FittedMemory:
    """Base and scale by least squares of the relative errors; from one point the scale alone, above `rest_bytes`, which
    is what is in use before anything runs. Small runs do not make the scale less than 1."""
    points = [(float(model.peak(one.shape)), float(one.peak_bytes)) for one in measured]
    if not points:
        return FittedMemory(model, rest_bytes)
    base, scale = _line(points) if len(points) > 1 else (0.0, 0.0)
    if scale <= 0 or base < 0:
        base, scale = rest_bytes, _slope_above(points, rest_bytes)
    if scale < 1 and max(x for x, _ in points) < _SCATTER * rest_bytes:
        base, scale = max(y - x for x, y in points), 1.0
    error = max(abs(base + scale * x - y) / y for x, y in points)
    return FittedMemory(model, base, scale, error, len(points))


def _line(points: list[tuple[float, float]]) -> tuple[float, float]:
    """(intercept, slope) of the weighted least squares line; (0, 0) where the points do not tell."""
    xs = [x for x, _ in points]
    if max(xs) < _SPREAD * min(xs):
        return 0.0, 0.0
    weights = [1 / y**2 for _, y in points]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    above = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points, strict=True))
    below = sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    slope = above / below
    return mean_y - slope * mean_x, slope


def _slope_above(points: list[tuple[float, float]], rest: float) -> float:
    """The mean ratio of what was used above `rest` to what was predicted, of large points above all."""
    return max(sum(y - rest for _, y in points) / sum(x for x, _ in points), 0.01)
