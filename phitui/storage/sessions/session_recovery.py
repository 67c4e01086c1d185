"""What can still be read of a damaged sessions.db, page by page as far as SQLite reads it.

SQLite gives up at the first damaged page. Here each table is read by ranges of ids, and a range that fails is halved
until only what cannot be read is left out; then come pages to which no way leads any more. Work is done on a copy: the
damaged file is not touched.
"""

# ruff: noqa: S608 - what is put together are names of our own

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from phitui.core.text import counted
from phitui.storage.sessions.session_file import MIGRATIONS, migrate
from phitui.storage.sessions.session_reading import copied, in_memory
from phitui.storage.sessions.session_types import KeptTurn, title_of

_BLOCK = 1024
_MOST_IDS = 50_000_000
_LEAST_TURN_BYTES = 100
_TABLE_LEAF = 13
_FIRST_ROOT = 2  # the first page has the schema
_INDEX = {"session": "session_changed", "turn": "turn_session"}
_Time = Annotated[float, msgspec.Meta(ge=0, le=1e11)]


class _KeptSession(msgspec.Struct, forbid_unknown_fields=True):
    """A row of the table, to tell a whole one from a damaged one."""

    id: int
    title: str
    system: str
    created: _Time
    changed: _Time
    deleted: float | None
    leaf: int | None
    parameters: str = ""


class Found(NamedTuple):
    """What came over, and what is known to be lost. `exact` is False where that is not certain."""

    sessions: int
    turns: int
    lost_sessions: int
    lost_turns: int
    exact: bool

    def __str__(self) -> str:
        lost = f"{counted(self.lost_sessions, 'session')}, {counted(self.lost_turns, 'turn')}"
        found = f"{counted(self.sessions, 'session')} with {counted(self.turns, 'turn')}"
        return f"{found}; lost: {'' if self.exact else 'about '}{lost}"


@contextlib.contextmanager
def recovered(path: Path) -> Iterator[tuple[sqlite3.Connection, Found]]:
    """A database in memory with all that can be read of the file at `path`, and what that is.

    Raises PhituiError where the file cannot be read at all.
    """
    with contextlib.closing(in_memory()) as memory:
        with tempfile.TemporaryDirectory(prefix="phitui-") as folder:
            copy = copied(path, Path(folder))
            lost_sessions, exact = _bring(copy, memory, "session")
            lost_turns, exact_turns = _bring(copy, memory, "turn")
        _mend(memory)
        sessions, turns = (memory.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _INDEX)
        yield memory, Found(sessions, turns, lost_sessions, lost_turns, exact and exact_turns)


def _opened(copy: Path) -> sqlite3.Connection:
    if not copy.stat().st_size:  # SQLite would delete what is in the WAL
        _put_first_page(copy)
    connection = _connected(copy)
    try:
        connection.execute("SELECT id FROM session LIMIT 0")
        connection.execute("SELECT id FROM turn LIMIT 0")
    except sqlite3.Error:  # the first page has the schema, and ours is the same in every file
        connection.close()
        _put_first_page(copy)
        connection = _connected(copy)
    return connection


def _connected(copy: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(copy, isolation_level=None)
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA writable_schema = ON")  # a file that is too short is read as far as it goes
        connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _put_first_page(copy: Path) -> None:
    fresh = copy.with_name("fresh.db")
    with contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as made:
        migrate(made, MIGRATIONS)
        size = made.execute("PRAGMA page_size").fetchone()[0]
    page = bytearray(fresh.read_bytes()[:size])
    page[18:20] = b"\2\2"  # there may be a WAL
    page[92:96] = b"\0\0\0\0"  # the number of pages above is not to be believed: the file's length is
    with copy.open("r+b") as file:
        file.write(page)


class _Turn(KeptTurn, forbid_unknown_fields=True):
    """A row of the table `turn`."""

    session: Annotated[int, msgspec.Meta(ge=1)] = 0


_WHOLE: dict[str, type[Any]] = {"session": _KeptSession, "turn": _Turn}


def _bring(copy: Path, memory: sqlite3.Connection, table: str) -> tuple[int, bool]:
    """Take the rows of a table that can be read and are whole; how many are lost, and whether that is certain."""
    with contextlib.closing(_opened(copy)) as source:
        try:
            there = [row[1] for row in source.execute(f"PRAGMA table_info({table})")]
            (root,) = source.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        except (sqlite3.Error, TypeError):
            return 0, False
        names = [name for name in _WHOLE[table].__struct_fields__ if name in there]
        query = f"SELECT {', '.join(names)} FROM {table} NOT INDEXED"
        ranges = f"{query} WHERE id BETWEEN ? AND ?"
        failed = all(_fails(source, ranges, at) for at in (1, _MOST_IDS))  # at both ends: it is the root, most likely
        if not failed:
            top = _top(source, table, copy.stat().st_size)
            for low in range(1, top + 1, _BLOCK):
                rows, whole = _halving(source, ranges, low, min(low + _BLOCK - 1, top))
                failed = failed or not whole
                for row in rows:
                    _take(memory, table, names, row)
        try:  # an index tells which of the ids that were not read are rows, not gaps
            known = {row[0] for row in source.execute(f"SELECT id FROM {table} INDEXED BY {_INDEX[table]}")}
        except sqlite3.Error:
            known = None

    def missing() -> set[int]:
        came = {row[0] for row in memory.execute(f"SELECT id FROM {table}")}
        return (set(range(1, max(came, default=0))) if known is None else known) - came

    if failed or missing():
        for row in _stray_rows(copy, query, root):
            if known is None or row[0] in known:
                _take(memory, table, names, row)
    return len(missing()), known is not None


def _fails(source: sqlite3.Connection, ranges: str, at: int) -> bool:
    try:
        source.execute(ranges, (at, at)).fetchall()
    except sqlite3.Error:
        return True
    return False


def _take(memory: sqlite3.Connection, table: str, names: list[str], row: tuple[Any, ...]) -> None:
    with contextlib.suppress(msgspec.ValidationError):
        msgspec.convert(dict(zip(names, row, strict=True)), _WHOLE[table])
        marks = f"?{', ?' * (len(names) - 1)}"
        memory.execute(f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})", row)


