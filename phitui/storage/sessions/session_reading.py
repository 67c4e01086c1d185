"""sessions.db for who only reads: nothing is made, moved or changed, whatever is found in its place."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from phitui.core.errors import PhituiError
from phitui.core.files import disk_of
from phitui.storage.sessions.session_file import (
    BUSY_S,
    FILE_NAME,
    MIGRATIONS,
    DamagedError,
    check_version,
    described,
    migrate,
    refuse_lone_wal,
    told,
)
from phitui.storage.sessions.sessions import SessionStore


@contextlib.contextmanager
def reading(path: Path) -> Iterator[SessionStore]:
    """The sessions as they are; none where there is no file.

    Raises DamagedError where the file is damaged, PhituiError where it cannot be read.
    """
    with told(path):
        connection = _connected(path) if _is_there(path) else in_memory()
        try:
            if check_version(connection, path) < len(MIGRATIONS):  # brought up in memory, not in the file
                older, connection = connection, sqlite3.connect(":memory:", isolation_level=None)
                with contextlib.closing(older):
                    older.backup(connection)
                migrate(connection)
            connection.execute("PRAGMA query_only = ON")
            yield SessionStore.reader(path, connection)
        finally:
            connection.close()


def in_memory() -> sqlite3.Connection:
    """A database of sessions with none in it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection


def _is_there(path: Path) -> bool:
    """Raises PhituiError where it cannot be read, or is none."""
    if not os.path.lexists(path):
        return False
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EISDIR if stat.S_ISDIR(about.st_mode) else errno.EINVAL, "")
        if not os.access(path, os.R_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise PhituiError(*described(path, error)) from error
    refuse_lone_wal(path)
    if not about.st_size:
        raise DamagedError(f"{path} is empty (0 bytes)", "Put a copy back if you have one, or delete it")
    return True


def _connected(path: Path) -> sqlite3.Connection:
    """A connection that makes no file. Raises sqlite3.Error, PhituiError."""
    address = Path(os.path.realpath(path)).as_uri()
    try:
        return _opened(f"{address}?mode=rw")
    except sqlite3.OperationalError as error:
        if not any(sign in str(error) for sign in ("unable to open", "disk I/O", "is full", "readonly")):
            raise
    # Nothing can be made beside it, which SQLite needs to look for other writers. So there are none.
    with tempfile.TemporaryDirectory(prefix="phitui-") as folder:
        copy = copied(path, Path(folder))
        if not copy.with_name(copy.name + "-wal").exists():
            return _opened(f"{address}?immutable=1")
        memory = sqlite3.connect(":memory:", isolation_level=None)
        with contextlib.closing(_opened(copy.as_uri())) as source:
            source.backup(memory)
        return memory


def _opened(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def copied(path: Path, folder: Path) -> Path:
    """A copy of the file in `folder`, with what was written last. Raises PhituiError."""
    copy = folder / FILE_NAME
    try:
        shutil.copyfile(path, copy)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(_wal(path), _wal(copy))
    except OSError as error:
        full = f" (on the disk at {disk_of(folder)})" if error.errno == errno.ENOSPC else ""
        raise PhituiError(f"{path}: cannot be copied to be read: {error.strerror}{full}") from error
    return copy


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")
