"""The lines of a batch's input, read in bounded memory, and what the input is known by."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from phitui.config.layers import shown_path
from phitui.core.errors import PhituiError, UsageError

# A longer line is no row: so much text fits into no context window.
MAX_LINE_BYTES = 8 * 1024 * 1024
_CHUNK = 64 * 1024
_SCAN_CHUNK = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Line(NamedTuple):
    """A line that is not empty: its number (from 1; empty ones count), its length, and its bytes without the end; None
    where it is longer than MAX_LINE_BYTES."""

    number: int
    size: int
    data: bytes | None


class Identity(NamedTuple):
    """What an input is known by: its size, the SHA-256 of its bytes, and how many of its lines are not empty."""

    size: int
    sha256: str
    rows: int


class LineReader:
    """Cuts what `read` gives, nothing at the end, into lines. Memory: a chunk and the longest line that is a row."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._held: list[bytes] = []
        self._length = 0
        self._number = 0
        self._ended = False

    def next(self) -> list[Line]:
        """The lines that are not empty of the next chunk that completes any; none at the end. Raises what `read`
        raises, and UsageError for UTF-16."""
        while not self._ended:
            chunk = self._read()
            self._ended = not chunk
            *whole, rest = chunk.split(b"\n") if chunk else (b"", b"")
            found = [line for piece in whole if (line := self._finish(piece)) is not None]
            self._hold(rest)
            if found:
                return found
        return []

    def _hold(self, piece: bytes) -> None:
        self._length += len(piece)
        self._held.append(piece)
        if self._length > MAX_LINE_BYTES:
            self._held.clear()

    def _finish(self, piece: bytes) -> Line | None:
        self._hold(piece)
        data, length = b"".join(self._held), self._length
        self._held.clear()
        self._length = 0
        self._number += 1
        if self._number == 1:
            if data.startswith(_UTF_16):
                raise UsageError("the input is UTF-16", "Convert it to UTF-8 first")
            data = data.removeprefix(_BOM)
        if length > MAX_LINE_BYTES:
            return Line(self._number, length, None)
        return Line(self._number, length, data) if data.strip() else None


class Input:
    """A batch's input: a file, or a stream that can be read but once (standard input, a pipe)."""

    def __init__(self, path: Path | None) -> None:
        """`path` of None is standard input. Raises UsageError where it cannot be read."""
        self.name = "standard input" if path is None else shown_path(path)
        self.is_text = path is not None and path.suffix.lower() == ".txt"  # its lines are prompts
        try:
            # Whoever opens a pipe must not wait for its writer: that can be waited for where it can also be ended.
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
            self._handle = os.dup(0) if path is None else os.open(path, flags)
        except FileNotFoundError as error:
            raise UsageError(f"{self.name}: no such file") from error
        except OSError as error:
            why = "it is closed" if path is None else error.strerror
            raise UsageError(f"{self.name}: cannot be read: {why}") from error
        mode = os.fstat(self._handle).st_mode
        if stat.S_ISDIR(mode):
            os.close(self._handle)
            raise UsageError(f"{self.name} is a folder", "Name its files")
        self.is_file = stat.S_ISREG(mode) and path is not None
        self._opened = self._state()
        self._closed = threading.Event()
        self._reading = threading.Lock()  # nobody reads from a descriptor that is closed, and is another's by then

    def scan(self) -> Identity:
        """Read a file once for what it is known by. Not for the event loop. Raises PhituiError."""
        digest, size = hashlib.sha256(), 0

        def read() -> bytes:
            nonlocal size
            chunk = self._next_chunk(_SCAN_CHUNK)
            digest.update(chunk)
            size += len(chunk)
            return chunk

        reader, rows = LineReader(read), 0
        while lines := reader.next():
            rows += len(lines)
        return Identity(size, digest.hexdigest(), rows)

    def lines(self) -> LineReader:
        """Its lines from the beginning. Raises PhituiError at the end of a file that has been changed meanwhile."""
        if not self.is_file:
            return LineReader(lambda: self._next_chunk(_CHUNK))
        os.lseek(self._handle, 0, os.SEEK_SET)

        def read() -> bytes:
            chunk = self._next_chunk(_CHUNK)
            if not chunk and self._state() != self._opened:
                raise PhituiError(f"{self.name} was changed while it was read", "Run what is there now as a new batch")
            return chunk

        return LineReader(read)

    def close(self) -> None:
        """A reader that waits in another thread comes to its end."""
        self._closed.set()
        with self._reading, contextlib.suppress(OSError):
            os.close(self._handle)

    def same_as(self, path: Path) -> bool:
        """Whether `path` is the same file."""
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self._handle), path.stat())
        return False

    def _state(self) -> tuple[int, int]:
        found = os.fstat(self._handle)
        return found.st_size, found.st_mtime_ns

    def _next_chunk(self, size: int) -> bytes:
        try:
            while True:
                with self._reading:
                    if self._closed.is_set():
                        return b""
                    # A stream may have nothing for long; whoever closes it need not wait for that.
                    if self.is_file or select.select([self._handle], [], [], 0.2)[0]:
                        with contextlib.suppress(BlockingIOError):  # another reader of the pipe was quicker
                            return os.read(self._handle, size)
        except OSError as error:
            raise PhituiError(f"{self.name}: cannot be read: {error.strerror}") from error
