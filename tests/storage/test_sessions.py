"""The sessions' file: what was written is there, in every way in which a file can be found."""

import os
import sqlite3
import stat
import threading
import time

import pytest
from damaged_sessions import killed_while_writing

from phitui.core.errors import PhituiError, UsageError
from phitui.storage.sessions import session_file
from phitui.storage.sessions.session_file import (
    MIGRATIONS,
    DamagedError,
    GoneError,
    files_aside,
    migrate,
    open_file,
    set_aside,
)
from phitui.storage.sessions.session_types import KeptTurn, title_of
from phitui.storage.sessions.sessions import SessionStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "sessions.db"


@pytest.fixture
def store(path):
    store = SessionStore(path)
    yield store
    store.close()


def chat(*pairs):
    """New turns, one after the other."""
    return [
        KeptTurn(id=-i, parent=1 - i if i > 1 else None, prompt=prompt, text=text, model="tiny", created=1e9 + i)
        for i, (prompt, text) in enumerate(pairs, 1)
    ]


def keep(store, *pairs, title="A chat"):
    session, ids = store.insert(title, "", time.time(), chat(*pairs), -len(pairs))
    return session, ids


def test_a_session_comes_back_as_it_was(store, path):
    turn = KeptTurn(
        id=-1, prompt="p \0 ü", text="a\x1b[31m", state="done", reason="length", model="m", created=12.5, tokens=3,
        prompt_tokens=2, completion_tokens=3, ttft_ms=1.5, tpot_ms=2.5, total_ms=9.0, tokens_per_s=7.5,
    )  # fmt: skip
    session, ids = store.insert("T", "be brief", 12.5, [turn], -1)
    store.close()
    loaded = SessionStore(path).load(session)
    assert (loaded.row.title, loaded.row.system, loaded.row.leaf, loaded.row.turns) == ("T", "be brief", ids[-1], 1)
    turn.id = ids[-1]
    assert loaded.turns == [turn]


def test_turns_grow_while_they_stream(store):
    session, ids = store.insert("T", "", 0.0, [KeptTurn(id=-5, prompt="p", state="queued")], -5)
    for text, state in (("on", "answering"), ("on its way", "done")):
        store.save(session, [KeptTurn(id=ids[-5], prompt="p", text=text, state=state)], ids[-5])
        assert store.load(session).turns[0].text == text


def test_the_branch_that_stands_is_the_path(store):
    session, ids = keep(store, ("one", "1"), ("two", "2"), ("three", "3"))
    more = store.save(session, [KeptTurn(id=-9, parent=ids[-1], prompt="other two", text="2b")], -9)
    assert [turn.prompt for turn in store.load(session).path()] == ["one", "other two"]
    store.stand_at(session, ids[-3])
    assert [turn.prompt for turn in store.load(session).path()] == ["one", "two", "three"]
    assert len(store.load(session).turns) == 4
    assert more[-9] > ids[-3]


def test_the_list_is_newest_first_and_counts_turns(store):
    first, ids = keep(store, ("a", "b"))
    second, _ = keep(store, ("c", "d"), ("e", "f"))
    assert [(row.id, row.turns, row.model) for row in store.sessions()] == [(second, 2, "tiny"), (first, 1, "tiny")]
    store.save(first, [KeptTurn(id=ids[-1], prompt="a", text="changed")], None)
    assert [row.id for row in store.sessions()] == [first, second]
    assert [row.id for row in store.sessions(limit=1)] == [first]


def test_a_session_that_is_deleted_while_a_chat_goes_on_in_it_comes_back(store, path):
    session, ids = keep(store, ("p", "a"))
    other = SessionStore(path)
    other.delete(session)
    last = KeptTurn(id=ids[-1], prompt="p", text="a, stopped", created=1e9)
    store.save(session, [last], None)  # of a chat that was left
    assert other.sessions() == []
    store.save(session, [KeptTurn(id=-2, parent=ids[-1], prompt="more", created=1e9)], -2)
    assert [row.id for row in other.sessions()] == [session] and other.undelete() is None
    assert [turn.text for turn in other.load(session).turns] == ["a, stopped", ""]
    other.close()


def test_delete_can_be_undone_and_removes_after_a_day(store, path):
    first, _ = keep(store, ("a", "needle"))
    second, _ = keep(store, ("c", "needle"))
    store.delete(first)
    store.delete(second)
    assert store.sessions() == []
    assert store.search("needle") == []
    with pytest.raises(UsageError, match="no session"):
        store.load(first)
    assert store.undelete().id == second
    assert [hit.session for hit in store.search("needle")] == [second]
    store._connection.execute("UPDATE session SET deleted = deleted - 90000 WHERE id = ?", (first,))
    store.close()
    again = SessionStore(path)
    assert again.undelete() is None
    assert again._connection.execute("SELECT count(*) FROM turn").fetchone() == (1,)
    assert [hit.session for hit in again.search("needle")] == [second]
    again.close()


def test_rename_and_remove(store):
    session, _ = keep(store, ("a", "b"))
    store.rename(session, "Another")
    assert store.sessions()[0].title == "Another"
    assert store.titled("ANOTH", 5) == [session]
    store.remove(session)
    assert store.count() == 0
    with pytest.raises(UsageError, match="no session"):
        store.remove(session)


def test_saving_into_a_removed_session_is_an_error_and_not_lost_silently(store):
    session, _ = keep(store, ("a", "b"))
    store.remove(session)
    with pytest.raises(GoneError):
        store.save(session, [KeptTurn(id=-1, prompt="more")], None)
    assert store._connection.execute("SELECT count(*) FROM turn").fetchone() == (0,)


