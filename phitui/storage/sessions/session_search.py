"""Search over all turns: SQLite's full-text index FTS5 where it is compiled in, else a look into every turn.

The index has turns that are over (`turn.indexed`). The others, of an answer on its way or one that was cut off, are few
and are looked into; so are all turns for words of signs alone. Scripts without spaces have an index of their own.
"""

# ruff: noqa: S608 - what is put together are names of our own; values are always bound

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from phitui.storage.sessions import cjk_index
from phitui.storage.sessions.session_types import OVER, Hit

INDEX = "turn_text"
_REINDEX = "reindex"
_OVER = ", ".join(f"'{state}'" for state in OVER)
_STEPS = 2_000  # of SQLite's machine between two looks whether to stop: about a millisecond


def ensure_index(connection: sqlite3.Connection) -> bool:
    """Make the index where it is missing and bring it up to date; False where this SQLite has no FTS5.

    To be called in a transaction.
    """
    try:
        connection.execute(
            f"CREATE VIRTUAL TABLE IF NOT EXISTS {INDEX} USING fts5(prompt, text, content='turn', content_rowid='id',"
            " tokenize='unicode61 remove_diacritics 2', prefix='1 2 3')"
        )
        # The table may be there, made by another SQLite, while this one has no FTS5: only use tells.
        connection.execute(f"SELECT rowid FROM {INDEX} LIMIT 1").fetchone()
    except sqlite3.OperationalError as error:
        if "no such module" in str(error):
            return False
        raise
    cjk_index.ensure_index(connection)
    if connection.execute("DELETE FROM duty WHERE name = ?", (_REINDEX,)).rowcount:
        rebuild(connection)
    index_new(connection)
    return True


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether both indexes are there and hold every turn that is marked so, for who only reads."""
    try:
        for index in (INDEX, cjk_index.INDEX):
            connection.execute(f"SELECT rowid FROM {index} LIMIT 1").fetchone()
        return not connection.execute("SELECT 1 FROM duty WHERE name = ?", (_REINDEX,)).fetchone()
    except sqlite3.Error:  # without FTS5, or damaged: all turns are looked into
        return False


def rebuild(connection: sqlite3.Connection) -> None:
    """Make the index anew from the turns."""
    connection.execute(f"INSERT INTO {INDEX}({INDEX}) VALUES ('delete-all')")
    cjk_index.clear(connection)
    connection.execute("UPDATE turn SET indexed = 0 WHERE indexed = 1")


def index_new(connection: sqlite3.Connection) -> None:
    """Take up the turns that are over and not in the index yet."""
    where = f"indexed = 0 AND state IN ({_OVER})"
    connection.execute(f"INSERT INTO {INDEX}(rowid, prompt, text) SELECT id, prompt, text FROM turn WHERE {where}")
    cjk_index.add(connection, where)
    connection.execute(f"UPDATE turn SET indexed = 1 WHERE {where}")


def forget(connection: sqlite3.Connection, where: str, value: int, has_index: bool) -> None:
    """Take turns out of the index, before they change or go. Without FTS5 that is left to one that has it."""
    condition = f"indexed = 1 AND {where} = ?"
    if has_index:
        connection.execute(
            f"INSERT INTO {INDEX}({INDEX}, rowid, prompt, text)"
            f" SELECT 'delete', id, prompt, text FROM turn WHERE {condition}",
            (value,),
        )
        cjk_index.forget(connection, condition, value)
    elif connection.execute(f"SELECT 1 FROM turn WHERE {condition} LIMIT 1", (value,)).fetchone():
        connection.execute("INSERT OR IGNORE INTO duty VALUES (?)", (_REINDEX,))
    connection.execute(f"UPDATE turn SET indexed = 0 WHERE {condition}", (value,))


def search(
    connection: sqlite3.Connection, wanted: str, limit: int, has_index: bool, stop: Callable[[], bool]
) -> list[Hit]:
    """Turns that have all words of `wanted`, the last one as a beginning; the newest first, at most `limit`. Case and,
    by the index, accents do not count. Where `stop` says so it ends early, with nothing."""
    words = wanted.replace("\0", " ").split()
    if not words:
        return []
    connection.set_progress_handler(lambda: int(stop()), _STEPS)
    try:
        pairs = cjk_index.query(words)
        if has_index and pairs:
            hits = _looked_into(connection, words, limit, f"turn.id IN (SELECT rowid FROM {cjk_index.INDEX}(?))", pairs)
        elif has_index and all(_tokenized(word) for word in words):
            hits = _indexed(connection, words, limit)
        else:
            return _looked_into(connection, words, limit, "1")
        hits += _looked_into(connection, words, limit, "turn.indexed = 0")
        return sorted(hits, key=lambda hit: hit.turn, reverse=True)[:limit]
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return []
        raise
    finally:
        connection.set_progress_handler(None, 0)


def _tokenized(word: str) -> bool:
    """Whether the index finds this word as it is looked for: of letters and digits, in a script with spaces."""
    return any(character.isalnum() for character in word) and not cjk_index.is_cjk(word)


def _indexed(connection: sqlite3.Connection, words: list[str], limit: int) -> list[Hit]:
    quoted = ['"' + word.replace('"', '""') + '"' for word in words]
    rows = connection.execute(
        f"SELECT turn.session, turn.id FROM {INDEX} JOIN turn ON turn.id = {INDEX}.rowid"
        " JOIN session ON session.id = turn.session"
        f" WHERE {INDEX} MATCH ? AND session.deleted IS NULL ORDER BY {INDEX}.rowid DESC LIMIT ?",
        (" ".join(quoted) + "*", limit),
    )
    return [Hit(*row) for row in rows]


def _looked_into(connection: sqlite3.Connection, words: list[str], limit: int, which: str, *values: str) -> list[Hit]:
    folded = [word.casefold() for word in words]
    # Of most scripts without spaces no letter has a case, and folding a whole text is what costs.
    caseless = all(word.lower() == word.upper() for word in words)

    def found(prompt: str, text: str) -> bool:
        both = f"{prompt}\n{text}"
        if not caseless:
            both = both.casefold()
        return all(word in both for word in folded)

    connection.create_function("found", 2, found, deterministic=True)
    rows = connection.execute(
        "SELECT turn.session, turn.id FROM turn JOIN session ON session.id = turn.session"
        f" WHERE {which} AND session.deleted IS NULL AND found(turn.prompt, turn.text) ORDER BY turn.id DESC LIMIT ?",
        (*values, limit),
    )
    return [Hit(*row) for row in rows]


def snippet(text: str, wanted: str, width: int) -> str:
    """The place in `text` where a word of `wanted` stands first, on one line of about `width` characters; its beginning
    where no word is found as it is written."""
    folded = text.casefold()
    places = [folded.find(word.casefold()) for word in wanted.split()]
    place = min((at for at in places if at >= 0), default=0)
    start = max(0, place - width // 3)
    if start:  # not in the middle of a word
        start = text.rfind(" ", 0, start + 1) + 1 or start
    piece = " ".join(text[start : start + 2 * width].split())
    cut = piece[:width].rstrip() + ("…" if len(piece) > width or start + 2 * width < len(text) else "")
    return ("…" if start else "") + cut
