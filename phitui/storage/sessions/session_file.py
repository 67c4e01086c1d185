"""The file of the sessions: made with mode 0600, brought to the newest version, set aside when it is damaged."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from phitui.core.errors import PhituiError
from phitui.core.files import disk_of, open_private
from phitui.core.text import one_line

FILE_NAME = "sessions.db"
RECOVER = "phitui session recover brings back what can be read of it"
# Two consoles may write at once; each holds the file for milliseconds.
BUSY_S = 10.0
# With less than that a disk is as good as full.
_LITTLE_BYTES = 100_000
_BESIDE = ("-wal", "-shm", "-journal")
_DAMAGED, _RECOVERED = ".damaged-", ".recovered-"

# One entry a version, the first makes version 1. What is released is not changed any more: a new version is added.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE session (
            id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, system TEXT NOT NULL,
            created REAL NOT NULL, changed REAL NOT NULL, deleted REAL, leaf INTEGER)""",
        "CREATE INDEX session_changed ON session(changed)",
        # Identifiers are never used twice: the search index may still hold one that was removed.
        """CREATE TABLE turn (
            id INTEGER PRIMARY KEY AUTOINCREMENT, session INTEGER NOT NULL REFERENCES session(id),
            parent INTEGER REFERENCES turn(id), created REAL NOT NULL, model TEXT NOT NULL, state TEXT NOT NULL,
            reason TEXT NOT NULL, error TEXT NOT NULL, tokens INTEGER, prompt_tokens INTEGER,
            completion_tokens INTEGER, ttft_ms REAL, tpot_ms REAL, total_ms REAL, tokens_per_s REAL,
            indexed INTEGER NOT NULL DEFAULT 0, prompt TEXT NOT NULL, text TEXT NOT NULL)""",
        "CREATE INDEX turn_session ON turn(session)",
        "CREATE INDEX turn_unindexed ON turn(id) WHERE indexed = 0",
        # What one phitui leaves for the next to do, by name.
        "CREATE TABLE duty (name TEXT PRIMARY KEY)",
    ),
    # The parameters in which the chat differs from config.toml, as JSON; "" for none.
    ("ALTER TABLE session ADD COLUMN parameters TEXT NOT NULL DEFAULT ''",),
    # What a model thought before it answered.
    ("ALTER TABLE turn ADD COLUMN thinking TEXT NOT NULL DEFAULT ''",),
)


class DamagedError(PhituiError):
    """The file is no database, or not whole any more."""


class MovedError(PhituiError):
    """The file was removed or replaced while it was open: what is written to it would be lost."""


class GoneError(PhituiError):
    """The session is not in the file any more: another phitui has removed it."""


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into PhituiErrors that name the file; damage into DamagedError."""
    try:
        yield
    except sqlite3.Error as error:
        what = str(error)
        if any(sign in what for sign in ("malformed", "not a database", "no such table", "decode to UTF-8")):
            raise DamagedError(f"{path} is damaged: {one_line(what, 200)}", RECOVER) from error
        raise PhituiError(f"{path}: {_reason(path, what)}") from error
    except UnicodeEncodeError as error:
        raise PhituiError(f"{path}: the text has something that is not a character (at {error.start + 1})") from error


def _reason(path: Path, what: str) -> str:
    """What SQLite says, with what it leaves out."""
    if "is full" in what or ("disk I/O" in what and shutil.disk_usage(path.parent).free < _LITTLE_BYTES):
        return f"no space left on the disk at {disk_of(path)}"
    if "readonly" in what:
        return "the file, its folder or its disk is read-only"
    if "unable to open" in what:
        return f"cannot be opened, or nothing can be written in {path.parent}"
    if "locked" in what:
        return f"another program has had it locked for {BUSY_S:.0f} s"
    return one_line(what, 200)


def open_file(path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> sqlite3.Connection:
    """A connection to the file, which is made or migrated where needed. The calling thread may hand the connection on,
    one thread at a time.

    Raises DamagedError where it is damaged, PhituiError where it cannot be opened, or a newer phitui has written it.
    """
    _make_private(path)
    refuse_lone_wal(path)
    with told(path):
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            version = check_version(connection, path, len(migrations))
            _use_wal(connection)
            if version < len(migrations):
                migrate(connection, migrations)
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
    return connection


def check_version(connection: sqlite3.Connection, path: Path, newest: int = len(MIGRATIONS)) -> int:
    """The file's version. Raises PhituiError where a newer phitui has written it, or sqlite3.Error."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > newest:
        raise PhituiError(
            f"{path} was written by a newer phitui (version {version}, this one knows {newest})",
            "Install that one again, or move the file away",
        )
    return version


