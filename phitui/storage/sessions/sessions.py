"""sessions.db: every chat with all its turns, in SQLite. Used by one thread at a time; nothing here waits for a screen.

A session is a tree of turns (`session_types.Turn`). Deleting marks it; what was marked over a day ago is removed when
the file is opened the next time.
"""

# ruff: noqa: S608 - what is put together are names of our own; values are always bound

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from phitui.core.errors import PhituiError, UsageError
from phitui.core.text import one_line
from phitui.storage.sessions import session_search
from phitui.storage.sessions.session_file import (
    RECOVER,
    DamagedError,
    GoneError,
    MovedError,
    open_file,
    set_aside,
    told,
    transaction,
)
from phitui.storage.sessions.session_types import Hit, KeptTurn, Session, SessionRow

KEEP_DELETED_S = 86_400.0
# In the order of Turn's fields, without the id.
_FIELDS = (
    "prompt", "parent", "text", "state", "reason", "error", "model", "created", "tokens", "prompt_tokens",
    "completion_tokens", "ttft_ms", "tpot_ms", "total_ms", "tokens_per_s", "thinking",
)  # fmt: skip
_INSERT = f"INSERT INTO turn (session, {', '.join(_FIELDS)}) VALUES (?{', ?' * len(_FIELDS)})"
_CHANGING = ("text", "state", "reason", "error", "model", "tokens", "prompt_tokens", "completion_tokens", "ttft_ms",
             "tpot_ms", "total_ms", "tokens_per_s", "thinking")  # fmt: skip
_UPDATE = f"UPDATE turn SET {', '.join(f'{name} = ?' for name in _CHANGING)} WHERE id = ?"
_ROW = """SELECT id, title, system, created, changed, leaf,
    (SELECT count(*) FROM turn WHERE session = session.id),
    coalesce((SELECT model FROM turn WHERE session = session.id ORDER BY id DESC LIMIT 1), ''),
    parameters FROM session"""