def _stray_rows(copy: Path, query: str, root: int) -> Iterator[tuple[Any, ...]]:
    """What stands in pages to which no way leads any more: each page that is a table's leaf is put in the place of the
    table's root, so that SQLite reads it as the whole table. Rows of other tables come out as nonsense."""
    if root < _FIRST_ROOT:
        return
    with copy.open("r+b", buffering=0) as file:
        head = os.pread(file.fileno(), 18, 0)
        size = int.from_bytes(head[16:], "big")
        size = 65_536 if size == 1 else size
        os.pwrite(file.fileno(), b"\1\1", 18)  # no WAL any more: closing has put all of it into the file
        with contextlib.closing(_connected(copy)) as source:
            for at in range(size, copy.stat().st_size - size + 1, size):
                page = os.pread(file.fileno(), size, at)
                if page[0] != _TABLE_LEAF:
                    continue
                os.pwrite(file.fileno(), page, (root - 1) * size)
                os.pwrite(file.fileno(), at.to_bytes(8, "big")[4:], 24)  # another counter: SQLite looks anew
                with contextlib.suppress(sqlite3.Error):
                    yield from source.execute(query)


def _top(source: sqlite3.Connection, table: str, size: int) -> int:
    """The highest id that there can be."""
    tops = []
    for query in (f"SELECT max(id) FROM {table}", f"SELECT seq FROM sqlite_sequence WHERE name = '{table}'"):
        with contextlib.suppress(sqlite3.Error, TypeError, ValueError):
            tops.append(int(source.execute(query).fetchone()[0]))
    return min(max(tops, default=size // _LEAST_TURN_BYTES), _MOST_IDS)


def _halving(source: sqlite3.Connection, query: str, low: int, high: int) -> tuple[list[tuple[Any, ...]], bool]:
    """The rows of a range that can be read, and whether that is all of it."""
    try:
        return source.execute(query, (low, high)).fetchall(), True
    except sqlite3.Error:
        if low == high:
            return [], False
    middle = (low + high) // 2
    first, second = (_halving(source, query, *half) for half in ((low, middle), (middle + 1, high)))
    return first[0] + second[0], False


def _mend(memory: sqlite3.Connection) -> None:
    """What points to a row that is lost points to the one before it. Turns without their session get one."""
    memory.execute(
        """UPDATE turn SET parent = (SELECT max(id) FROM turn AS before
            WHERE before.session = turn.session AND before.id < turn.id)
        WHERE parent IS NOT NULL AND NOT EXISTS (SELECT 1 FROM turn AS found
            WHERE found.id = turn.parent AND found.session = turn.session AND found.id < turn.id)"""
    )
    memory.execute("UPDATE session SET leaf = NULL WHERE leaf NOT IN (SELECT id FROM turn)")
    orphans = memory.execute(
        """SELECT session, prompt, min(created), max(created), min(id) FROM turn
        WHERE session NOT IN (SELECT id FROM session) GROUP BY session"""
    ).fetchall()
    for session, prompt, created, changed, _ in orphans:
        memory.execute(
            "INSERT INTO session (id, title, system, created, changed) VALUES (?, ?, '', ?, ?)",
            (session, title_of(prompt), created, changed),
        )
