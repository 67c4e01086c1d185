"""What a model thinks before it answers: told apart, kept, and no part of what it is given next."""

import asyncio
import time

from hypothesis import given, settings
from hypothesis import strategies as st
from raw_server import raw_server
from remote_engine import GREEDY, RemoteEngine
from test_replies import ENDINGS, THOUGHT, answers_with

from phitui.engine.protocol.thinking import TAGS, ThinkSplitter, split_thinking
from phitui.storage.sessions.session_transfer import from_json, to_json, to_markdown
from phitui.storage.sessions.sessions import SessionStore
from phitui.workbench.chat.chat import Chat
from phitui.workbench.chat.session_recorder import kept_exchanges, turn_of

_MARKS = [mark for tag in TAGS for mark in tag]


def letters(text):
    for mark in _MARKS:
        text = text.replace(mark, "")
    return "".join(text.split())


@settings(max_examples=400)
@given(st.lists(st.sampled_from([*_MARKS, "<", "</think", "think>", "\n", " ", "word", "<b>", "a<b", "[THINK", "```"])))
def test_no_text_is_lost_or_made_however_it_comes(pieces):
    text = "".join(pieces)
    splitter, thinking, said = ThinkSplitter(), "", ""
    for part in [*map(splitter.feed, pieces), splitter.flush()]:
        if part.moved:
            thinking, said = thinking + said, ""
        thinking, said = thinking + part.thinking, said + part.text
    assert letters(thinking + said) == letters(text)
    if "<" not in text and "[" not in text:
        assert (thinking, said) == ("", text)


def test_a_whole_text_is_split_as_one_in_pieces_is():
    assert split_thinking("<think>\nHm\n</think>\n\nYes").text == "Yes"
    assert split_thinking("Hm\n</think>\nYes")[:2] == ("Hm\n", "Yes")
    assert split_thinking("<think>never ends")[:2] == ("never ends", "")


async def answered(sent, prompts=1):
    """A chat with a server that answers so, after so many prompts; and what the server was sent."""
    with raw_server(answers_with(sent)) as server:
        engine = RemoteEngine(server.url)
        await engine.client.connect()
        chat = Chat(engine.client, GREEDY, "", lambda exchange: None)
        engine.client._on_event = chat.handle
        for number in range(prompts):
            exchange = chat.submit(f"prompt {number}")
            deadline = time.monotonic() + 20
            while not exchange.state.over:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.005)
        await engine.client.stop()
        return chat, [request.json()["messages"] for request in server.chats()]


async def test_it_is_kept_and_left_out_of_the_next_prompt(tmp_path):
    for name in ("tags", "reasoning", "only the end is marked"):
        chat, sent = await answered(THOUGHT[name], prompts=2)
        first = chat.exchanges[0]
        assert (first.text, first.thinking.strip(), first.error) == ("Hello.", "Let me think.", "")
        assert [one["content"] for one in sent[1]] == ["prompt 0", "Hello.", "prompt 1"]


async def test_a_session_keeps_it_and_why_there_is_no_answer(tmp_path):
    chat, _ = await answered(ENDINGS["only thinking"][0])
    exchange = chat.exchanges[0]
    assert (exchange.text, exchange.thinking, exchange.reason) == ("", "Hm", "length")
    assert exchange.error.startswith("Only thinking, no answer")
    store = SessionStore(tmp_path / "sessions.db")
    now = time.time()
    turn = turn_of(exchange)
    turn.id = -1
    number, _ = store.insert("a title", "", now, [turn], -1)
    session = store.load(number)
    store.close()
    _, made = kept_exchanges(session, iter(range(9)).__next__)
    (back,) = made.values()
    assert (back.thinking, back.error, back.reason) == (exchange.thinking, exchange.error, "length")
    assert from_json(to_json(session), "x").turns[0].thinking == "Hm"
    assert "## Thinking\n\nHm" in to_markdown(session) and "Only thinking, no answer" in to_markdown(session)
