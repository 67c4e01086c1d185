"""`phitui session recover`: what can be read of a damaged sessions.db comes back, and the damaged file is kept."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from phitui.cli.output import narrate, write
from phitui.core.errors import ExitCode, PhituiError, UsageError
from phitui.core.text import one_line
from phitui.storage.sessions.session_file import DamagedError, files_aside, mark_recovered, set_aside
from phitui.storage.sessions.session_reading import reading
from phitui.storage.sessions.session_recovery import recovered
from phitui.storage.sessions.sessions import SessionStore


def run(path: Path, file: Path | None) -> int:
    """Recover `file`, or where it is None the sessions of `path` if they are damaged, and all that were set aside.
    Raises PhituiError."""
    if file is None:
        files = [*([path] if _is_damaged(path) else []), *files_aside(path)]
    elif not file.is_file():
        raise UsageError(f"{file}: there is no such file")
    else:
        files = [file]
    if not files:
        write(f"{one_line(str(path), 4096)} is not damaged, and nothing was set aside\n")
    failed = [one for one in files if not _recover(path, one)]
    return int(ExitCode.FAILED if failed else ExitCode.DONE)


def _is_damaged(path: Path) -> bool:
    """Whether the file is damaged and has something in it. Raises PhituiError where it cannot be read."""
    try:
        with reading(path) as store:
            store.check()
    except DamagedError:
        wal = path.with_name(path.name + "-wal")
        return any(one.exists() and one.stat().st_size for one in (path, wal))
    return False


def _recover(path: Path, file: Path) -> bool:
    """Whether anything could be read."""
    with recovered(file) as (memory, found):
        if not found.sessions:
            narrate(f"phitui: {file}: nothing in it can be read. It stays where it is; delete it to end this message")
            return False
        if path.exists() and file.samefile(path):
            kept = _replace(path, memory)
        else:
            _take_over(path, memory)
            kept = mark_recovered(file) if file in files_aside(path) else file
    write(f"{one_line(f'{path}: {found}. The damaged file is kept as {kept}', 8192)}\n")
    return True


def _replace(path: Path, memory: sqlite3.Connection) -> Path:
    """Put a file with all of `memory` in the place of the damaged one, which keeps its place until that is written."""
    if not _is_damaged(path):
        raise UsageError(f"{path} is not damaged")
    fresh = path.with_name(f".{path.name}.fresh")
    try:
        fresh.unlink(missing_ok=True)
        _take_over(fresh, memory)
        kept = mark_recovered(set_aside(path))
        fresh.rename(path)
    except OSError as error:
        raise PhituiError(f"{path}: {error.strerror}") from error
    finally:
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                fresh.with_name(fresh.name + end).unlink()
    return kept


def _take_over(path: Path, memory: sqlite3.Connection) -> None:
    store = SessionStore(path)
    try:
        store.take_over(memory)
    finally:
        store.close()
