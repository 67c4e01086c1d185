"""A batch's journal: which rows are in the output, and what has been made of the rows that are not.

It is a file of records beside the output (mode 0600, for it has text of the answers), only ever appended to. A record
is its length and the CRC-32 of its body, 4 bytes each, little-endian, then the body as MessagePack. What stands after
the last whole record, because the process or the machine stopped there, is cut off when it is read.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec

from phitui.core.errors import PhituiError
from phitui.core.files import create_private, open_regular

SUFFIX = ".journal"
VERSION = 1
# Answers to one line's prompt; a row's key is its line times this and which of them it is.
KEYS_PER_LINE = 128
_FRAME = struct.Struct("<II")
# Far above any record; a length beyond it is none.
_MAX_BYTES = 256 * 1024 * 1024

# A record is not trusted for its sum being right: what is beyond these would fill the memory.
_MOST_IDS = 1 << 22
_Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 48)]


class Header(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """What the batch is: always the first record. `rows` are the lines of the input that are not empty, `settings` all
    that the answers depend on besides input and model. `created` is in seconds since 1970."""

    version: int
    input_bytes: int
    input_sha256: str
    rows: int
    model: str
    model_sha256: str
    compute_type: str
    settings: dict[str, Any]
    created: int


class MadeRecord(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Token ids that came for a row (`key`, see `engine.rows_api.Row`) since the record before of this row."""

    key: int
    ids: Annotated[list[int], msgspec.Meta(max_length=_MOST_IDS)]


