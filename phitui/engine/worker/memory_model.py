"""The tuner's model of memory for a model that phitui has converted."""

from __future__ import annotations

from phitui.autotune.memory import MemoryModel
from phitui.models.manifest import AWQ_PREFIX, Manifest

_HALVES = ("float16", "bfloat16")
# glibc's heap, as phitui.engine.local.allocator sets it and measured there. CUDA's pool has no such holes.
_CPU_HEAP = 1.12
_UNPACKED = AWQ_PREFIX + "gemm"
_FLOAT16_BYTES = 2


def memory_model(manifest: Manifest, compute_type: str, workers: int, device: str = "cpu") -> MemoryModel:
    """What CTranslate2 takes for this model in `compute_type` (as `Generator.compute_type` says it) on a device."""
    sizes = manifest.sizes
    return MemoryModel(
        layers=sizes.layers,
        heads=sizes.heads,
        kv_dim=sizes.heads * sizes.head_dim,
        model_dim=sizes.model_dim,
        ff_dim=sizes.ff_dim,
        vocabulary=sizes.vocabulary,
        rotary_dim=manifest.rotary_dim or sizes.head_dim,
        item_bytes=2 if compute_type.endswith(_HALVES) else 4,
        int8=compute_type.startswith("int8"),
        workers=workers,
        heap=_CPU_HEAP if device == "cpu" else 1.0,
        unpacked_bytes=_FLOAT16_BYTES * sizes.ff_dim * sizes.model_dim if manifest.quantization == _UNPACKED else 0,
    )
