"""Export, import, and what an import must not take."""

import json
import random
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phitui.core.errors import UsageError
from phitui.storage.sessions.session_transfer import file_name, from_json, read_file, to_json, to_markdown, write_file
from phitui.storage.sessions.session_types import KeptTurn
from phitui.storage.sessions.sessions import SessionStore


@pytest.fixture
def store(tmp_path):
    store = SessionStore(tmp_path / "sessions.db")
    yield store
    store.close()


@pytest.fixture
def session(store):
    turns = [
        KeptTurn(id=-1, prompt="one", text="1", model="m", reason="stop", ttft_ms=3.5),
        KeptTurn(id=-2, parent=-1, prompt="two", text="2"),
        KeptTurn(id=-3, parent=-1, prompt="two, otherwise", text="2b\x1b[2J", state="lost", error="it died"),
    ]
    number, _ = store.insert("My chat", "be brief", 1.7e9, turns, -2)
    return store.load(number)


def test_json_comes_back_the_same(store, session, tmp_path):
    path = tmp_path / "out.json"
    write_file(path, session, True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = read_file(path)
    number, _ = store.insert(read.title, read.system, read.created, read.turns, read.leaf)
    again = store.load(number)

    def plain(one):
        first = one.turns[0].id
        shifted = json.loads(to_json(one))
        for turn in shifted["turns"]:
            turn["id"] -= first
            turn["parent"] = None if turn["parent"] is None else turn["parent"] - first
        shifted["leaf"] -= first
        return shifted

    assert plain(again) == plain(session)
    assert [turn.prompt for turn in again.path()] == ["one", "two"]


def test_markdown_has_the_branch_that_is_shown(session):
    text = to_markdown(session)
    assert text.startswith("# My chat\n\n2023-11-14 22:13 UTC")
    assert "## System\n\nbe brief" in text
    assert text.count("## Prompt") == 2
    assert "otherwise" not in text


def test_no_file_is_replaced(session, tmp_path):
    path = tmp_path / "mine.md"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        write_file(path, session, False)
    assert path.read_text() == "mine"
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_file_names_are_harmless():
    assert file_name("../../etc/passwd: what? ") == "etc-passwd-what.md"
    assert file_name("\x1b[2J…") == "2j.md"
    assert file_name("…") == "session.md"


def broken(session, **changes):
    data = json.loads(to_json(session))
    data.update(changes)
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "other"},
        {"version": 2},
        {"title": 7},
        {"extra": 1},
        {"leaf": 99},
        {"created": -1},
        {"turns": [{"id": 1, "prompt": "x", "parent": 1}]},
        {"turns": [{"id": 1, "prompt": "x", "parent": 2}, {"id": 2, "prompt": "y", "parent": 1}]},
        {"turns": [{"id": 1, "prompt": "x"}, {"id": 1, "prompt": "y"}]},
        {"turns": [{"id": -1, "prompt": "x"}]},
        {"turns": [{"id": 1, "prompt": "x", "state": "whatever"}]},
        {"turns": [{"id": 1, "prompt": "x", "tokens": -4}]},
        {"turns": [{"id": 1, "prompt": "x", "indexed": 1}]},
        {"turns": [{"id": 1}]},
        {"turns": [{"id": 2**70, "prompt": "x"}]},
    ],
)
def test_what_is_wrong_is_said(session, changes):
    with pytest.raises(UsageError, match=r"^x\.json"):
        from_json(broken(session, **changes), "x.json")


def test_bytes_that_are_no_session(session):
    good = to_json(session)
    draw = random.Random(5)
    for data in (b"", b"{", b"[]", b"\xff\xfe", b"null", b"[" * 100_000, good[:-20], b'{"title": "\\ud800"}'):
        with pytest.raises(UsageError):
            from_json(data, "x.json")
    for _ in range(300):
        mutated = bytearray(good)
        for _ in range(draw.randint(1, 4)):
            mutated[draw.randrange(len(mutated))] = draw.randrange(256)
        try:
            from_json(bytes(mutated), "x.json")
        except UsageError:
            continue


turn = st.fixed_dictionaries(
    {"id": st.integers(-3, 8), "prompt": st.text(max_size=20)},
    optional={
        "parent": st.none() | st.integers(-3, 8),
        "text": st.text(max_size=20),
        "state": st.sampled_from(["done", "lost", "queued", "no"]),
        "tokens": st.integers(-1, 10**10),
        "ttft_ms": st.none() | st.floats(allow_nan=False),
        "created": st.floats(allow_nan=False),
    },
)


@settings(max_examples=150, deadline=None)
@given(turns=st.lists(turn, max_size=6), title=st.text(max_size=30), leaf=st.none() | st.integers(-2, 8))
def test_what_is_taken_can_be_kept_and_shown(tmp_path_factory, turns, title, leaf):
    data = {"format": "phitui-session", "version": 1, "title": title, "created": 0, "leaf": leaf, "turns": turns}
    try:
        read = from_json(json.dumps(data).encode(), "x.json")
    except UsageError:
        return
    store = SessionStore(tmp_path_factory.mktemp("fuzz") / "sessions.db")
    number, _ = store.insert(read.title, read.system, read.created, read.turns, read.leaf)
    loaded = store.load(number)
    assert len(loaded.turns) == len(turns)
    assert [turn.prompt for turn in loaded.turns] == [turn["prompt"] for turn in turns]
    to_markdown(loaded)
    to_json(loaded)
    store.close()


def test_a_folder_or_a_pipe_is_not_read(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    for name, why in ((".", "Is a directory"), ("pipe", "it is not a file"), ("absent", "no such file")):
        with pytest.raises(UsageError, match=why):
            read_file(tmp_path / name)