class AnswerRecord(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """An answer that is complete while its line is not yet in the output. A `reason` of "error": `text` says why there
    is none. Counts of tokens are None where a server did not tell them. `thinking` came before the answer; `failure`
    says why what came is not the answer that was asked for, `note` that the answer is empty."""

    key: int
    text: str
    reason: str
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    thinking: str = ""
    failure: str = ""
    note: str = ""


class Done(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The row of input line `line` with its `n` answers is in the output, which now has `size` bytes with the CRC-32
    `crc`."""

    line: _Number
    size: _Number
    crc: int
    failed: bool
    prompt_tokens: _Number | None
    completion_tokens: _Number | None
    n: Annotated[int, msgspec.Meta(ge=1, le=KEYS_PER_LINE)] = 1


class Counts(msgspec.Struct, array_like=True):
    """Rows in the output, those of them that have an error, and the tokens of the others; `uncounted` of these have
    counts that are not known."""

    rows: _Number = 0
    failed: _Number = 0
    prompt_tokens: _Number = 0
    completion_tokens: _Number = 0
    uncounted: _Number = 0

    def add(self, done: Done) -> None:
        self.rows += 1
        self.failed += done.failed
        self.prompt_tokens += done.prompt_tokens or 0
        self.completion_tokens += done.completion_tokens or 0
        self.uncounted += None in (done.prompt_tokens, done.completion_tokens)


class SnapshotRecord(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Stands for all `Done` before it: the set of `lines` (see `LineSet.pack`)."""

    size: _Number
    crc: int
    lines: bytes
    counts: Counts


class Synced(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The output's first `size` bytes are on the disk: should they differ later, another program changed them."""

    size: _Number


Record = Header | MadeRecord | AnswerRecord | Done | SnapshotRecord | Synced
_decode = msgspec.msgpack.Decoder(Record).decode
_encode = msgspec.msgpack.Encoder().encode


def key_of(line: int, choice: int) -> int:
    """The key of one of a line's answers, counted from 0."""
    return line * KEYS_PER_LINE + choice


class LineSet:
    """A set of line numbers, one bit each."""

    def __init__(self, packed: bytes = b"", most: int = 0) -> None:
        """`packed` is what `pack` gave of lines up to `most`. Raises ValueError for what is none, or has more."""
        self._bits = bytearray()
        if packed:
            unpacking = zlib.decompressobj()
            try:
                self._bits += unpacking.decompress(packed, 2 * (most >> 3) + 3)  # `add` makes room ahead
            except zlib.error as error:
                raise ValueError(str(error)) from error
            if not unpacking.eof:
                raise ValueError("it has lines that the input has not")

    def add(self, line: int) -> None:
        place = line >> 3
        if place >= len(self._bits):
            self._bits.extend(bytes(max(place + 1 - len(self._bits), len(self._bits))))
        self._bits[place] |= 1 << (line & 7)

    def __contains__(self, line: int) -> bool:
        place = line >> 3
        return place < len(self._bits) and bool(self._bits[place] & (1 << (line & 7)))

    def pack(self) -> bytes:
        return zlib.compress(bytes(self._bits), 1)


class Journal:
    """A journal that is written to. Make one with `Journal.write`."""

    def __init__(self, path: Path, handle: int, size: int) -> None:
        self.path = path
        self.size = size
        self._handle = handle

    @classmethod
    def write(cls, path: Path, records: Iterable[Record]) -> Journal:
        """A journal with these records, in place of one that may be there: whole on the disk, or not at all. Raises
        OSError."""
        fresh = path.with_name(f".{path.name}.new")  # one name: whoever holds the output's lock may replace it
        handle = create_private(fresh)
        journal = cls(path, handle, 0)
        try:
            journal.append(records)
            journal.sync()
            fresh.replace(path)
            sync_folder(path.parent)
        except BaseException:
            journal.close()
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
        return journal

    def append(self, records: Iterable[Record]) -> None:
        """Write records: they outlive this process, and once `sync` has returned a power cut. Raises OSError; then the
        journal is as it was."""
        data = b"".join(map(_frame, records))
        write_all(self._handle, data, self.size)
        self.size += len(data)

    def sync(self) -> None:
        """Have all of it on the disk. Raises OSError."""
        os.fsync(self._handle)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._handle)


def read_journal(path: Path) -> Iterator[Record]:
    """Its records up to the last whole one, `Header` first. Raises PhituiError where it cannot be read, is none, of
    another version, or has a record that is none though it is whole."""
    try:
        handle = open_regular(path)
    except OSError as error:
        raise PhituiError(
            f"{path} cannot be read: {error.strerror}", "Check what it is, and who may read it"
        ) from error
    with os.fdopen(handle, "rb") as file:
        try:
            first = _next(file)
        except msgspec.DecodeError:
            first = None
        if not isinstance(first, Header):
            raise PhituiError(f"{path} is not the journal of a batch", "Remove it to start anew")
        if first.version != VERSION:
            raise PhituiError(f"{path} is of another version of phitui", "Remove it and the output to start anew")
        yield first
        try:
            while (record := _next(file)) is not None:
                yield record
        except msgspec.DecodeError as error:
            raise damaged(path, str(error)) from error


def _next(file: BinaryIO) -> Record | None:
    """The next whole record; None where there is none. Raises msgspec.DecodeError for one that is whole and absurd."""
    frame = file.read(_FRAME.size)
    if len(frame) < _FRAME.size:
        return None
    length, crc = _FRAME.unpack(frame)
    if length > _MAX_BYTES:
        return None
    body = file.read(length)
    if len(body) < length or zlib.crc32(body) != crc:
        return None
    record: Record = _decode(body)
    return record


def damaged(path: Path, what: str) -> PhituiError:
    return PhituiError(f"{path} is damaged: {what}", "Remove it and the output to start anew")


def _frame(record: Record) -> bytes:
    body = _encode(record)
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def write_all(handle: int, data: bytes, size: int) -> None:
    """Append `data` to a file of `size` bytes, or nothing of it. Raises OSError."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(handle, rest) :]
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(handle, size)
            os.lseek(handle, size, os.SEEK_SET)
        raise


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot, and need not
            os.fsync(handle)
    finally:
        os.close(handle)
