"""Search in scripts that are written without spaces between words, where SQLite sees a sentence as a word.

Their texts are indexed by pairs of neighbouring characters: 東京都 as 東京, 京都 and 都, so that a word is a phrase of
pairs, and a single character the beginning of one. A pair is written in hexadecimal: no tokenizer takes that apart.
"""

# ruff: noqa: S608 - what is put together are names of our own; values are always bound

from __future__ import annotations

import re
import sqlite3
from itertools import pairwise

INDEX = "turn_pairs"
# Thai to Tibetan, Myanmar, Hangul, Khmer, kana, the Chinese characters with what stands beside them.
_RUN = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\uff66-\uffdc\U0001b000-\U0001b16f\U00020000-\U0003ffff]+"
)


def is_cjk(word: str) -> bool:
    """Whether some of it is of such a script."""
    return _RUN.search(word) is not None


def ensure_index(connection: sqlite3.Connection) -> None:
    """Make the index where it is missing, with the turns that `indexed` says are known. In a transaction."""
    connection.create_function("pairs", 2, _pairs, deterministic=True)
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (INDEX,)).fetchone()
    if not known:
        connection.execute(f"CREATE VIRTUAL TABLE {INDEX} USING fts5(pairs, content='', tokenize='ascii', prefix='5')")
        add(connection, "indexed = 1")


def add(connection: sqlite3.Connection, where: str) -> None:
    """Take up turns."""
    connection.execute(
        f"INSERT INTO {INDEX}(rowid, pairs) SELECT id, found FROM (SELECT id, pairs(prompt, text) AS found FROM turn"
        f" WHERE {where}) WHERE found <> ''"
    )


def forget(connection: sqlite3.Connection, where: str, value: int) -> None:
    """Take turns out of the index, before they change or go."""
    connection.execute(
        f"INSERT INTO {INDEX}({INDEX}, rowid, pairs) SELECT 'delete', id, found FROM (SELECT id, pairs(prompt, text)"
        f" AS found FROM turn WHERE {where}) WHERE found <> ''",
        (value,),
    )


def clear(connection: sqlite3.Connection) -> None:
    """Forget all turns."""
    connection.execute(f"INSERT INTO {INDEX}({INDEX}) VALUES ('delete-all')")


def query(words: list[str]) -> str:
    """What to look for in the index: all turns that have `words` are found by it, and perhaps others; "" where none of
    them is of such a script."""
    return " ".join(_phrase(run) for word in words for run in _RUN.findall(word))


def _phrase(run: str) -> str:
    if len(run) == 1:
        return f'"{ord(run):05x}"*'
    return '"' + " ".join(f"{ord(one):05x}{ord(two):05x}" for one, two in pairwise(run)) + '"'


def _pairs(prompt: str, text: str) -> str:
    found = []
    for run in _RUN.findall(prompt) + _RUN.findall(text):
        found += [f"{ord(one):05x}{ord(two):05x}" for one, two in pairwise(run)]
        found.append(f"{ord(run[-1]):05x}")
    return " ".join(found)
