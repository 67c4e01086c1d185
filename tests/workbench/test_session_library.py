"""A chat and its sessions, with the real file in its thread; the engine's events are the test's own."""

import asyncio
import contextlib
import os
import sqlite3
import subprocess

import pytest

from phitui.core.errors import UsageError
from phitui.engine.protocol.api import Delta, Died, Finished, Loaded, Sampling, Started, Timings, Usage
from phitui.storage.sessions.session_file import files_aside, mark_recovered
from phitui.workbench.chat.chat import Chat
from phitui.workbench.chat.exchanges import State, everything
from phitui.workbench.chat.session_library import SessionLibrary

LOADED = Loaded("tiny", "Tiny", "cpu", "int8", 1, 512, 1000, 0.1, "")


@contextlib.contextmanager
def immutable(path):
    """Nobody can write to the file meanwhile, not root either; skips where that cannot be had."""
    if os.geteuid():
        path.chmod(0o400)
        path.parent.chmod(0o500)
    elif subprocess.run(["chattr", "+i", str(path)], capture_output=True, check=False).returncode:
        pytest.skip("no immutable files here")
    try:
        yield
    finally:
        if os.geteuid():
            path.parent.chmod(0o700)
            path.chmod(0o600)
        else:
            subprocess.run(["chattr", "-i", str(path)], check=True)


class Engine:
    """Takes prompts and lets the test answer them."""

    loaded = LOADED

    def __init__(self):
        self.asked = []
        self.together = []
        self.cancelled = []

    async def generate(self, turns, sampling, answers=1):
        self.asked.append([turn.content for turn in turns])
        self.together.append(answers)
        return sum(self.together) - answers + 1

    async def cancel(self, number):
        self.cancelled.append(number)


class Room:
    def __init__(self, tmp_path, system=""):
        self.engine = Engine()
        self.said = []
        self.chat = Chat(self.engine, Sampling(10, 0.5, 0, 1.0, 1.0), system, lambda exchange: None)
        environ = {"PHITUI_HOME": str(tmp_path / "home")}
        self.sessions = SessionLibrary(self.chat, system, lambda text, kind: self.said.append((text, kind)), environ)

    async def answer(self, prompt, text):
        exchange = self.chat.submit(prompt)
        await self.finish(text)
        return exchange

    async def finish(self, text, reason="stop", place=None):
        for _ in range(3):
            await asyncio.sleep(0)
        number = sum(self.engine.together) if place is None else place
        self.chat.handle(Started(number, 5))
        self.chat.handle(Delta(number, text, 3))
        self.chat.handle(Finished(number, reason, Usage(5, 3), Timings(1.0, 2.0, 5.0, 600.0)))


@pytest.fixture
async def room(tmp_path):
    room = Room(tmp_path, "be brief")
    yield room
    await room.sessions.close()


async def found(room, wanted=""):
    return [one.row.title for one in (await room.sessions.find(wanted))[0]]


async def test_a_chat_is_kept_by_itself_and_comes_back(room, tmp_path):
    await room.answer("What is one?", "1")
    await room.answer("And two?", "2")
    await room.sessions.recorder.flush()
    session = room.sessions.session
    room.sessions.new_chat()
    assert room.chat.exchanges == [] and room.sessions.session is None
    assert await found(room) == ["What is one?"]
    await room.sessions.resume(session)
    assert [one.text for one in room.chat.exchanges] == ["1", "2"]
    assert room.chat.context_tokens == 8
    room.chat.submit("And three?")
    await room.finish("3")
    assert room.engine.asked[-1] == ["be brief", "What is one?", "1", "And two?", "2", "And three?"]
    await room.sessions.close()
    again = Room(tmp_path)
    await again.sessions.resume(session)
    assert [one.text for one in again.chat.exchanges] == ["1", "2", "3"]
    assert again.chat.system == "be brief"
    assert again.chat.exchanges[-1].timings.ttft_ms == 1.0
    await again.sessions.close()


