"""What a model weighs: bytes in memory, bytes read for one decode step, bytes of KV cache for one token.

Pure arithmetic on a manifest and the compute type that CTranslate2 really uses. The sums are checked against what
the converter writes (tests/models/test_footprint.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from phitui.models.precision import ITEM_BYTES, PRECISIONS

if TYPE_CHECKING:  # the console, which shows footprints and makes none, does without
    from phitui.models.manifest import Manifest, Sizes

# One float32 for each row of an int8 matrix, whatever the compute type: CTranslate2 converts all but the scales.
_SCALE_BYTES = 4


class Footprint(msgspec.Struct, frozen=True):
    """Sizes in bytes.

    - `weights`: all of the model's variables as they lie in memory.
    - `weight_step`: weights read for one decode step, whatever the batch: every linear layer with its scales, the
      output layer (also where it shares the embeddings' matrix) and the norms, but not the embeddings, of which a step
      reads one row for each sequence.
    - `kv_token`: keys and values of one token of one sequence in all layers. Those of every head, of grouped-query
      models as well: CTranslate2 repeats them (`replicate_heads` in layers/attention.cc) before it caches them.
    """

    weights: int
    weight_step: int
    kv_token: int


def footprint(manifest: Manifest, compute_type: str) -> Footprint | None:
    """The footprint of a model that runs in `compute_type` (as `Generator.compute_type` says it, never "auto").

    None where it is not known: a storage or compute type that is not a plain one (AWQ). Not counted, both below
    0.2 %: LongRoPE's factors, and the sums per row that some int8 kernels of CPUs keep beside the weights.
    """
    if manifest.quantization not in PRECISIONS or compute_type not in PRECISIONS:
        return None
    matrix, rest = PRECISIONS[compute_type]
    sizes = manifest.sizes
    output = _matrix_bytes(sizes.vocabulary, sizes.model_dim, matrix)
    step = sizes.layers * _layer_bytes(sizes, matrix) + output + _norm_bytes(sizes, rest)
    return Footprint(
        weights=step if is_tied(manifest) else step + output,
        weight_step=step,
        kv_token=2 * sizes.layers * sizes.heads * sizes.head_dim * ITEM_BYTES[rest],
    )


def is_tied(manifest: Manifest) -> bool:
    """Whether the output layer shares the embeddings' matrix, by the size of the weights on disk: without that
    matrix twice the file would be larger by one."""
    matrix, rest = PRECISIONS[manifest.quantization]
    sizes = manifest.sizes
    output = _matrix_bytes(sizes.vocabulary, sizes.model_dim, matrix)
    tied = sizes.layers * _layer_bytes(sizes, matrix) + output + _norm_bytes(sizes, rest)
    return manifest.weight_bytes < tied + output // 2


def _layer_bytes(sizes: Sizes, matrix: str) -> int:
    """The linear layers of one decoder layer: queries with keys and values, attention's output, gate, up, down."""
    queries, keys = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    shapes = (
        (queries + 2 * keys, sizes.model_dim),
        (sizes.model_dim, queries),
        (sizes.ff_dim, sizes.model_dim),
        (sizes.ff_dim, sizes.model_dim),
        (sizes.model_dim, sizes.ff_dim),
    )
    return sum(_matrix_bytes(rows, columns, matrix) for rows, columns in shapes)


def _matrix_bytes(rows: int, columns: int, matrix: str) -> int:
    return rows * columns * ITEM_BYTES[matrix] + (rows * _SCALE_BYTES if matrix == "int8" else 0)


def _norm_bytes(sizes: Sizes, rest: str) -> int:
    """Two norms a layer and the last one."""
    return (2 * sizes.layers + 1) * sizes.model_dim * ITEM_BYTES[rest]