def refuse_lone_wal(path: Path) -> None:
    """Beside a file that is empty SQLite would delete what was written last. Raises DamagedError."""
    wal = path.with_name(path.name + "-wal")
    with contextlib.suppress(OSError):
        if not path.stat().st_size and wal.stat().st_size:
            raise DamagedError(f"{path} is damaged: it is empty, and {wal.name} beside it is not", RECOVER)


def _make_private(path: Path) -> None:
    """SQLite gives the files beside it (-wal, -shm, -journal) the mode of this one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(open_private(path, os.O_RDWR))
    except OSError as error:
        raise PhituiError(*described(path, error)) from error


def described(path: Path, error: OSError) -> tuple[str, str]:
    """What stands in the way of opening it, and what to do."""
    if path.is_symlink() and not path.exists():
        return f"{path} is a link to {os.path.realpath(path)}, which is not there", "Repair the link, or delete it"
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "not a regular file"
        return f"{path} is {kind}, where the file of the sessions should be", "Move it away"
    return f"{path}: {error.strerror}", ""


def _use_wal(connection: sqlite3.Connection) -> None:
    """Readers and a writer do not wait for each other then. Where the file system cannot (some network ones), SQLite
    stays with its rollback journal, which is as safe. Taking the mode needs the file for a moment, and does not wait
    for it by itself."""
    for _ in range(40):
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                return
            time.sleep(0.05)
            continue
        if mode == "wal":  # a killed process loses nothing; a machine that loses power at most the last moments
            connection.execute("PRAGMA synchronous = NORMAL")
        return


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring the file to the newest version, all of it or nothing. Another process may have done it meanwhile."""
    with transaction(connection):
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        for statements in migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {max(version, len(migrations))}")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. The right to write is taken at once: a reader that becomes a writer is refused without waiting
    when another process has written in between."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def set_aside(path: Path) -> Path:
    """Give a damaged file, with its journal, a name under which it is kept. Raises PhituiError."""
    path = Path(os.path.realpath(path))
    return _renamed(path, f"{path.name}{_DAMAGED}{datetime.now():%Y%m%d-%H%M%S}")


def files_aside(path: Path) -> list[Path]:
    """The damaged files that were set aside of `path`, and not recovered yet, oldest first."""
    path = Path(os.path.realpath(path))
    found = path.parent.glob(f"{glob.escape(path.name)}{_DAMAGED}*")
    return sorted(file for file in found if not file.name.endswith(_BESIDE))


def mark_recovered(path: Path) -> Path:
    """Give a file that was set aside, and has been recovered, the name that says so. Raises PhituiError."""
    return _renamed(path, path.name.replace(_DAMAGED, _RECOVERED))


def _renamed(path: Path, name: str) -> Path:
    names = (name, *(f"{name}-{number}" for number in range(2, 1000)))
    kept = next(one for one in map(path.with_name, names) if not os.path.lexists(one))
    try:
        path.rename(kept)
        for end in _BESIDE:
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + end).rename(kept.with_name(kept.name + end))
    except OSError as error:
        raise PhituiError(f"{path} is damaged and cannot be moved away: {error.strerror}") from error
    return kept
