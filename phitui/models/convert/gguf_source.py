"""GGUF files: their metadata and, dequantized row by row, their tensors.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The header is parsed here because
gguf.GGUFReader makes an array object of each of the vocabulary's strings, which takes seconds; the blocks are
dequantized by the gguf package.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from numpy.typing import NDArray

from phitui.core.errors import PhituiError
from phitui.models.convert.checkpoint import FETCH_AGAIN, advise, missing, open_for_reading, read_exactly

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_VERSIONS = (2, 3)


class _Damaged(Exception):
    """The header is not what the format says."""


class _Cursor:
    """Reads the header's fields one after the other. Raises _Damaged at the end of the file."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self._size = len(data)
        self.at = 0

    def scalar(self, code: str) -> Any:
        width = struct.calcsize("<" + code)
        self._room(width)
        (value,) = struct.unpack_from("<" + code, self._data, self.at)
        self.at += width
        return value

    def string(self) -> str:
        return str(self.strings(1)[0], "utf-8")

    def strings(self, count: int) -> list[bytes]:
        # One loop without calls: vocabularies have a hundred thousand of them.
        data, at, size, length_at = self._data, self.at, self._size, struct.Struct("<Q").unpack_from
        found = []
        for _ in range(count):
            if at + 8 > size:
                raise _Damaged("a string is cut off")
            start = at + 8
            at = start + length_at(data, at)[0]
            if at > size:
                raise _Damaged("a string is cut off")
            found.append(data[start:at])
        self.at = at
        return found

    def array(self) -> Any:
        kind, count = self.scalar("I"), self.scalar("Q")
        if kind == _STRING:
            self._room(8 * count)
            return [str(item, "utf-8") for item in self.strings(count)]
        if kind not in _SCALARS:
            raise _Damaged(f"an array has elements of the unknown type {kind}")
        code = _SCALARS[kind]
        self._room(struct.calcsize("<" + code) * count)
        values = np.frombuffer(self._data, np.dtype("<" + code), count, self.at).tolist()
        self.at += struct.calcsize("<" + code) * count
        return values

    def value(self) -> Any:
        kind = self.scalar("I")
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self.array()
        if kind not in _SCALARS:
            raise _Damaged(f"a field has the unknown type {kind}")
        return self.scalar(_SCALARS[kind])

    def _room(self, width: int) -> None:
        if self.at + width > self._size:
            raise _Damaged("it is cut off")


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies: `offset` from the start of the data section, `row_bytes` for one row of it."""

    kind: GGMLQuantizationType
    shape: tuple[int, ...]
    offset: int
    row_bytes: int


class GgufFile:
    """One GGUF file: `metadata` (its key-value pairs) and its tensors, as a Checkpoint."""

    def __init__(self, path: Path) -> None:
        """Read and check the whole header. Raises PhituiError for what is not a GGUF file, or a damaged one."""
        self._path = path
        self._descriptor = open_for_reading(path)
        self._size = os.fstat(self._descriptor).st_size
        self.metadata: dict[str, Any] = {}
        self._tensors: dict[str, _Tensor] = {}
        self._data_start = 0
        try:
            self._read_header()
        except (_Damaged, UnicodeDecodeError, OverflowError, MemoryError) as error:
            raise PhituiError(f"{path} is a damaged or truncated GGUF file: {error}", FETCH_AGAIN) from error

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def _read_header(self) -> None:
        if self._size < 24 or read_exactly(self._descriptor, 0, 4, self._path) != b"GGUF":
            raise PhituiError(f"{self._path} is not a GGUF file", "Give a .gguf file or a model folder.")
        with mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ) as data:
            cursor = _Cursor(data)
            cursor.at = 4
            version = cursor.scalar("I")
            if version not in _VERSIONS:
                raise PhituiError(f"{self._path} is GGUF version {version}, not {_VERSIONS}", FETCH_AGAIN)
            tensors, pairs = cursor.scalar("Q"), cursor.scalar("Q")
            for _ in range(pairs):
                key = cursor.string()
                self.metadata[key] = cursor.value()
            placed = [self._tensor_info(cursor) for _ in range(tensors)]
            self._data_start = self._aligned(cursor.at)
        for name, tensor in placed:
            self._check(name, tensor)
            self._tensors[name] = tensor

    def _tensor_info(self, cursor: _Cursor) -> tuple[str, _Tensor]:
        name = cursor.string()
        dimensions = cursor.scalar("I")
        if dimensions > 4:
            raise _Damaged(f"the tensor {name[:100]!r} has {dimensions} dimensions")
        shape = tuple(cursor.scalar("Q") for _ in range(dimensions))[::-1]
        number, offset = cursor.scalar("I"), cursor.scalar("Q")
        try:
            kind = GGMLQuantizationType(number)
            block, block_bytes = GGML_QUANT_SIZES[kind]
        except (ValueError, KeyError) as error:
            raise PhituiError(
                f"{self._path} has the tensor {name[:100]!r} in the unknown GGML type {number}",
                "A newer phitui may read it.",
            ) from error
        columns = shape[-1] if shape else 1
        if columns % block:
            raise _Damaged(f"the tensor {name[:100]!r} has rows of {columns} elements in blocks of {block}")
        return name, _Tensor(kind, shape, offset, columns // block * block_bytes)

    def _aligned(self, position: int) -> int:
        alignment = self.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
            raise _Damaged(f"its alignment is {alignment!r}")
        return -(-position // alignment) * alignment

    def _check(self, name: str, tensor: _Tensor) -> None:
        end = self._data_start + tensor.offset + math.prod(tensor.shape[:-1]) * tensor.row_bytes
        if name in self._tensors or end > self._size:
            what = "is there twice" if name in self._tensors else "is cut off"
            raise _Damaged(f"the tensor {name[:100]!r} {what}")

    @property
    def where(self) -> Path:
        return self._path

    def names(self) -> Collection[str]:
        return self._tensors.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensor(name).shape

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows of a matrix, or elements of a vector, dequantized. Raises PhituiError for unknown types."""
        tensor = self._tensor(name)
        vector = len(tensor.shape) == 1
        count = 1 if vector else stop - start
        first = self._data_start + tensor.offset + (0 if vector else start * tensor.row_bytes)
        data = read_exactly(self._descriptor, first, count * tensor.row_bytes, self._path)
        try:
            values = _decode(np.frombuffer(data, np.uint8).reshape(count, tensor.row_bytes), tensor.kind)
        except NotImplementedError as error:
            raise PhituiError(
                f"{self._path} has the tensor {name!r} in {tensor.kind.name}, which phitui cannot decode",
                "Use a file in F16, Q8_0, Q4_0, Q4_1, Q4_K or Q6_K.",
            ) from error
        return values[0, start:stop] if vector else values

    def will_read(self, name: str, start: int, stop: int) -> None:
        tensor = self._tensors.get(name)
        if tensor is not None:
            begin = self._data_start + tensor.offset + start * tensor.row_bytes
            advise(self._descriptor, begin, (stop - start) * tensor.row_bytes)

    def _tensor(self, name: str) -> _Tensor:
        if name not in self._tensors:
            raise missing(self._path, name)
        return self._tensors[name]


def _decode(blocks: NDArray[np.uint8], kind: GGMLQuantizationType) -> NDArray[np.float32]:
    """float32 rows of rows of blocks."""
    if kind == GGMLQuantizationType.F32:
        floats: NDArray[np.float32] = blocks.view(np.float32).copy()
        return floats
    # gguf decodes 16 rows at a time. Blocks know nothing of rows, so long rows make its chunks worth numpy's
    # calls.
    rows, row_bytes = blocks.shape
    joined = math.gcd(rows, 64)
    long_rows = blocks.reshape(rows // joined, joined * row_bytes)
    values: NDArray[np.float32] = dequantize(long_rows, kind)
    return values.reshape(rows, -1)
