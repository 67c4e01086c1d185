"""`phitui session recover`: what can be read of a damaged sessions.db comes back, and the damaged file is kept."""

from __future__ import annotations

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
        files = [*([path] if is_damaged(path) else []), *files_aside(path)]
    elif not file.is_file():
        raise UsageError(f"{file}: there is no such file")
    else:
        files = [file]
    if not files:
        write(f"{one_line(str(path), 4096)} is not damaged, and nothing was set aside\n")
    failed = [one for one in files if not _recover(path, one)]
    return int(ExitCode.FAILED if failed else ExitCode.DONE)


def is_damaged(path: Path) -> bool:
    """Whether the file is damaged, looked through as a whole. Raises PhituiError where it cannot be read."""
    try:
        with reading(path) as store:
            store.check()
    except DamagedError:
        return True
    return False


def _recover(path: Path, file: Path) -> bool:
    with recovered(file) as (memory, found):
        if not found.sessions:
            narrate(f"phitui: {file}: nothing in it can be read. It stays where it is; delete it to be told no more")
            return False
        in_place = path.exists() and file.samefile(path)
        if in_place and not is_damaged(path):
            raise UsageError(f"{file} is not damaged")
        kept = set_aside(path) if in_place else file
        try:
            _take_over(path, memory)
        except PhituiError as error:
            raise PhituiError(f"{error.message}. The damaged file is kept as {kept}", error.fix) from error
    if kept in files_aside(path):
        kept = mark_recovered(kept)
    write(f"{one_line(f'{path}: {found}. The damaged file is kept as {kept}', 8192)}\n")
    return True


def _take_over(path: Path, memory: sqlite3.Connection) -> None:
    store = SessionStore(path)
    try:
        store.take_over(memory)
    finally:
        store.close()
