"""Snapshots in a file, one JSON object a line, and back.

What is read is not trusted: lines that are no snapshot, or whose figures cannot be, are left out and named.
"""

from __future__ import annotations

import math
import os
import stat
import threading
import time
from array import array
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from phitui.core.errors import PhituiError, UsageError
from phitui.core.files import open_regular
from phitui.core.text import one_line
from phitui.hardware.snapshot import Snapshot

_SYNC_PERIOD_S = 10.0
_LONGEST_LINE = 4 << 20
_MOST_DEVICES = 64
_MOST_IN_ALL = 1024
_MOST_NAMED = 20
# Beyond any byte count, clock and energy that is; Unix times until the year 5138.
_LARGEST = 1e18
_LATEST_S = 1e11


class Recorder:
    """Appends snapshots to `path`, each with one write, so that a line is there whole or not at all.

    A new file is for its owner alone: it names processes. Raises UsageError where the file is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error = ""
        self._closed = False
        self._turn = threading.Lock()  # the sampler's thread writes, and may be left behind when another closes
        try:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        except OSError as error:
            raise UsageError(f"--record {path}: {error.strerror}", "Name a file that can be written") from error
        self._synced = time.monotonic()
        try:
            self._go_on(path)
        except PhituiError:
            os.close(self._file)
            raise

    def _go_on(self, path: Path) -> None:
        """Open an earlier recording to append to it; refuse a file that is no recording."""
        about = os.fstat(self._file)
        if not stat.S_ISREG(about.st_mode):
            raise UsageError(f"--record {path}: is not a file", "Name a file that can be written")
        if about.st_size == 0:
            return
        first = os.pread(self._file, min(about.st_size, _LONGEST_LINE), 0).partition(b"\n")[0]
        if isinstance(decode(first), str):
            raise UsageError(f"--record {path}: is there, and is no recording", "Name another file")
        if os.pread(self._file, 1, about.st_size - 1) != b"\n":  # the line before was cut off
            os.write(self._file, b"\n")

    def write(self, snapshot: Snapshot) -> None:
        """Append one. A disk that takes no more ends the recording: `error` says so, nothing is raised."""
        line = msgspec.json.encode(snapshot) + b"\n"
        with self._turn:
            if not self.error and not self._closed:
                self._append(line)

    def _append(self, line: bytes) -> None:
        try:
            before = os.fstat(self._file).st_size
            if os.write(self._file, line) < len(line):
                os.ftruncate(self._file, before)
                raise OSError(28, "no space left on the device")
            if time.monotonic() - self._synced >= _SYNC_PERIOD_S:
                self._synced = time.monotonic()
                os.fsync(self._file)
        except OSError as error:
            self.error = f"recording stopped: {error.strerror}"

    def close(self) -> None:
        """Sync and let go of the file: from here on nothing is written, for its number may be another file's."""
        with self._turn:
            if self._closed:
                return
            self._closed = True
            try:
                os.fsync(self._file)
            except OSError as error:
                self.error = self.error or f"the recording may not be whole: {error.strerror}"
            os.close(self._file)


class BadLine(NamedTuple):
    """A line that is no snapshot: its number from 1, and why."""

    number: int
    why: str


class Recording:
    """The snapshots of a file. Only where each begins is kept, so that a long recording costs little memory.

    `bad` names the first lines that were left out, `bad_count` counts them. Raises UsageError where nothing is left.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bad: list[BadLine] = []
        self.bad_count = 0
        self.cut_off = False
        self.times = array("d")
        self._offsets = array("Q")
        try:
            with os.fdopen(open_regular(path), "rb") as file:
                self._scan(file)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UsageError(f"--replay {path}: no such file") from error
        except OSError as error:
            raise UsageError(f"--replay {path}: {error.strerror}") from error
        if not self.times:
            raise UsageError(
                f"--replay {path}: {self._nothing()}", "Make a recording with phitui monitor --record FILE"
            )

    def __len__(self) -> int:
        return len(self.times)

    def snapshot(self, place: int) -> Snapshot:
        """The snapshot at `place`, from 0. Raises PhituiError where the file has changed since."""
        try:
            with os.fdopen(open_regular(self.path), "rb") as file:
                file.seek(self._offsets[place])
                found = decode(file.readline(_LONGEST_LINE))
        except OSError as error:
            raise PhituiError(f"{self.path}: {error.strerror}") from error
        if isinstance(found, str):
            raise PhituiError(f"{self.path}: the recording has changed: {found}")
        return found

    def told(self) -> str:
        """What was left out, in one line; "" where nothing was."""
        if not self.bad_count:
            return "the last line is cut off" if self.cut_off else ""
        first = self.bad[0]
        lines = "line is" if self.bad_count == 1 else "lines are"
        return f"{self.bad_count} {lines} no snapshot and left out (first: line {first.number}: {first.why})"

    def _nothing(self) -> str:
        return self.told() or "the file is empty"

    def _scan(self, file: Any) -> None:
        number, offset = 0, 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
                self._leave_out(number, f"longer than {_LONGEST_LINE >> 20} MiB")
                while (rest := file.readline(_LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
            else:
                self._take(number, offset, line)
            offset = file.tell()

    def _take(self, number: int, offset: int, line: bytes) -> None:
        if not line.strip():
            return
        found = decode(line)
        if isinstance(found, Snapshot) and self.times and found.time < self.times[-1]:
            found = "its time is before the line before"
        if isinstance(found, Snapshot):
            self.times.append(found.time)
            self._offsets.append(offset)
        elif not line.endswith(b"\n"):  # still being written, or its writer was killed
            self.cut_off = True
        else:
            self._leave_out(number, found)

    def _leave_out(self, number: int, why: str) -> None:
        self.bad_count += 1
        if len(self.bad) < _MOST_NAMED:
            self.bad.append(BadLine(number, why))


_decoder = msgspec.json.Decoder(Snapshot)


def decode(line: bytes) -> Snapshot | str:
    """The snapshot in a line, or why it is none."""
    try:
        snapshot = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return one_line(str(error), 120) or type(error).__name__
    if not 0 <= snapshot.time < _LATEST_S:
        return "its time is out of range"
    if len(snapshot.devices) > _MOST_DEVICES or len(snapshot.all_devices()) > _MOST_IN_ALL:
        return f"more than {_MOST_DEVICES} devices"
    return _out_of_range("", msgspec.to_builtins(snapshot)) or snapshot


def _out_of_range(key: str, value: Any) -> str:
    """The first number in `value` that cannot be a figure; "" without one."""
    if isinstance(value, dict):
        return next((found for name, part in value.items() if (found := _out_of_range(name, part))), "")
    if isinstance(value, list):
        return next((found for part in value if (found := _out_of_range(key, part))), "")
    if isinstance(value, (int, float)) and not (math.isfinite(value) and abs(value) < _LARGEST):
        return f"{one_line(key, 40)} is out of range"
    return ""