async def test_a_turn_is_on_disk_within_a_second_while_it_streams(room, tmp_path):
    room.chat.submit("Tell me")
    await asyncio.sleep(0.01)
    room.chat.handle(Started(1, 5))
    for number in range(1, 40):
        room.chat.handle(Delta(1, f"word{number} ", number))
        if number % 13 == 0:
            waited = 0
            while waited < 50:  # of the loop's own time, which a busy machine stretches with all else: 50 × 0.02 s
                await asyncio.sleep(0.02)
                waited += 1
                try:
                    connection = sqlite3.connect(f"file:{tmp_path}/home/sessions.db?mode=ro", uri=True)
                    row = connection.execute("SELECT text FROM turn").fetchone()
                    connection.close()
                except sqlite3.OperationalError:  # the file is being made
                    row = None
                if row and f"word{number} " in row[0]:
                    break
            assert waited < 50
        await asyncio.sleep(0.01)


async def test_other_answers_edits_and_forks_are_a_tree(room):
    first = await room.answer("one", "1")
    second = await room.answer("two", "2")
    again = room.chat.instead(first, "one")[0]
    await room.finish("1b")
    edited = room.chat.instead(again, "uno")[0]
    await room.finish("1c")
    assert room.chat.siblings(first) == [first, again, edited]
    assert room.chat.exchanges == [edited]
    room.chat.show_path(first)
    assert room.chat.exchanges == [first, second]
    room.chat.fork(first)
    third = await room.answer("three", "3")
    assert room.engine.asked[-1] == ["be brief", "one", "1", "three"]
    assert room.chat.siblings(third) == [second, third]
    await room.sessions.recorder.flush()
    session = room.sessions.session
    room.sessions.new_chat()
    await room.sessions.resume(session)
    assert [one.prompt for one in room.chat.exchanges] == ["one", "three"]
    assert [one.text for one in everything(room.chat.roots)] == ["1", "2", "3", "1b", "1c"]
    room.chat.show_path(room.chat.roots[0].children[0])
    await room.sessions.keep_place()
    room.sessions.new_chat()
    await room.sessions.resume(session)
    assert [one.prompt for one in room.chat.exchanges] == ["one", "two"]


async def test_several_answers_are_asked_for_together(room):
    first = await room.answer("one", "1")
    more = room.chat.instead(first, "one", 3)
    queued = room.chat.submit("next")
    assert room.chat.exchanges == [more[0], queued]
    for number in (3, 2, 4):  # they end in any order
        await room.finish(f"1{number}", place=number)
        assert len(room.engine.asked) == 2
    assert [one.text for one in room.chat.siblings(first)] == ["1", "12", "13", "14"]
    assert room.engine.asked[1] == ["be brief", "one"] and room.engine.together[:2] == [1, 3]
    await room.finish("next one's")
    assert queued.text == "next one's"
    await room.sessions.recorder.flush()
    session = room.sessions.session
    room.sessions.new_chat()
    await room.sessions.resume(session)
    assert [one.text for one in room.chat.roots] == ["1", "12", "13", "14"]


async def test_cancel_stops_all_answers_that_are_made_together(room):
    first = await room.answer("one", "1")
    more = room.chat.instead(first, "one", 3)
    for _ in range(3):
        await asyncio.sleep(0)
    room.chat.cancel()
    await asyncio.sleep(0)
    assert room.engine.cancelled == [2]  # the request, with all its answers
    for number in (2, 3, 4):
        room.chat.handle(Finished(number, "cancelled", Usage(5, 0), Timings(None, None, None, None)))
    assert [one.reason for one in more] == ["cancelled"] * 3 and not room.chat.busy
    room.chat.instead(first, "one", 3)
    await asyncio.sleep(0.01)
    room.chat.handle(Died("killed", [5, 6, 7], False))
    assert [one.state for one in room.chat.siblings(first)[-3:]] == [State.LOST] * 3


async def test_a_new_chat_in_mid_answer_keeps_what_was_there(room):
    room.chat.submit("long")
    room.chat.submit("queued")
    await asyncio.sleep(0.01)
    room.chat.handle(Started(1, 5))
    room.chat.handle(Delta(1, "so far", 2))
    await room.sessions.recorder.flush()
    session = room.sessions.session
    room.sessions.new_chat()
    await asyncio.sleep(0.01)
    assert room.engine.cancelled == [1]
    room.chat.handle(Finished(1, "cancelled", Usage(5, 2), Timings(1.0, 2.0, 5.0, 600.0)))
    await room.answer("the next chat", "x")
    await room.sessions.recorder.flush()
    assert room.sessions.session != session
    await room.sessions.resume(session)
    assert [(one.prompt, one.text, one.reason) for one in room.chat.exchanges] == [
        ("long", "so far", "cancelled"),
        ("queued", "", "cancelled"),
    ]


