"""What a decode step moves, what of it the memory can carry, and the speed no decode can exceed. Pure.

A decode step reads all weights once, whatever the batch (once for each of the batches that run side by side), and the
KV cache of every row. The engine moves more than is useful: CTranslate2 appends to the cache by copying it, one layer
at a time, so up to three times the cache's size goes over the bus (read and write for the copy, a read for
attention). Some of that may stay in a cache on the chip: so the "engine" figure is an upper bound, the "useful" one
is exact for what it names.
"""

from __future__ import annotations

from typing import NamedTuple

# How often the KV cache crosses the bus in a step, counted as what is needed and as what CTranslate2 does.
USEFUL_KV = 1
ENGINE_KV = 3
_GB = 1e9


class DecodeLoad(NamedTuple):
    """What decodes: bytes of weights read for a step, bytes of KV cache for a token, rows, and tokens in the cache of
    a row (a mean over the steps)."""

    weight_step_bytes: int
    kv_token_bytes: int
    rows: int
    context_tokens: float

    @property
    def kv_bytes(self) -> float:
        """Bytes of KV cache of all rows: B·T·bytes per token."""
        return self.kv_token_bytes * self.rows * self.context_tokens

    @property
    def useful_bytes(self) -> float:
        """Bytes that a decode step has to read: W + 1·KV."""
        return self.weight_step_bytes + USEFUL_KV * self.kv_bytes

    @property
    def engine_bytes(self) -> float:
        """Bytes that a decode step of CTranslate2 moves at most: W + 3·KV."""
        return self.weight_step_bytes + ENGINE_KV * self.kv_bytes


def useful_gb_s(load: DecodeLoad, steps_per_s: float) -> float:
    """GB/s (10⁹ bytes) that the decode has to read at this speed."""
    return load.useful_bytes * steps_per_s / _GB


def engine_gb_s(load: DecodeLoad, steps_per_s: float) -> float:
    """GB/s (10⁹ bytes) that the engine moves at this speed, at most."""
    return load.engine_bytes * steps_per_s / _GB


def mbu(load: DecodeLoad, steps_per_s: float, peak_gb_s: float) -> float:
    """Model bandwidth utilization, 0 to 1: useful traffic over the memory's peak (Databricks 2023, "LLM Inference
    Performance Engineering": (weights + KV cache) / TPOT / peak bandwidth)."""
    return useful_gb_s(load, steps_per_s) / peak_gb_s


def ceiling_tokens_per_s(load: DecodeLoad, peak_gb_s: float) -> float:
    """The output tokens per second of all rows that this memory cannot exceed for this model, batch and length:
    B·peak / (W + KV)."""
    return load.rows * peak_gb_s * _GB / load.useful_bytes
