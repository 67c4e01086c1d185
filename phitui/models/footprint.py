"""What a model weighs: bytes in memory, bytes read for one decode step, bytes of KV cache for one token.

Pure arithmetic on a manifest and the compute type that CTranslate2 really uses. The sums are checked against what
the converter writes (tests/models/test_footprint.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from phitui.models.precision import ITEM_BYTES, PRECISIONS

if TYPE_CHECKING:  # the console, which shows footprints and makes none, does without
    from phitui.models.manifest import Manifest, Sizes

# Half a byte a weight, and for a group of inputs a scale in float16 and a zero in 4 bits.
_AWQ_WEIGHT_BYTES, _AWQ_GROUP_BYTES = 0.5, 2.5
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


class _Kinds(NamedTuple):
    """The types of a decoder layer's matrices, of the embeddings and the output layer, and of the norms and the KV
    cache. A layer of "awq" has groups of `group` inputs."""

    linear: str
    table: str
    rest: str
    group: int = 0


def footprint(manifest: Manifest, compute_type: str) -> Footprint | None:
    """The footprint of a model that runs in `compute_type` (as `Generator.compute_type` says it, never "auto").

    None where it is not known: a compute or storage type that is not one of CTranslate2's, AWQ without the size of its
    groups. Not counted, both below 0.2 %: LongRoPE's factors, and the sums per row that some int8 kernels of CPUs keep
    beside the weights.
    """
    kinds = _kinds(manifest, compute_type)
    if kinds is None:
        return None
    return _of(manifest.sizes, is_tied(manifest), kinds)


def sized(sizes: Sizes, tied: bool, compute_type: str) -> Footprint:
    """The footprint of a model of these sizes, before there is a manifest; `tied`: its output layer is the embeddings'
    matrix. `compute_type` is one of `PRECISIONS`."""
    matrix, rest = PRECISIONS[compute_type]
    return _of(sizes, tied, _Kinds(matrix, matrix, rest))


def _of(sizes: Sizes, tied: bool, kinds: _Kinds) -> Footprint:
    output = _matrix_bytes(sizes.vocabulary, sizes.model_dim, kinds.table)
    step = _step_bytes(sizes, kinds)
    return Footprint(
        weights=step if tied else step + output,
        weight_step=step,
        kv_token=2 * sizes.layers * sizes.heads * sizes.head_dim * ITEM_BYTES[kinds.rest],
    )


def is_tied(manifest: Manifest) -> bool:
    """Whether the output layer shares the embeddings' matrix, by the size of the weights on disk: without that
    matrix twice the file would be larger by one. False where the storage is not known."""
    kinds = _kinds(manifest, "float16" if manifest.is_awq else manifest.quantization)
    if kinds is None:
        return False
    output = _matrix_bytes(manifest.sizes.vocabulary, manifest.sizes.model_dim, kinds.table)
    return manifest.weight_bytes < _step_bytes(manifest.sizes, kinds) + output // 2


def _kinds(manifest: Manifest, compute_type: str) -> _Kinds | None:
    if manifest.is_awq:  # runs in float16 alone, and its embeddings and output layer are not quantized
        known = manifest.awq_group > 0 and compute_type == "float16"
        return _Kinds("awq", "float16", "float16", manifest.awq_group) if known else None
    if manifest.quantization not in PRECISIONS or compute_type not in PRECISIONS:
        return None
    matrix, rest = PRECISIONS[compute_type]
    return _Kinds(matrix, matrix, rest)


def _step_bytes(sizes: Sizes, kinds: _Kinds) -> int:
    """All layers, the output layer and the norms."""
    output = _matrix_bytes(sizes.vocabulary, sizes.model_dim, kinds.table)
    return sizes.layers * _layer_bytes(sizes, kinds) + output + _norm_bytes(sizes, kinds.rest)


def _layer_bytes(sizes: Sizes, kinds: _Kinds) -> int:
    """The linear layers of one decoder layer: queries with keys and values, attention's output, gate, up, down."""
    queries, keys = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    shapes = (
        (queries + 2 * keys, sizes.model_dim),
        (sizes.model_dim, queries),
        (sizes.ff_dim, sizes.model_dim),
        (sizes.ff_dim, sizes.model_dim),
        (sizes.model_dim, sizes.ff_dim),
    )
    if kinds.linear == "awq":
        return sum(_awq_bytes(rows, columns, kinds.group) for rows, columns in shapes)
    return sum(_matrix_bytes(rows, columns, kinds.linear) for rows, columns in shapes)


def _awq_bytes(rows: int, columns: int, group: int) -> int:
    """Packed integers, zeros and scales; widths are multiples of what the kernels need (phitui.models.convert.awq)."""
    return round(rows * columns * _AWQ_WEIGHT_BYTES + rows * (columns // group) * _AWQ_GROUP_BYTES)


def _matrix_bytes(rows: int, columns: int, matrix: str) -> int:
    return rows * columns * ITEM_BYTES[matrix] + (rows * _SCALE_BYTES if matrix == "int8" else 0)


def _norm_bytes(sizes: Sizes, rest: str) -> int:
    """Two norms a layer and the last one."""
    return (2 * sizes.layers + 1) * sizes.model_dim * ITEM_BYTES[rest]
