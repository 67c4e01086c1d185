"""A batch's output file and its journal, kept so that a kill at any moment leaves each row in it once.

A line is written to the output first and noted in the journal then. Both are synced every SYNC_EVERY_S, the output
first: that much of the work a power cut can take. On the way back the output counts as far as it agrees with the
journal, by size and CRC; the rest of it is cut off, and those rows are run again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from phitui.config.layers import shown_path
from phitui.core.errors import PhituiError, UsageError
from phitui.core.files import open_private
from phitui.storage.journal import (
    SUFFIX,
    AnswerRecord,
    Counts,
    Done,
    Header,
    Journal,
    LineSet,
    MadeRecord,
    Record,
    SnapshotRecord,
    Synced,
    damaged,
    key_of,
    read_journal,
    sync_folder,
    write_all,
)
from phitui.workbench.batch.answer import Written

SYNC_EVERY_S = 1.0
# A journal beyond this, and four times what is needed of it, is written anew.
_COMPACT_BYTES = 64 * 1024 * 1024
_CHUNK = 1024 * 1024
_SINCE: dict[str, Any] = {"stop": []}


class KeptRows(NamedTuple):
    """What an earlier run has left of rows that are not in the output: token ids and whole answers, by key."""

    made: dict[int, list[int]]
    answers: dict[int, AnswerRecord]


class Output:
    """The output and what is known of it. Make one with `create`, `resume` or `stream`."""

    def __init__(self, path: Path | None, handle: int, header: Header) -> None:
        self.path = path
        self.header = header
        self.done = LineSet()
        self.counts = Counts()
        self.kept = KeptRows({}, {})
        self.size = 0
        self.rejected = 0
        self._crc = 0
        self._handle = handle
        self._journal: Journal | None = None
        self._synced = time.monotonic()
        self._clean = True
        self._compact_at = _COMPACT_BYTES

    @classmethod
    def stream(cls, handle: int, header: Header) -> Output:
        """Standard output: nothing can be resumed."""
        return cls(None, handle, header)

    @classmethod
    def create(cls, path: Path, header: Header, journaled: bool = True) -> Output:
        """A new batch, whose output must not be there. One whose input can be read but once needs no journal. Raises
        UsageError and PhituiError."""
        with _explained(path):
            try:
                handle = open_private(path, os.O_RDWR | os.O_EXCL)
            except FileExistsError as error:
                raise UsageError(f"{shown_path(path)} is there already", "Choose another output") from error
            made = cls(path, handle, header)
            with made._closed_on_error():
                made._lock()
                if journaled:
                    made._begin()
            return made

    @classmethod
    def resume(cls, path: Path, header: Header) -> Output:
        """Go on with the batch whose journal is beside `path`. Raises UsageError where that is another batch,
        PhituiError where the output is not as it was left."""
        with _explained(path):
            made = cls(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), header)
            with made._closed_on_error():
                made._lock()
                made._recover(journal_path(path))
                made._begin()
            return made

    def _lock(self) -> None:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another phitui is writing {self._name}", "Wait for it, or end it") from error
        except OSError:
            return  # a file system without locks

    def _begin(self) -> None:
        """A fresh journal of what is known, in place of the old one: what is cut off there must not come back."""
        if self.path is None:
            return
        os.ftruncate(self._handle, self.size)
        os.lseek(self._handle, self.size, os.SEEK_SET)
        os.fsync(self._handle)
        sync_folder(self.path.parent)
        self._journal = Journal.write(journal_path(self.path), self._records(self.kept))
        self._compact_at = max(_COMPACT_BYTES, 4 * self._journal.size)

    def _records(self, kept: KeptRows) -> Iterator[Record]:
        yield self.header
        yield SnapshotRecord(self.size, self._crc, self.done.pack(), self.counts)
        yield Synced(self.size)
        yield from (MadeRecord(key, ids) for key, ids in kept.made.items())
        yield from kept.answers.values()

    @property
    def _name(self) -> str:
        return "standard output" if self.path is None else shown_path(self.path)

    def _recover(self, path: Path) -> None:
        records = read_journal(path)
        self.header = _same(next(records), self.header, path)
        check = _Agreement(self._handle)
        synced, agrees = 0, True
        for record in records:
            if isinstance(record, MadeRecord):
                self.kept.made.setdefault(record.key, []).extend(record.ids)
            elif isinstance(record, AnswerRecord):
                self.kept.answers[record.key] = record
            elif isinstance(record, Synced):
                synced = record.size
            elif isinstance(record, Done | SnapshotRecord):
                agrees = agrees and check.upto(record.size, record.crc)
                try:
                    self._take(record, agrees)
                except ValueError as error:
                    raise damaged(path, str(error)) from error
        if self.size < synced:
            raise PhituiError(
                f"{self._name} was changed since it was written: of {synced} bytes the first {self.size} are as left",
                f"Put it back, or remove it and {shown_path(path)} to start anew",
            )

    def _take(self, record: Done | SnapshotRecord, agrees: bool) -> None:
        """Raises ValueError for lines that the input has not."""
        if not agrees:
            self.rejected += 1
            return
        most = self.header.input_bytes + 1  # the number of its last line, at most
        if isinstance(record, SnapshotRecord):
            self.done, self.counts = LineSet(record.lines, most), record.counts
        elif record.line > most:
            raise ValueError(f"it has line {record.line}, of an input of {most - 1} bytes")
        self.size, self._crc = record.size, record.crc
        if isinstance(record, SnapshotRecord):
            return
        self.done.add(record.line)
        self.counts.add(record)
        for key in range(key_of(record.line, 0), key_of(record.line, record.n)):
            self.kept.made.pop(key, None)
            self.kept.answers.pop(key, None)

    def write(self, lines: list[Written]) -> None:
        """Append lines. Raises PhituiError; then the output is as it was."""
        if not lines:
            return
        notes = []
        size, crc = self.size, self._crc
        for one in lines:
            size, crc = size + len(one.data), zlib.crc32(one.data, crc)
            notes.append(Done(one.line, size, crc, one.failed, one.prompt_tokens, one.completion_tokens, one.n))
        with _explained(self.path):
            write_all(self._handle, b"".join(one.data for one in lines), self.size)
        self.size, self._crc = size, crc
        for note in notes:
            self.done.add(note.line)
            self.counts.add(note)
        self.note(notes)

    def note(self, records: Sequence[MadeRecord | AnswerRecord | Done]) -> None:
        """Append to the journal. Raises PhituiError."""
        if not records:
            return
        self._clean = False
        if self._journal is not None:
            with _explained(self._journal.path):
                self._journal.append(records)

    @property
    def needs_sync(self) -> bool:
        """Whether lines have waited unsynced for the longest time that is allowed."""
        return not self._clean and time.monotonic() - self._synced >= SYNC_EVERY_S

    def sync(self) -> None:
        """Have all of it on the disk. Raises PhituiError."""
        self._clean, self._synced = True, time.monotonic()
        size = self.size
        if self.path is not None:
            with _explained(self.path):
                os.fsync(self._handle)
        if self._journal is None:
            return
        with _explained(self._journal.path):
            self._journal.append([Synced(size)])
            self._journal.sync()

    @property
    def needs_compaction(self) -> bool:
        return self._journal is not None and self._journal.size > self._compact_at

    def compact(self, kept: KeptRows) -> None:
        """Write the journal anew with only what is needed: `kept` is all of rows that are not in the output."""
        if self._journal is None:
            return
        old, self.kept = self._journal, kept
        self.sync()
        with _explained(old.path):
            self._journal = Journal.write(old.path, self._records(kept))
        old.close()
        self._compact_at = max(_COMPACT_BYTES, 4 * self._journal.size)

    def finish(self) -> None:
        """The batch is complete: the output is on the disk, and the journal goes. Raises PhituiError."""
        self.sync()
        if self._journal is not None:
            with _explained(self._journal.path):
                self._journal.path.unlink()
        self.close()

    def close(self) -> None:
        """Close the journal and the output. Raises nothing: a failed write was reported when it happened."""
        if self._journal is not None:
            self._journal.close()
        if self.path is not None:
            with contextlib.suppress(OSError):
                os.close(self._handle)

    @contextlib.contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise


class _Agreement:
    """Reads a file along a journal's sizes and running CRCs."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._size = 0
        self._crc = 0

    def upto(self, size: int, crc: int) -> bool:
        """Whether the file has `size` bytes with that CRC. Sizes must not fall."""
        while self._size < size:
            chunk = os.pread(self._handle, min(_CHUNK, size - self._size), self._size)
            if not chunk:
                return False
            self._crc = zlib.crc32(chunk, self._crc)
            self._size += len(chunk)
        return self._size == size and self._crc == crc


