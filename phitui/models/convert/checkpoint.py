"""Weights as they come: the tensors of a checkpoint, read row by row as float32.

A checkpoint is larger than memory may be, so nothing is read before it is asked for and nothing is kept.
Files are read with pread rather than mapped: a file that shrinks meanwhile gives an error, not a dead
process.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from phitui.core.errors import PhituiError
from phitui.core.files import open_regular
from phitui.models.manifest import MOST_TOKENIZER_BYTES

FETCH_AGAIN = "Fetch the file again."
_HEADER_LIMIT_BYTES = 100 * 1024 * 1024
_ITEM_TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
_INTEGER = "I32"
_POINTER = b"version https://git-lfs.github.com/spec/"


class Checkpoint(Protocol):
    """Where the converter gets weights from. All arrays are float32, shaped (rows, columns) or (columns,)."""

    @property
    def where(self) -> Path:
        """The file or folder, for messages."""
        ...

    def names(self) -> Collection[str]:
        """The names of all tensors."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, outermost dimension first. Raises PhituiError where it is missing."""
        ...

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows of a matrix, or elements of a vector. The array is the caller's to change.

        Raises PhituiError for what cannot be read.
        """
        ...

    def will_read(self, name: str, start: int, stop: int) -> None:
        """Tell the system that these rows will be read soon. A hint: nothing is raised."""
        ...


def missing(where: Path, name: str) -> PhituiError:
    return PhituiError(f"{where} lacks the tensor {name!r}", "The checkpoint is incomplete: fetch it again.")


def read_exactly(descriptor: int, offset: int, length: int, where: Path) -> bytes:
    """Bytes of a file. Raises PhituiError where it ends before, or cannot be read."""
    parts = []
    while length > 0:
        try:
            part = os.pread(descriptor, min(length, 1 << 30), offset)
        except OSError as error:
            raise PhituiError(f"cannot read {where}: {error.strerror}") from error
        if not part:
            raise PhituiError(f"{where} ends too early: it is truncated", FETCH_AGAIN)
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def advise(descriptor: int, offset: int, length: int) -> None:
    """Ask the system to have these bytes ready: a disk is slow where each read waits for the one before."""
    with contextlib.suppress(OSError, AttributeError):  # not on every system, not on every file system
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_WILLNEED)


def open_for_reading(path: Path) -> int:
    """A file descriptor. Raises PhituiError, for a pipe or device too: whoever opens a pipe may wait for ever."""
    try:
        descriptor = open_regular(path)
    except OSError as error:
        raise PhituiError(f"cannot read {path}: {error.strerror}", FETCH_AGAIN) from error
    if _is_pointer(descriptor):
        os.close(descriptor)
        raise PhituiError(
            f"{path} is a Git LFS pointer: the file itself has not been fetched", "Run git lfs pull in its folder."
        )
    return descriptor


def _is_pointer(descriptor: int) -> bool:
    """Whether it is the small text that stands for a large file in a git repository without Git LFS."""
    try:
        return os.pread(descriptor, len(_POINTER), 0) == _POINTER
    except OSError:
        return False  # whoever reads on hears of it


def read_whole(path: Path) -> bytes:
    """All of a small file. Raises FileNotFoundError where there is none, PhituiError where it cannot be read."""
    try:
        descriptor = open_for_reading(path)
    except PhituiError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise error.__cause__ from None
        raise
    try:
        size = os.fstat(descriptor).st_size
        if size > MOST_TOKENIZER_BYTES:
            raise PhituiError(f"cannot read {path}: it has more than {MOST_TOKENIZER_BYTES:,} bytes", FETCH_AGAIN)
        return read_exactly(descriptor, 0, size, path)
    finally:
        os.close(descriptor)


class _Entry(msgspec.Struct, frozen=True):
    """One tensor in the header of a safetensors file."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class SafetensorsFile:
    """One .safetensors file: 8 bytes of header length, a JSON header, the tensors' bytes."""

    def __init__(self, path: Path) -> None:
        """Open and check the whole header. Raises PhituiError for what is no such file, or a damaged one."""
        self._path = path
        self._descriptor = open_for_reading(path)
        size = os.fstat(self._descriptor).st_size
        length = int.from_bytes(read_exactly(self._descriptor, 0, 8, path), "little")
        if length > min(size - 8, _HEADER_LIMIT_BYTES):
            raise PhituiError(f"{path} has a header of {length} bytes: it is damaged or truncated", FETCH_AGAIN)
        self._start = 8 + length
        self.entries = self._header(read_exactly(self._descriptor, 8, length, path))
        for name, entry in self.entries.items():
            self._check(name, entry, size - self._start)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def _header(self, text: bytes) -> dict[str, _Entry]:
        try:
            raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
            raw.pop("__metadata__", None)
            return {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PhituiError(f"{self._path} has a damaged header: {error}", FETCH_AGAIN) from error

    def _check(self, name: str, entry: _Entry, data_bytes: int) -> None:
        item = np.dtype("<i4") if entry.dtype == _INTEGER else _ITEM_TYPES.get(entry.dtype)
        if item is None:
            return  # it may be a tensor that nobody asks for; `read` says so if somebody does
        begin, end = entry.data_offsets
        right = math.prod(entry.shape) * item.itemsize if all(n >= 0 for n in entry.shape) else -1
        if not 0 <= begin <= end <= data_bytes or end - begin != right:
            raise PhituiError(
                f"{self._path} puts the tensor {name[:100]!r} {entry.shape} at bytes {begin} to {end} "
                f"of {data_bytes}: it is damaged or truncated",
                FETCH_AGAIN,
            )

    def will_read(self, name: str, start: int, stop: int) -> None:
        entry = self.entries[name]
        begin, end = entry.data_offsets
        row_bytes = (end - begin) // max(1, entry.shape[0] if entry.shape else 1)
        advise(self._descriptor, self._start + begin + start * row_bytes, (stop - start) * row_bytes)

    def read(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows `start` to `stop` of a tensor as float32. Raises PhituiError for a type that is no float."""
        entry = self.entries[name]
        item = _ITEM_TYPES.get(entry.dtype)
        if item is None:
            raise PhituiError(
                f"{self._path} has the tensor {name!r} in {entry.dtype}, which phitui does not read",
                f"It reads {', '.join(_ITEM_TYPES)}.",
            )
        items = self._items(entry, item, start, stop)
        if entry.dtype == "BF16":  # the upper half of a float32
            widened: NDArray[np.uint32] = np.left_shift(items, np.uint32(16), dtype=np.uint32)
            return widened.view(np.float32)
        values: NDArray[np.float32] = items.astype(np.float32)
        return values

    def integers(self, name: str) -> NDArray[np.int32]:
        """A whole tensor of 32-bit integers. Raises PhituiError for one of another type."""
        entry = self.entries[name]
        if entry.dtype != _INTEGER:
            raise PhituiError(
                f"{self._path} has the tensor {name!r} in {entry.dtype}, not in {_INTEGER}", "Choose another model."
            )
        return self._items(entry, np.dtype("<i4"), 0, entry.shape[0])

    def _items(self, entry: _Entry, item: np.dtype[Any], start: int, stop: int) -> NDArray[Any]:
        tail = entry.shape[1:]
        row_bytes = math.prod(tail) * item.itemsize
        offset = self._start + entry.data_offsets[0] + start * row_bytes
        data = read_exactly(self._descriptor, offset, (stop - start) * row_bytes, self._path)
        return np.frombuffer(data, dtype=item).reshape(stop - start, *tail)


class SafetensorsCheckpoint:
    """All .safetensors files of a folder as the Hub has them, in one file or in shards with an index."""

    def __init__(self, folder: Path) -> None:
        """Raises PhituiError where there are none, one is missing, or one is damaged."""
        self._folder = folder
        self._home: dict[str, SafetensorsFile] = {}
        index = folder / "model.safetensors.index.json"
        if index.exists():
            self._open_shards(index)
            return
        single = SafetensorsFile(self._single_file())
        self._home = dict.fromkeys(single.entries, single)

    def _single_file(self) -> Path:
        files = sorted(self._folder.glob("*.safetensors"))
        named = [path for path in files if path.name == "model.safetensors"] or files
        if len(named) == 1:
            return named[0]
        what = "several *.safetensors files and no model.safetensors.index.json" if files else "no *.safetensors file"
        raise PhituiError(f"{self._folder} has {what}", "Fetch the model again with all of its files.")

    def _open_shards(self, index: Path) -> None:
        try:
            places = msgspec.json.decode(read_whole(index), type=_Index).weight_map
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PhituiError(f"cannot read {index}: {error}", FETCH_AGAIN) from error
        shards: dict[str, SafetensorsFile] = {}
        for name, file in places.items():
            if file not in shards:
                shards[file] = self._shard(index, file)
            if name not in shards[file].entries:
                raise missing(self._folder / file, name)
            self._home[name] = shards[file]

    def _shard(self, index: Path, file: str) -> SafetensorsFile:
        if Path(file).name != file or not file.endswith(".safetensors"):
            raise PhituiError(f"{index} names a shard outside its folder: {file[:200]!r}", FETCH_AGAIN)
        if not os.path.exists(self._folder / file):  # noqa: PTH110 - Path.exists raises for a name that is too long
            what = f"{self._folder} lacks the shard {file[:200]!r}"
            raise PhituiError(what, "Fetch the model again with all of its files.")
        return SafetensorsFile(self._folder / file)

    @property
    def where(self) -> Path:
        return self._folder

    def names(self) -> Collection[str]:
        return self._home.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        if name not in self._home:
            raise missing(self._folder, name)
        return tuple(self._home[name].entries[name].shape)

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        if name not in self._home:
            raise missing(self._folder, name)
        return self._home[name].read(name, start, stop)

    def integers(self, name: str) -> NDArray[np.int32]:
        """A whole tensor of 32-bit integers. Raises PhituiError where it is missing, or of another type."""
        if name not in self._home:
            raise missing(self._folder, name)
        return self._home[name].integers(name)

    def will_read(self, name: str, start: int, stop: int) -> None:
        if name in self._home:
            self._home[name].will_read(name, start, stop)


class _Index(msgspec.Struct, frozen=True):
    """model.safetensors.index.json: which file has which tensor."""

    weight_map: dict[str, str]