async def test_what_was_cut_off_is_shown_as_that_and_not_sent(room, tmp_path):
    await room.answer("one", "1")
    room.chat.submit("long")
    await asyncio.sleep(0.01)
    room.chat.handle(Started(2, 5))
    room.chat.handle(Delta(2, "half", 2))
    await room.sessions.recorder.flush()
    other = Room(tmp_path)
    await other.sessions.resume(room.sessions.session)
    cut = other.chat.exchanges[-1]
    assert (cut.state, cut.error, cut.text, cut.tokens) == (State.LOST, "", "half", 2)
    other.chat.submit("next")
    await asyncio.sleep(0.01)
    assert other.engine.asked[-1] == ["be brief", "one", "1", "next"]
    await other.sessions.close()


async def test_search_finds_turns_and_titles_and_resumes_at_the_turn(room):
    first = await room.answer("one", "the needle is here")
    await room.answer("two", "2")
    room.chat.instead(first, "one")
    await room.finish("another answer")
    await room.sessions.recorder.flush()
    await room.sessions.rename(room.sessions.session, " My   haystack ")
    room.sessions.new_chat()
    await room.answer("unlike", "3")
    await room.sessions.recorder.flush()
    assert await found(room) == ["unlike", "My haystack"]
    assert await found(room, "haystack") == ["My haystack"]
    hits, count = await room.sessions.find("needle")
    assert count == 2 and [one.row.title for one in hits] == ["My haystack"]
    assert [turn.text for turn in await room.sessions.preview(hits[0])] == ["the needle is here"]
    at = await room.sessions.resume(hits[0].row.id, hits[0].turns[0])
    assert at.text == "the needle is here"
    assert [one.prompt for one in room.chat.exchanges] == ["one", "two"]


async def test_delete_undo_export_import(room, tmp_path):
    await room.answer("one", "1")
    await room.sessions.recorder.flush()
    session = room.sessions.session
    file = tmp_path / "out.json"
    await room.sessions.export(session, file)
    await room.sessions.delete(session)
    assert room.chat.exchanges == [] and await found(room) == []
    assert (await room.sessions.undo()).id == session
    assert await room.sessions.undo() is None
    await room.sessions.bring_in(file)
    assert await found(room) == ["one", "one"]
    room.chat.submit("busy")
    await room.sessions.recorder.flush()
    with pytest.raises(UsageError, match="being made"):
        await room.sessions.delete(room.sessions.session)
    with pytest.raises(UsageError, match="title"):
        await room.sessions.rename(session, "  ")


async def test_a_full_disk_is_one_line_and_what_was_missed_is_written_later(room):
    await room.answer("one", "1")
    await room.sessions.recorder.flush()
    thread = room.sessions._thread
    await thread.run(lambda store: store._connection.execute("PRAGMA max_page_count = 1").fetchone())
    for number in range(3):
        await room.answer(f"prompt {number}", "text " * 20_000)
        await room.sessions.recorder.flush()
    assert len(room.said) == 1
    assert "not being saved" in room.said[0][0] and "full" in room.said[0][0]
    assert room.chat.exchanges[-1].state is State.DONE
    await thread.run(lambda store: store._connection.execute("PRAGMA max_page_count = 1000000").fetchone())
    await room.sessions.recorder.flush()
    assert room.said[1:] == [("The chat is saved again.", "")]
    session = room.sessions.session
    room.sessions.new_chat()
    await room.sessions.resume(session)
    assert [one.prompt for one in room.chat.exchanges] == ["one", "prompt 0", "prompt 1", "prompt 2"]


async def test_a_home_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "home").write_text("a file where the folder should be")
    room = Room(tmp_path)
    await room.answer("one", "1")
    await room.sessions.recorder.flush()
    await room.answer("two", "2")
    await room.sessions.recorder.flush()
    assert len(room.said) == 1 and "sessions.db" in room.said[0][0]
    await room.sessions.close()