def journal_path(output: Path) -> Path:
    """Where the journal of an output is: beside it."""
    return output.with_name(output.name + SUFFIX)


def _same(record: Record, now: Header, path: Path) -> Header:
    """The journal's header, where it is of the same batch as `now`. Raises UsageError with what differs."""
    then = record if isinstance(record, Header) else None
    if then is not None:  # settings that journals of before do not name had these values
        then = msgspec.structs.replace(then, settings={**_SINCE, **then.settings})
    if then is None or msgspec.structs.replace(now, created=then.created) == then:
        return then or now
    if (then.input_bytes, then.input_sha256) != (now.input_bytes, now.input_sha256):
        what = f"the input has changed ({then.input_bytes} bytes then, {now.input_bytes} now)"
    elif (then.model, then.model_sha256) != (now.model, now.model_sha256):
        what = f"the model was {then.model}{'' if then.model != now.model else ' with other weights'}, now {now.model}"
    elif then.compute_type != now.compute_type:
        what = f"the compute type was {then.compute_type}, now it is {now.compute_type}"
    else:
        what = ", ".join(
            f"{name} was {then.settings.get(name)!r}, now {value!r}"
            for name, value in now.settings.items()
            if then.settings.get(name) != value
        )
    raise UsageError(
        f"--resume: {shown_path(path)} is of another batch: {what}", "Run it as then, or choose another output"
    )


@contextlib.contextmanager
def _explained(path: Path | None) -> Iterator[None]:
    """A file that cannot be written is one line, with what to do. A reader of standard output that has gone knows."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        name = "standard output" if path is None else shown_path(path)
        fix = "" if path is None else "What is done is kept: make room, then run the same again with --resume"
        raise PhituiError(f"{name}: cannot be written: {error.strerror}", fix) from error