def test_a_file_that_was_removed_is_an_error(store, path):
    session, _ = keep(store, ("a", "b"))
    path.unlink()
    with pytest.raises(PhituiError, match="was removed"):
        store.save(session, [KeptTurn(id=-1, prompt="more")], None)


def test_modes_are_private_whatever_the_umask(path):
    before = os.umask(0)
    try:
        path.parent.mkdir()
        path.touch(0o644)
        store = SessionStore(path)
        keep(store, ("a", "b"))
        files = sorted(path.parent.glob("sessions.db*"))
        assert len(files) == 3
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        store.close()
    finally:
        os.umask(before)


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
def test_a_file_of_every_version_becomes_the_newest(path, version):
    path.parent.mkdir()
    old = sqlite3.connect(path, isolation_level=None)
    migrate(old, MIGRATIONS[:version])
    old.close()
    store = SessionStore(path)
    assert store._connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    keep(store, ("a", "b"))
    store.close()


def test_later_migrations_run_in_order_and_all_or_nothing(path):
    path.parent.mkdir()
    later = (*MIGRATIONS, ("ALTER TABLE session ADD COLUMN pinned INTEGER",), ("UPDATE session SET pinned = 7",))
    store = SessionStore(path)
    session, _ = keep(store, ("a", "b"))
    store.close()
    connection = open_file(path)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, (*MIGRATIONS, ("CREATE TABLE extra (x)", "no SQL")))
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone() == (0,)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    connection.close()
    connection = open_file(path, later)
    assert connection.execute("SELECT pinned FROM session WHERE id = ?", (session,)).fetchone() == (7,)
    connection.close()


def test_a_file_of_the_first_version_is_brought_up(path):
    path.parent.mkdir()
    connection = open_file(path, MIGRATIONS[:1])
    connection.execute("INSERT INTO session (title, system, created, changed) VALUES ('old', 'be brief', 1, 2)")
    connection.close()
    store = SessionStore(path)
    (row,) = store.sessions()
    assert (row.title, row.system, row.parameters, row.own()) == ("old", "be brief", "", {})
    store.set_parameters(row.id, "be long", '{"top_k":3}')
    row = store.load(row.id).row
    assert (row.system, row.own()) == ("be long", {"top_k": 3})
    store.close()


def test_a_newer_file_is_refused_and_left_alone(path):
    SessionStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(PhituiError, match=r"newer phitui \(version 99"):
        SessionStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["text", "tail", "schema"])
def test_a_damaged_file_is_told_and_left_until_it_is_set_aside(path, damage):
    store = SessionStore(path)
    keep(store, ("a", "b"))
    store.close()
    data = path.read_bytes()
    if damage == "text":
        data = b"this is no database at all" * 1000
    elif damage == "tail":
        data = data[:100] + b"\xff" * (len(data) - 100)
    else:
        at = data.index(b"CREATE TABLE session")
        data = data[:at] + b"CREATE TALBE session" + data[at + 20 :]
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=r"sessions\.db is damaged: .*phitui session recover"):
        SessionStore(path)
    assert path.read_bytes() == data and files_aside(path) == []
    kept = set_aside(path)
    assert files_aside(path) == [kept] and kept.read_bytes() == data
    assert not path.exists()
    store = SessionStore(path)
    keep(store, ("a", "b"))
    store.close()


def test_what_was_written_last_is_not_deleted_beside_an_empty_file(path):
    killed_while_writing(path)
    path.write_bytes(b"")
    wal = path.with_name("sessions.db-wal")
    before = wal.read_bytes()
    with pytest.raises(DamagedError, match=r"it is empty, and sessions\.db-wal beside it is not"):
        SessionStore(path)
    assert wal.read_bytes() == before


def test_a_full_disk_is_named(path, store):
    store._connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(PhituiError, match=r"sessions\.db: no space left on the disk at /"):
        keep(store, ("a", "b" * 1_000_000))
    store._connection.execute("PRAGMA max_page_count = 100000")
    keep(store, ("a", "b" * 1_000_000))


def test_two_stores_write_at_once_and_nothing_is_lost(path):
    SessionStore(path).close()
    errors = []

    def write(name):
        try:
            store = SessionStore(path)
            session, ids = store.insert(name, "", 0.0, [KeptTurn(id=-1, prompt="0")], -1)
            last = ids[-1]
            for number in range(1, 120):
                made = store.save(session, [KeptTurn(id=-2, parent=last, prompt=str(number), text=name)], -2)
                last = made[-2]
            store.close()
        except Exception as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(name,)) for name in ("one", "two", "three")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert errors == []
    store = SessionStore(path)
    for row in store.sessions():
        assert [turn.prompt for turn in store.load(row.id).path()] == [str(number) for number in range(120)]
    assert store.count() == 3
    store.close()


def test_without_wal_it_works_as_well(path, monkeypatch):
    monkeypatch.setattr(session_file, "_use_wal", lambda connection: connection.execute("PRAGMA journal_mode = DELETE"))
    store = SessionStore(path)
    session, _ = keep(store, ("a", "b"))
    assert not path.with_name("sessions.db-wal").exists()
    assert store.load(session).turns[0].text == "b"
    store.close()


def test_a_place_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PhituiError, match=r"sessions\.db: (Not a directory|File exists)"):
        SessionStore(tmp_path / "file" / "sessions.db")


def test_titles_are_one_short_line():
    assert title_of("  one\n two\t three ") == "one two three"
    assert len(title_of("word " * 10_000)) <= 80