class SessionStore:
    """Every method raises PhituiError with the file's name where it fails, DamagedError where the file is damaged."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it."""
        self.path = path
        self._connection = open_file(path)
        try:
            with told(self.path):
                with transaction(self._connection):
                    self.has_index = session_search.ensure_index(self._connection)
                    self._remove("deleted < ?", time.time() - KEEP_DELETED_S)
                self._file: os.stat_result | None = self.path.stat()
        except BaseException:
            self._connection.close()
            raise

    @classmethod
    def reader(cls, path: Path, connection: sqlite3.Connection) -> SessionStore:
        """A store on a connection that must not write, such as `session_reading` opens; what changes it fails."""
        store = cls.__new__(cls)
        store.path, store._connection, store._file = path, connection, None
        with told(path):
            store.has_index = session_search.is_current(connection)
        return store

    def close(self) -> None:
        """Close the file. What was saved is there."""
        self._connection.close()

    def set_aside(self) -> Path:
        """Close a damaged file and give it another name, which is returned. Open a new store then."""
        self._connection.close()
        return set_aside(self.path)

    def take_over(self, other: sqlite3.Connection) -> None:
        """Take over all sessions of a database in memory, as `session_recovery` makes it. Into a file without any they
        come with the ids that they had, else with ids behind those that are there."""
        self._check_place()
        with told(self.path), transaction(self._connection):
            last = dict(self._connection.execute("SELECT name, seq FROM sqlite_sequence WHERE seq > 0"))
            for table, shifted in (("session", {"id": "session", "leaf": "turn"}),
                                   ("turn", {"id": "turn", "session": "session", "parent": "turn"})):  # fmt: skip
                names = [row[1] for row in other.execute(f"PRAGMA table_info({table})")]
                sums = (f"{name} + {last.get(shifted[name], 0)}" if name in shifted else name for name in names)
                self._connection.executemany(
                    f"INSERT INTO {table} ({', '.join(names)}) VALUES (?{', ?' * (len(names) - 1)})",
                    other.execute(f"SELECT {', '.join(sums)} FROM {table} ORDER BY id"),
                )
            if self.has_index:
                session_search.index_new(self._connection)

    def _create(self, title: str, system: str, created: float, changed: float, parameters: str) -> int:
        cursor = self._connection.execute(
            "INSERT INTO session (title, system, created, changed, parameters) VALUES (?, ?, ?, ?, ?)",
            (title, system, created, changed, parameters),
        )
        return int(cursor.lastrowid or 0)

    def save(self, session: int, turns: Iterable[KeptTurn], leaf: int | None) -> dict[int, int]:
        """Write turns, those without an id (below 0) as new ones, parents first; and at which of them the chat stands.
        Returns the ids of the new ones by those that they were given with. A session that a chat stands in (`leaf`) is
        in use: deleted meanwhile, by another console, it comes back. Raises GoneError where it has been removed."""
        self._check_place()
        with told(self.path), transaction(self._connection):
            ids = self._write(session, turns)
            if self.has_index:
                session_search.index_new(self._connection)
            stands = "" if leaf is None else ", deleted = NULL, leaf = :leaf"
            cursor = self._connection.execute(
                f"UPDATE session SET changed = :now{stands} WHERE id = :session",
                {"now": time.time(), "leaf": None if leaf is None else ids.get(leaf, leaf), "session": session},
            )
            if not cursor.rowcount:
                raise GoneError(f"{self.path} no longer has session {session}")
        return ids

    def _write(self, session: int, turns: Iterable[KeptTurn]) -> dict[int, int]:
        ids: dict[int, int] = {}
        for turn in turns:
            if turn.id >= 0:
                session_search.forget(self._connection, "id", turn.id, self.has_index)
                self._connection.execute(_UPDATE, (*(getattr(turn, name) for name in _CHANGING), turn.id))
                continue
            values = [getattr(turn, name) for name in _FIELDS]
            values[1] = ids.get(turn.parent, turn.parent) if turn.parent is not None else None
            ids[turn.id] = int(self._connection.execute(_INSERT, (session, *values)).lastrowid or 0)
        return ids

    def _check_place(self) -> None:
        """A file that was removed or replaced still takes what is written, and it would be lost: raise instead."""
        if self._file is None:
            raise PhituiError(f"{self.path} is open to be read only")
        try:
            now = self.path.stat()
        except OSError as error:
            raise MovedError(f"{self.path} was removed") from error
        if (now.st_ino, now.st_dev) != (self._file.st_ino, self._file.st_dev):
            raise MovedError(f"{self.path} was replaced")

    def stand_at(self, session: int, leaf: int) -> None:
        """Keep at which turn the chat of a session stands."""
        with told(self.path), transaction(self._connection):
            self._connection.execute("UPDATE session SET leaf = ? WHERE id = ?", (leaf, session))

    def sessions(self, limit: int = 200) -> list[SessionRow]:
        """The sessions that changed last, newest first."""
        with told(self.path):
            rows = self._connection.execute(
                f"{_ROW} WHERE deleted IS NULL ORDER BY changed DESC, id DESC LIMIT ?", (limit,)
            )
            return [SessionRow(*row) for row in rows]

    def count(self) -> int:
        """How many sessions there are."""
        with told(self.path):
            return int(self._connection.execute("SELECT count(*) FROM session WHERE deleted IS NULL").fetchone()[0])

    def check(self) -> None:
        """Read all of the file. Raises DamagedError."""
        with told(self.path):
            (found,) = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
            if found != "ok":
                raise DamagedError(f"{self.path} is damaged: {one_line(found, 200)}", RECOVER)

    def rows(self, ids: Sequence[int]) -> list[SessionRow]:
        """The rows of these sessions, in this order; deleted ones are left out."""
        with told(self.path):
            found = (self._row(session) for session in ids)
            return [row for row in found if row is not None]

    def _row(self, session: int, deleted: str = "deleted IS NULL") -> SessionRow | None:
        row = self._connection.execute(f"{_ROW} WHERE id = ? AND {deleted}", (session,)).fetchone()
        return SessionRow(*row) if row else None

    def titled(self, wanted: str, limit: int) -> list[int]:
        """Sessions whose title has these words, the one changed last first."""
        words = [word.casefold() for word in wanted.split()]
        with told(self.path):
            rows = self._connection.execute("SELECT id, title FROM session WHERE deleted IS NULL ORDER BY changed DESC")
            found = [number for number, title in rows if all(word in title.casefold() for word in words)]
        return found[:limit]

    def search(self, wanted: str, limit: int = 200, stop: Callable[[], bool] = lambda: False) -> list[Hit]:
        """Turns with these words, newest first; see `session_search.search`."""
        with told(self.path):
            try:
                return session_search.search(self._connection, wanted, limit, self.has_index, stop)
            except sqlite3.DatabaseError as error:
                if "malformed" not in str(error) or not self.has_index:
                    raise
            if self._connection.execute("PRAGMA query_only").fetchone()[0]:
                return session_search.search(self._connection, wanted, limit, False, stop)
            with transaction(self._connection):  # the index can be made anew from the turns
                session_search.rebuild(self._connection)
                session_search.index_new(self._connection)
            return session_search.search(self._connection, wanted, limit, self.has_index, stop)

    def turns(self, ids: Sequence[int]) -> list[KeptTurn]:
        """These turns, in this order."""
        with told(self.path):
            found = (self._turns("id = ?", number) for number in ids)
            return [turn for some in found for turn in some]

    def _turns(self, where: str, value: int) -> list[KeptTurn]:
        rows = self._connection.execute(
            f"SELECT id, {', '.join(_FIELDS)} FROM turn WHERE {where} ORDER BY id", (value,)
        )
        return [KeptTurn(*row) for row in rows]

    def last_turns(self, session: int, number: int) -> list[KeptTurn]:
        """The newest turns of a session, oldest first."""
        with told(self.path):
            rows = self._connection.execute(
                "SELECT id FROM turn WHERE session = ? ORDER BY id DESC LIMIT ?", (session, number)
            ).fetchall()
            return self.turns([row[0] for row in reversed(rows)])

    def load(self, session: int) -> Session:
        """A whole session. Raises UsageError where there is none of this id."""
        with told(self.path):
            row = self._row(session)
            if row is None:
                raise UsageError(f"there is no session {session}", "phitui session list shows them")
            return Session(row, self._turns("session = ?", session))

    def insert(
        self, title: str, system: str, created: float, turns: Sequence[KeptTurn], leaf: int | None, parameters: str = ""
    ) -> tuple[int, dict[int, int]]:
        """A new session with these turns, whose ids and parents are below 0; returns its id, and as `save` theirs."""
        self._check_place()
        with told(self.path), transaction(self._connection):
            session = self._create(title, system, created, time.time(), parameters)
            ids = self._write(session, turns)
            if self.has_index:
                session_search.index_new(self._connection)
            at = ids.get(leaf) if leaf is not None else None
            self._connection.execute("UPDATE session SET leaf = ? WHERE id = ?", (at, session))
        return session, ids

    def rename(self, session: int, title: str) -> None:
        """Give a session another title."""
        with told(self.path), transaction(self._connection):
            self._connection.execute("UPDATE session SET title = ? WHERE id = ?", (title, session))

    def set_parameters(self, session: int, system: str, parameters: str) -> None:
        """Keep the system prompt and the other parameters of a session."""
        with told(self.path), transaction(self._connection):
            self._connection.execute(
                "UPDATE session SET system = ?, parameters = ? WHERE id = ?", (system, parameters, session)
            )

    def delete(self, session: int) -> None:
        """Mark a session as deleted: it is in no list and no search, and can be brought back for a day."""
        with told(self.path), transaction(self._connection):
            self._connection.execute("UPDATE session SET deleted = ? WHERE id = ?", (time.time(), session))

    def undelete(self) -> SessionRow | None:
        """Bring back the session that was deleted last; None where there is none."""
        with told(self.path), transaction(self._connection):
            row = self._connection.execute(
                "SELECT id FROM session WHERE deleted IS NOT NULL ORDER BY deleted DESC, id DESC LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            self._connection.execute("UPDATE session SET deleted = NULL WHERE id = ?", row)
            return self._row(row[0])

    def remove(self, session: int) -> None:
        """Remove a session at once. Raises UsageError where there is none of this id."""
        with told(self.path), transaction(self._connection):
            if self._row(session, "1") is None:
                raise UsageError(f"there is no session {session}", "phitui session list shows them")
            self._remove("id = ?", session)

    def _remove(self, where: str, value: float) -> None:
        rows = self._connection.execute(f"SELECT id FROM session WHERE {where}", (value,)).fetchall()
        for (session,) in rows:
            session_search.forget(self._connection, "session", session, self.has_index)
            self._connection.execute("DELETE FROM turn WHERE session = ?", (session,))
            self._connection.execute("DELETE FROM session WHERE id = ?", (session,))