@pytest.mark.parametrize("way", ["removed", "damaged"])
async def test_a_file_that_vanishes_or_breaks_is_replaced_and_the_chat_written_anew(room, tmp_path, way):
    await room.answer("one", "1")
    await room.sessions.recorder.flush()
    home = tmp_path / "home"
    if way == "removed":
        for file in home.glob("sessions.db*"):
            file.unlink()
    else:
        await room.sessions._thread.run(lambda store: store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)"))
        data = bytearray((home / "sessions.db").read_bytes())
        data[100:] = b"\xff" * (len(data) - 100)
        with (home / "sessions.db").open("r+b") as file:
            file.write(data)
        await room.sessions._thread.run(lambda store: store._connection.execute("PRAGMA shrink_memory"))
    await room.answer("two", "2")
    await room.sessions.recorder.flush()
    assert len(room.said) == 1
    assert ("was removed" if way == "removed" else "set aside as") in room.said[0][0]
    assert len(list(home.glob("sessions.db.damaged-*"))) >= (way == "damaged")
    await room.sessions.recorder.flush()
    session = room.sessions.session
    room.sessions.new_chat()
    await room.sessions.resume(session)
    assert [one.text for one in room.chat.exchanges] == ["1", "2"]


async def test_a_damaged_file_is_said_at_every_start_until_it_is_recovered(tmp_path):
    path = tmp_path / "home" / "sessions.db"

    async def start():
        room = Room(tmp_path)
        await room.sessions.look()
        await room.sessions.look()
        await room.sessions.close()
        return [text for text, kind in room.said if kind == "bad"]

    assert await start() == []
    assert not path.parent.exists()  # where there is nothing, nothing is made
    path.parent.mkdir()
    path.write_bytes(b"a text " * 100)
    (said,) = await start()
    (aside,) = files_aside(path)
    assert f"{path} is damaged" in said and f"set aside as {aside}" in said and "phitui session recover" in said
    for _ in range(2):
        (said,) = await start()
        assert str(aside) in said and "phitui session recover" in said
    mark_recovered(aside)
    assert await start() == []
    path.write_bytes(b"")
    (said,) = await start()
    assert f"{path} was empty (0 bytes)" in said
    path.unlink()
    path.mkdir()
    said = await start()
    assert said and all(f"{path} is a folder" in text for text in said)


async def test_where_nothing_can_be_written_the_kept_chats_can_be_read(room, tmp_path):
    await room.answer("one", "1")
    await room.sessions.recorder.flush()
    await room.sessions.close()
    path = tmp_path / "home" / "sessions.db"
    before = path.read_bytes()
    with immutable(path):
        reader = Room(tmp_path)
        assert await found(reader) == ["one"]
        await reader.sessions.resume(1)
        assert [one.text for one in reader.chat.exchanges] == ["1"]
        await reader.answer("two", "2")
        await reader.sessions.recorder.flush()
        (said,) = reader.said
        assert "not being saved" in said[0] and str(path) in said[0]
    assert path.read_bytes() == before
    await reader.sessions.recorder.flush()
    assert reader.said[1:] == [("The chat is saved again.", "")]
    await reader.sessions.close()


async def test_a_session_that_another_phitui_removed_is_written_anew(room, tmp_path):
    await room.answer("one", "1")
    await room.sessions.recorder.flush()
    other = Room(tmp_path)
    await other.sessions._thread.run(lambda store: store.remove(room.sessions.session))
    await room.answer("two", "2")
    await room.sessions.recorder.flush()
    await room.sessions.recorder.flush()
    assert await found(other) == ["one"]
    assert [row.row.turns for row in (await other.sessions.find(""))[0]] == [2]
    await other.sessions.close()


@pytest.mark.parametrize("who", ["the list", "the console"])
async def test_an_end_in_the_middle_of_a_write_doubles_and_loses_nothing(room, tmp_path, who):
    await room.answer("one", "1")
    await room.sessions.recorder.flush()
    disk = sqlite3.connect(tmp_path / "home" / "sessions.db", isolation_level=None)
    disk.execute("BEGIN IMMEDIATE")  # another console writes: ours has to wait
    waiting = []
    room.chat.submit("two")
    waiting.append(asyncio.create_task(room.sessions.recorder.flush()))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not room.sessions.recorder._dirty  # it is being written
    if who == "the list":
        waiting[0].cancel()
    await room.finish("2")
    closing = asyncio.create_task(room.sessions.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    disk.execute("ROLLBACK")
    await closing
    rows = disk.execute("SELECT prompt, text FROM turn ORDER BY id").fetchall()
    disk.close()
    assert rows == [("one", "1"), ("two", "2")]
    await asyncio.gather(*waiting, return_exceptions=True)
