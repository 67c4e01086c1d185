"""Search by the index and without it."""

import random
import sqlite3
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phitui.storage.sessions import cjk_index
from phitui.storage.sessions.session_search import snippet
from phitui.storage.sessions.session_types import KeptTurn
from phitui.storage.sessions.sessions import SessionStore


@pytest.fixture
def store(tmp_path):
    store = SessionStore(tmp_path / "sessions.db")
    yield store
    store.close()


def add(store, *texts, state="done"):
    return store.insert(
        "T", "", 0.0, [KeptTurn(id=-i, prompt=text, state=state) for i, text in enumerate(texts, 1)], -1
    )


def prompts(store, wanted, limit=50):
    return [turn.prompt for turn in store.turns([hit.turn for hit in store.search(wanted, limit)])]


@pytest.fixture(params=[True, False], ids=["index", "no index"])
def either(store, request):
    if not request.param:
        store.has_index = False
    elif not store.has_index:
        pytest.skip("this SQLite has no FTS5")
    return store


def test_all_words_the_last_as_a_beginning_newest_first(either):
    add(either, "the KV cache grows", "a cache of keys", "kvass is a drink", "The cache: KV!")
    assert prompts(either, "cache kv") == ["The cache: KV!", "the KV cache grows"]
    assert prompts(either, "CACH") == ["The cache: KV!", "a cache of keys", "the KV cache grows"]
    assert prompts(either, "cache", limit=1) == ["The cache: KV!"]
    assert prompts(either, "") == prompts(either, "  ") == prompts(either, "absent") == []


def test_what_the_query_language_would_take_for_its_own_is_text(either):
    add(either, 'say "hello" to NEAR OR AND NOT', "x* (y) col:z ^a -b")
    for wanted in (
        '"',
        '"hello',
        "NEAR OR",
        "x*",
        "(y)",
        "col:z",
        "^a",
        "-b",
        "'",
        "%",
        "_",
        "\\",
        "\0",
        "a\0b",
        "AND",
    ):
        prompts(either, wanted)  # none of them an error
    assert prompts(either, "NEAR OR") == ['say "hello" to NEAR OR AND NOT']
    assert prompts(either, "%") == []


def test_scripts_without_spaces_are_found_in_the_middle(either):
    add(either, "日本語のテキストです", "ภาษาไทยเขียนติดกัน", "emoji 🦊 here")
    assert prompts(either, "テキスト") == ["日本語のテキストです"]
    assert prompts(either, "ไทย") == ["ภาษาไทยเขียนติดกัน"]
    assert prompts(either, "🦊") == ["emoji 🦊 here"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kept=st.lists(st.text(alphabet="東京都の夜ไทย가b C.", max_size=12), min_size=1, max_size=8),
    wanted=st.text(alphabet="東京都の夜ไทย가b", min_size=1, max_size=4),
)
def test_every_part_of_such_a_script_is_found_and_nothing_else(either, kept, wanted):
    if not cjk_index.is_cjk(wanted):
        return
    session, ids = add(either, *kept)
    try:
        expected = [prompt for prompt in reversed(kept) if wanted.casefold() in prompt.casefold()]
        assert prompts(either, wanted) == expected
        turns = list(enumerate(kept, 1))
        changed = [KeptTurn(id=ids[-i], prompt=one, text="東" if i % 2 else "b", state="done") for i, one in turns]
        either.save(session, changed, None)
        assert prompts(either, "東") == [one for i, one in reversed(turns) if i % 2 or "東" in one]
    finally:
        either.remove(session)
    assert prompts(either, "東") == prompts(either, wanted) == []


def test_a_file_of_before_gets_the_index_of_scripts_without_spaces(tmp_path):
    path = tmp_path / "sessions.db"
    store = SessionStore(path)
    if not store.has_index:
        pytest.skip("this SQLite has no FTS5")
    add(store, "東京の夜", "a night", "京都の夜")
    store._connection.execute("DROP TABLE turn_pairs")
    store.close()
    store = SessionStore(path)
    assert prompts(store, "の夜") == ["京都の夜", "東京の夜"]
    count = "SELECT count(*) FROM turn_pairs(?)"
    assert store._connection.execute(count, (cjk_index.query(["の夜"]),)).fetchone() == (2,)
    store.close()


