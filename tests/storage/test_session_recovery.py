"""What can be read of a damaged sessions.db is read, and the file itself is never touched."""

import shutil
import sqlite3
from contextlib import closing

import pytest
from damaged_sessions import TURNS, killed_while_writing, make_sessions, pages, spoil

from phitui.core.errors import PhituiError
from phitui.storage.sessions.session_file import MIGRATIONS, DamagedError, files_aside, mark_recovered, set_aside
from phitui.storage.sessions.session_reading import reading
from phitui.storage.sessions.session_recovery import recovered
from phitui.storage.sessions.session_types import KeptTurn
from phitui.storage.sessions.sessions import SessionStore


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "home" / "sessions.db"
    make_sessions(path)
    return path


def all_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def read(path):
    """What was found, and the sessions that came over, loaded."""
    before = all_of(path.parent)
    with recovered(path) as (memory, found):
        store = SessionStore.reader(path, memory)
        loaded = [store.load(row.id) for row in store.sessions()]
    assert all_of(path.parent) == before
    return found, {session.row.id: session for session in loaded}


def test_a_whole_file_comes_over_whole(path):
    found, sessions = read(path)
    assert str(found) == "20 sessions with 200 turns; lost: 0 sessions, 0 turns"
    with reading(path) as store:
        assert sessions == {row.id: store.load(row.id) for row in store.sessions()}


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"w"])
def test_what_is_around_damaged_pages_comes_over_and_the_chat_goes_on_behind_the_gap(path, fill):
    leaves = [number for number in range(6, pages(path)) if path.read_bytes()[(number - 1) * 4096] == 13]
    spoil(path, *leaves[len(leaves) // 2 :][:2], fill=fill)
    found, sessions = read(path)
    assert found.sessions == 20 and found.exact
    assert found.turns + found.lost_turns == 200 and 0 < found.lost_turns < 20
    turns = [turn for session in sessions.values() for turn in session.turns]
    assert len(turns) == found.turns
    for session in sessions.values():
        assert session.row.title == f"Chat {session.row.id}" and session.row.own() == {"top_k": 3}
        assert all(turn.text.startswith(f"needle {session.row.id}-") for turn in session.turns)
        assert session.path() == session.turns  # one line, nothing hangs in the air


def test_a_file_that_was_cut_is_read_as_far_as_it_goes(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    found, sessions = read(path)
    assert len(sessions) == 20 and 20 < found.turns < 200
    assert found.turns + found.lost_turns == 200
    assert len(sessions[1].turns) == TURNS


def test_the_first_page_is_not_needed(path):
    spoil(path, 1)
    found, sessions = read(path)
    assert (found.sessions, found.turns, found.lost_turns) == (20, 200, 0)
    assert sessions[7].row.title == "Chat 7" and sessions[7].turns[-1].text.startswith("needle 7-10 ")


@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
def test_pages_to_which_no_way_leads_are_found(path, fill):
    spoil(path, *range(1, 17), fill=fill)  # 64 KB, with the roots of all tables
    found, sessions = read(path)
    assert found.turns > 160 and found.sessions == len(sessions) >= 18
    assert sessions[20].row.title.startswith("prompt 20-1 ") and len(sessions[20].path()) == TURNS


def test_what_was_removed_for_good_does_not_come_back(path):
    store = SessionStore(path)
    for session in range(3, 15):
        store.remove(session)
    store.close()
    spoil(path, 5)  # the root of the turns
    found, sessions = read(path)
    assert set(sessions) == {1, 2, *range(15, 21)}
    assert (found.turns, found.lost_turns) == (80, 0)


def test_turns_whose_session_is_lost_get_one(path):
    spoil(path, 2)  # the only page of the table of sessions
    found, sessions = read(path)
    assert (found.sessions, found.turns, found.lost_sessions) == (20, 200, 20)
    assert sessions[3].row.title.startswith("prompt 3-1 xxx") and len(sessions[3].path()) == TURNS


def test_what_a_killed_process_wrote_last_comes_over_even_without_the_file_before_it(tmp_path):
    path = tmp_path / "sessions.db"
    killed_while_writing(path)
    assert read(path)[0].turns == 50
    path.write_bytes(b"")
    found, _ = read(path)
    assert (found.sessions, found.turns, found.lost_turns) == (5, 50, 0)


def test_rows_that_are_no_turns_are_lost_and_do_not_end_it(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE turn SET state = 'nonsense' WHERE id = 5")
        connection.execute("UPDATE turn SET text = x'ff00', parent = 4711 WHERE id = 6")
        connection.execute("UPDATE turn SET created = 1e300 WHERE id = 7")
        connection.execute("UPDATE session SET title = x'ff' WHERE id = 2")
    found, sessions = read(path)
    assert (found.sessions, found.turns, found.lost_sessions, found.lost_turns) == (20, 197, 1, 3)
    assert sessions[2].row.title.startswith("prompt 2-1 ")


@pytest.mark.parametrize("content", [b"", b"a plain text\n", b"\0" * 100_000, bytes(range(256)) * 400])
def test_what_is_no_database_has_nothing(path, content):
    path.write_bytes(content)
    found, _ = read(path)
    assert (found.sessions, found.turns) == (0, 0)


def test_it_is_taken_over_with_its_ids_or_behind_those_that_are_there(path, tmp_path):
    for there in (0, 3):
        target = tmp_path / f"new-{there}.db"
        if there:
            make_sessions(target, there)
        store = SessionStore(target)
        with recovered(path) as (memory, _):
            store.take_over(memory)
        assert store.count() == 20 + there
        loaded = store.load(there + 4)
        assert loaded.row.title == "Chat 4" and loaded.row.leaf == loaded.turns[-1].id == (there + 4) * TURNS
        assert [turn.parent for turn in loaded.turns] == [None, *(turn.id for turn in loaded.turns[:-1])]
        assert len(store.search("needle", 1000)) == 10 * (20 + there)
        store.save(there + 4, [KeptTurn(id=-1, parent=loaded.row.leaf, prompt="goes on")], -1)
        store.check()
        store.close()


def test_reading_makes_nothing_and_changes_nothing(path):
    before = all_of(path.parent)
    with reading(path) as store:
        assert store.count() == 20 and len(store.search("needle 3-4")) == 1
        with pytest.raises(PhituiError, match="read-only"):
            store.delete(1)
        with pytest.raises(PhituiError, match="read only"):
            store.insert("T", "", 0.0, [], None)
    assert all_of(path.parent) == before
    gone = path.with_name("gone") / "sessions.db"
    with reading(gone) as store:
        assert store.sessions() == []
    assert not gone.parent.exists()


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_file_of_an_earlier_version_is_read_and_stays_as_it_is(tmp_path, version):
    path = tmp_path / "sessions.db"
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in [one for statements in MIGRATIONS[:version] for one in statements]:
        connection.execute(statement)
    connection.execute("INSERT INTO session (title, system, created, changed) VALUES ('old', '', 1, 2)")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    before = all_of(tmp_path)
    with reading(path) as store:
        assert [row.title for row in store.sessions()] == ["old"]
    assert all_of(tmp_path) == before
    assert [session.row.title for session in read(path)[1].values()] == ["old"]


def test_a_damaged_index_is_done_without(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM turn_text_data WHERE id > 10")
    before = all_of(path.parent)
    with reading(path) as store:
        assert 24 in [hit.turn for hit in store.search("needle 3-4")]
    assert all_of(path.parent) == before


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "is a folder, where the file of the sessions should be"),
        (lambda path: path.symlink_to("/nowhere/x"), "is a link to /nowhere/x, which is not there"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links|which is not there"),
        (lambda path: __import__("os").mkfifo(path), "is not a regular file"),
        (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)"),
        (lambda path: path.write_bytes(b"a text " * 100), "is damaged: file is not a database"),
    ],
)
def test_what_is_in_its_place_is_one_line(path, make, said):
    path.unlink()
    make(path)
    with pytest.raises(PhituiError, match=said) as reader, reading(path):
        raise AssertionError
    assert "\n" not in str(reader.value) and str(path) in str(reader.value)
    if path.is_file():
        return
    with pytest.raises(PhituiError, match=said):  # who writes hears the same
        SessionStore(path)


def test_damage_that_is_met_while_reading_is_told(path):
    spoil(path, *range(10, pages(path)))
    with reading(path) as store, pytest.raises(DamagedError, match="phitui session recover"):
        store.check()


def test_files_set_aside_are_known_until_they_are_recovered(path):
    first = set_aside(path)
    shutil.copyfile(first, path)
    path.with_name("sessions.db-wal").write_bytes(b"")
    second = set_aside(path)
    assert first != second and files_aside(path) == sorted([first, second])
    assert second.with_name(second.name + "-wal").exists()
    kept = mark_recovered(first)
    assert files_aside(path) == [second] and ".recovered-" in kept.name and kept.stat().st_size
