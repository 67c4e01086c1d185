"""Weights in the form that CTranslate2 stores, made while model.bin is written.

These are `Variable`s of ctranslate2.specs.model_spec that know their shape and type at once but read and
convert their tensor only when it is written, a block of rows at a time: whatever the size of a model, two
tensors of it are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from ctranslate2.specs.model_spec import Variable
from numpy.typing import NDArray

from phitui.core.errors import PhituiError, UsageError
from phitui.models.convert.checkpoint import Checkpoint
from phitui.models.manifest import AWQ, AWQ_PREFIX
from phitui.models.precision import ITEM_BYTES, PRECISIONS

DEFAULT = "int8"
# A block in float32 with its temporaries stays in a core's cache: twice as fast as blocks of a million.
_BLOCK_ELEMENTS = 1 << 17
# While one matrix goes to the disk, two threads make the next: more cores find the disk too slow.
_AHEAD = ThreadPoolExecutor(1, thread_name_prefix="quantize")
_HELPER = ThreadPoolExecutor(1, thread_name_prefix="quantize")


def check_quantization(name: str) -> None:
    """Raise UsageError for a name that `PRECISIONS` has not."""
    if name not in PRECISIONS:
        if name == AWQ or name.startswith(AWQ_PREFIX):
            raise UsageError(
                "phitui does not quantize to AWQ itself", "Pull or convert a checkpoint whose weights are AWQ already."
            )
        raise UsageError(f"no quantization is called {name[:40]!r}", f"Known are: {', '.join(PRECISIONS)}.")


@dataclass(frozen=True)
class Rows:
    """Rows `first` to `first + count` of the tensor `name`, `columns` wide."""

    name: str
    first: int
    count: int
    columns: int


@dataclass(frozen=True)
class Linear:
    """Outputs `first` to `first + count` of the layers in `outputs` ("….weight": outputs), side by side.

    All have `inputs` inputs. `count` None is all that follow. `scales`, one for each of the outputs, multiply them.
    """

    outputs: dict[str, int]
    inputs: int
    first: int = 0
    count: int | None = None
    scales: NDArray[np.float32] | None = None

    @property
    def wanted(self) -> int:
        """How many outputs these are."""
        return sum(self.outputs.values()) - self.first if self.count is None else self.count

    def rows(self) -> list[Rows]:
        """Where they lie in the tensors, which have a row for each output."""
        parts, row, stop = [], 0, self.first + self.wanted
        for name, rows in self.outputs.items():
            begin, end = max(self.first, row), min(stop, row + rows)
            if begin < end:
                parts.append(Rows(name, begin - row, end - begin, self.inputs))
            row += rows
        return parts


class Matrix(Variable):  # type: ignore[misc]  # ctranslate2 ships no types
    """A weight matrix of CTranslate2: the given rows of a checkpoint's tensors, one below the other."""

    def __init__(
        self,
        source: Checkpoint,
        parts: list[Rows],
        dtype: str,
        done: Callable[[], None],
        row_scales: NDArray[np.float32] | None = None,
    ) -> None:
        """`dtype` is how it is stored ("int8": with `scale`). `done` is called when it has been written.

        `row_scales`, one for each row, multiply the checkpoint's values.
        """
        self._row_scales = row_scales
        self._source = source
        self._parts = parts
        self._dtype = dtype
        self._done = done
        self.scale = Scale(sum(part.count for part in parts))
        self._next: Matrix | None = None
        self._made: Future[memoryview] | None = None

    @property
    def shape(self) -> list[int]:
        return [sum(part.count for part in self._parts), self._parts[0].columns]

    @property
    def dtype(self) -> str:
        return self._dtype

    def num_bytes(self) -> int:
        return self.shape[0] * self.shape[1] * ITEM_BYTES[self._dtype]

    def to_bytes(self) -> memoryview:
        """The whole matrix as it is stored. Raises PhituiError for weights that are not finite."""
        stored = self._made.result() if self._made else self._make()
        self._made = None
        if self._next is not None:
            self._next._made = _AHEAD.submit(self._next._make)
            self._next._announce()
        self._done()
        return stored

    def _make(self) -> memoryview:
        item = {"int8": np.int8, "float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}[self._dtype]
        stored: NDArray[np.generic] = np.empty(self.shape, item)

        def fill(blocks: list[tuple[int, Rows]]) -> None:
            with np.errstate(all="ignore"):  # what is not finite is found and told
                for row, part in blocks:
                    self._fill(stored[row : row + part.count], row, part)

        blocks = list(self._blocks())
        half = len(blocks) // 2
        other = _HELPER.submit(fill, blocks[half:])
        fill(blocks[:half])
        other.result()
        return stored.reshape(-1).view(np.uint8).data

    def _fill(self, stored: NDArray[np.generic], row: int, part: Rows) -> None:
        """Read and convert one block, the matrix's rows from `row` on."""
        values = self._source.rows(part.name, part.first, part.first + part.count)
        if self._row_scales is not None:
            values *= self._row_scales[row : row + part.count, np.newaxis]
        if self._dtype == "int8":
            self.scale.values[row : row + part.count] = self._quantize(values, part, stored)
        else:
            stored[:] = store(values, self._dtype, self._source, part.name)

    def _announce(self) -> None:
        """Have the tensors of the matrix after this one on their way."""
        if self._next is not None:
            for part in self._next._parts:
                self._source.will_read(part.name, part.first, part.first + part.count)

    def _blocks(self) -> Iterator[tuple[int, Rows]]:
        """The parts in blocks of a few rows, each with its row in the matrix."""
        row = 0
        step = max(1, _BLOCK_ELEMENTS // self._parts[0].columns)
        for part in self._parts:
            for first in range(part.first, part.first + part.count, step):
                count = min(step, part.first + part.count - first)
                yield row, Rows(part.name, first, count, part.columns)
                row += count

    def _quantize(self, values: NDArray[np.float32], part: Rows, stored: NDArray[np.generic]) -> NDArray[np.float32]:
        """Symmetric int8 into `stored`, by the arithmetic of ctranslate2's `LayerSpec._quantize`.

        Returns the scales, one for each row.
        """
        largest: NDArray[np.float32] = np.maximum(values.max(axis=1), -values.min(axis=1))
        if not np.isfinite(largest).all():
            raise not_finite(self._source, part.name)
        largest[largest == 0] = 127.0
        # Keeps the scale of a row of tiny numbers within float32.
        np.maximum(largest, np.float32(127) / np.finfo(np.float32).max, out=largest)
        scale: NDArray[np.float32] = np.float32(127.0) / largest
        values *= scale[:, np.newaxis]
        np.rint(values, out=values)
        np.copyto(stored, values, casting="unsafe")
        return scale

    def numpy(self) -> NDArray[np.generic]:
        raise NotImplementedError("a Matrix is only written")

    def _to(self, dtype: str) -> Matrix:
        raise NotImplementedError("a Matrix has its type from the start")

    def _equal(self, other: object) -> bool:
        return self is other


def in_order(matrices: list[Matrix]) -> None:
    """Say in which order the matrices will be written: while one goes to the disk, the next is made."""
    for matrix, following in pairwise(matrices):
        matrix._next = following


class Scale(Variable):  # type: ignore[misc]  # ctranslate2 ships no types
    """The scales of an int8 matrix, one for each row. They are known when the matrix has been written.

    model.bin is written in the order of the variables' names, and "…/weight_scale" follows "…/weight".
    """

    def __init__(self, rows: int) -> None:
        self.values = np.full(rows, np.nan, np.float32)

    @property
    def shape(self) -> list[int]:
        return [len(self.values)]

    @property
    def dtype(self) -> str:
        return "float32"

    def num_bytes(self) -> int:
        return self.values.nbytes

    def to_bytes(self) -> bytes:
        if np.isnan(self.values).any():
            raise RuntimeError("the scales of a matrix were asked for before the matrix")
        return self.values.tobytes()

    def numpy(self) -> NDArray[np.float32]:
        return self.values

    def _to(self, dtype: str) -> Scale:
        raise NotImplementedError("scales are float32")

    def _equal(self, other: object) -> bool:
        return self is other


class Vector(Variable):  # type: ignore[misc]  # ctranslate2 ships no types
    """A small tensor, converted at once: a norm's weights."""

    def __init__(self, values: NDArray[np.generic], dtype: str) -> None:
        self._values = values
        self._dtype = dtype

    @property
    def shape(self) -> list[int]:
        return list(self._values.shape)

    @property
    def dtype(self) -> str:
        return self._dtype

    def num_bytes(self) -> int:
        return self._values.nbytes

    def to_bytes(self) -> bytes:
        return self._values.tobytes()

    def numpy(self) -> NDArray[np.generic]:
        return self._values

    def _to(self, dtype: str) -> Vector:
        raise NotImplementedError("a Vector has its type from the start")

    def _equal(self, other: object) -> bool:
        return self is other


def store(values: NDArray[np.float32], dtype: str, source: Checkpoint, name: str) -> NDArray[np.generic]:
    """Values as "float32", "float16" or "bfloat16" (in the upper half of a float32, as uint16).

    Raises PhituiError where they are not finite, or not in the target type.
    """
    if not np.isfinite(values).all():
        raise not_finite(source, name)
    if dtype == "bfloat16":
        bits = values.view(np.uint32)
        # Round to the nearest, ties to even, as torch does.
        rounded: NDArray[np.uint32] = (
            bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
        ) >> np.uint32(16)
        return rounded.astype(np.uint16)
    if dtype == "float16":
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if not np.isfinite(halves).all():
            raise PhituiError(
                f"{source.where}: {name!r} has weights beyond float16's range",
                "Convert it to bfloat16 or float32.",
            )
        return halves
    return values


def not_finite(source: Checkpoint, name: str) -> PhituiError:
    return PhituiError(f"{source.where}: {name!r} has weights that are NaN or infinite", "Fetch the model again.")