def test_accents_do_not_count_in_the_index(store):
    if not store.has_index:
        pytest.skip("this SQLite has no FTS5")
    add(store, "un café noir")
    assert prompts(store, "cafe") == prompts(store, "CAFÉ") == ["un café noir"]


def test_an_answer_on_its_way_is_found(store):
    session, ids = add(store, "p", state="answering")
    store.save(session, [KeptTurn(id=ids[-1], prompt="p", text="halfway there", state="answering")], None)
    assert len(store.search("halfway")) == 1
    store.save(session, [KeptTurn(id=ids[-1], prompt="p", text="halfway there and done", state="done")], None)
    store.save(session, [KeptTurn(id=ids[-1], prompt="p", text="finally", state="done")], None)
    assert store.search("halfway") == []
    assert len(store.search("finally")) == 1


def test_a_python_without_fts5_in_between_loses_nothing(tmp_path):
    path = tmp_path / "sessions.db"
    store = SessionStore(path)
    if not store.has_index:
        pytest.skip("this SQLite has no FTS5")
    first, _ = add(store, "alpha beta")
    add(store, "beta gamma")
    store.has_index = False  # as one that has none behaves from here on
    store.remove(first)
    add(store, "delta beta")
    assert prompts(store, "beta") == ["delta beta", "beta gamma"]
    store.close()
    store = SessionStore(path)
    assert prompts(store, "beta") == ["delta beta", "beta gamma"]
    assert prompts(store, "alpha") == []
    store._connection.execute("INSERT INTO turn_text(turn_text) VALUES ('integrity-check')")
    store.close()


def test_a_damaged_index_is_made_anew(store):
    if not store.has_index:
        pytest.skip("this SQLite has no FTS5")
    add(store, *(f"word{number} common" for number in range(2000)))
    store._connection.execute("UPDATE turn_text_data SET block = x'00ff00ff' WHERE id > 10")
    assert prompts(store, "word77", limit=1) == ["word779 common"]
    store._connection.execute("INSERT INTO turn_text(turn_text) VALUES ('integrity-check')")


def test_a_search_that_is_overtaken_ends(store):
    add(store, *("nothing of the kind " * 20 for _ in range(5000)))
    store.has_index = False
    begun = time.process_time()
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > 2

    assert store.search("absent", 10, stop) == []
    assert len(asked) == 3
    assert time.process_time() - begun < 2
    assert len(store.search("kind", 10)) == 10


def test_random_text_agrees_with_looking(store):
    if not store.has_index:
        pytest.skip("this SQLite has no FTS5")
    draw = random.Random(3)
    words = ["ab", "abc", "bc", "Äb", "x1", "12", "é", "zz"]
    add(store, *(" ".join(draw.choices(words, k=draw.randint(1, 6))) for _ in range(300)))
    for _ in range(100):
        wanted = " ".join(draw.choices(words[:3] + words[4:6], k=draw.randint(1, 3)))
        whole, last = wanted.split()[:-1], wanted.split()[-1]
        expected = [
            row[0]
            for row in store._connection.execute("SELECT prompt FROM turn ORDER BY id DESC")
            if all(word in row[0].split() for word in whole) and any(w.startswith(last) for w in row[0].split())
        ]
        found = [p for p in prompts(store, wanted, 400) if "Äb" not in p]
        assert found == [p for p in expected if "Äb" not in p]


def test_snippets():
    text = "start " * 50 + "the needle stands here " + "end " * 50
    assert "needle stands" in snippet(text, "needle", 60)
    assert snippet(text, "needle", 60).startswith("…") and snippet(text, "needle", 60).endswith("…")
    assert snippet("short\n text", "absent", 60) == "short text"


def test_sqlite_here_has_what_is_tested():
    assert sqlite3.sqlite_version_info >= (3, 31)
