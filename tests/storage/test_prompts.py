"""Prompts and draft on disk: readable by their owner alone, shared by two consoles, whole after nonsense."""

import stat
import threading

from hypothesis import given
from hypothesis import strategies as st

from phitui.storage.prompts import DRAFT, HISTORY, PromptStore


def test_kept_in_order_and_private(tmp_path):
    store = PromptStore(tmp_path / "home", 3)
    store.add(["a", "b\nc", "b\nc", "\ud800d", "e"])
    store.keep_draft("half a\nthought")
    again = PromptStore(tmp_path / "home", 3)
    assert again.history() == ["b\nc", "?d", "e"]
    assert again.draft() == "half a\nthought"
    for name in (HISTORY, DRAFT):
        assert stat.S_IMODE((tmp_path / "home" / name).stat().st_mode) == 0o600
    again.keep_draft(" ")
    assert store.draft() == "" and not (tmp_path / "home" / DRAFT).exists()


def test_a_size_of_none_keeps_none(tmp_path):
    store = PromptStore(tmp_path, 0)
    store.add(["a"])
    assert store.history() == []


def test_a_file_with_lines_that_are_none_is_put_aside(tmp_path):
    store = PromptStore(tmp_path, 10)
    assert store.add(["a"]) is None
    with (tmp_path / HISTORY).open("ab") as file:
        file.write(b'"cut of')
    damaged = (tmp_path / HISTORY).read_bytes()
    assert store.history() == ["a"] and (tmp_path / HISTORY).read_bytes() == damaged
    aside = store.add(["b"])
    assert aside.read_bytes() == damaged and aside.parent == tmp_path
    assert store.history() == ["a", "b"] and store.add(["c"]) is None


def test_many_writers_lose_nothing(tmp_path):
    def write(who):
        store = PromptStore(tmp_path, 1000)
        for number in range(15):
            store.add([f"{who}-{number}"])

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = PromptStore(tmp_path, 1000).history()
    assert len(kept) == 60
    for who in range(4):
        assert [one for one in kept if one.startswith(f"{who}-")] == [f"{who}-{number}" for number in range(15)]


@given(st.binary(max_size=200))
def test_whatever_lies_there_is_read_or_passed_over(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("prompts")
    (folder / HISTORY).write_bytes(data + b'\n"good"\n')
    (folder / DRAFT).write_bytes(data)
    store = PromptStore(folder, 10)
    assert store.history()[-1] == "good"
    assert isinstance(store.draft(), str)
