"""A chat over the real engine: order, memory of earlier turns, cancelling, and a death in mid-answer."""

import asyncio
import os
import signal
import time

import pytest
from msgspec.structs import replace

from phitui.core.errors import UsageError
from phitui.engine.local.client import EngineClient
from phitui.engine.protocol.api import Load, Sampling
from phitui.workbench.chat.chat import Chat, State
from phitui.workbench.lease import Use

GREEDY = Sampling(max_tokens=40, temperature=0.0, top_k=0, top_p=1.0, repetition_penalty=1.0)


class Room:
    """A chat with its engine, and what changed in order."""

    def __init__(self, tmp_path, sampling=GREEDY, system=""):
        self.changes = []
        self.client = EngineClient(tmp_path / "engine.log", self._event)
        self.chat = Chat(self.client, sampling, system, lambda e: self.changes.append((e.number, e.state, e.tokens)))
        self._profiles = str(tmp_path / "profiles.json")

    def _event(self, event):
        self.chat.handle(event)
        self.chat.pump()

    async def load(self, folder):
        await self.client.load(Load(str(folder), "cpu", "auto", 1, self._profiles))

    async def until(self, condition, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, self.changes
            await asyncio.sleep(0.005)


@pytest.fixture
async def room(tmp_path, demo_folder):
    room = Room(tmp_path)
    await room.load(demo_folder)
    yield room
    await room.client.stop()


async def test_a_prompt_given_while_the_engine_loads_is_answered(room):
    exchange = room.chat.submit("What is the capital of France? Answer with one word.")
    assert exchange.state is State.QUEUED
    await room.until(lambda: exchange.state.over)
    assert "Paris" in exchange.text
    states = [state for _, state, _ in room.changes]
    assert states == sorted(states, key=list(State).index)  # queued, prefill, answering, done
    assert exchange.usage.completion_tokens == exchange.tokens
    assert room.chat.context_tokens == exchange.usage.prompt_tokens + exchange.tokens


async def test_the_model_is_given_the_turns_before(room):
    first = room.chat.submit("My name is Ada. Remember it.")
    second = room.chat.submit("What is my name?")
    await room.until(lambda: second.state.over)
    turns = room.chat.turns("And now?")
    assert [turn.content for turn in turns] == [
        first.prompt,
        first.text,
        second.prompt,
        second.text,
        "And now?",
    ]
    assert second.usage.prompt_tokens > first.usage.prompt_tokens + first.usage.completion_tokens


async def test_a_system_prompt_leads(tmp_path):
    room = Room(tmp_path, system="Be brief.")
    assert [turn.role for turn in room.chat.turns("x")] == ["system", "user"]


async def test_cancel_keeps_the_text_and_goes_on_with_the_queue(room):
    first = room.chat.submit("Count from one to one thousand in words.")
    second = room.chat.submit("What is the capital of France? Answer with one word.")
    await room.until(lambda: first.tokens >= 3)
    assert room.chat.cancel()
    await room.until(lambda: second.state.over)
    assert first.state is State.DONE
    assert first.reason == "cancelled"
    assert first.text
    assert "Paris" in second.text


async def test_a_prompt_that_was_not_sent_is_taken_back(tmp_path):
    room = Room(tmp_path)
    exchange = room.chat.submit("hello")
    assert room.chat.cancel()
    assert (exchange.state, exchange.reason) == (State.DONE, "cancelled")
    assert not room.chat.cancel()


async def test_a_lost_answer_keeps_its_text_and_the_next_prompt_works(room):
    first = room.chat.submit("Count from one to one thousand in words.")
    await room.until(lambda: first.tokens >= 3)
    os.kill(room.client.pid, signal.SIGKILL)
    await room.until(lambda: first.state is State.LOST)
    assert first.text
    assert "SIGKILL" in first.error
    second = room.chat.submit("What is the capital of France? Answer with one word.")
    await room.until(lambda: second.state.over)
    assert "Paris" in second.text
    assert first.prompt not in [turn.content for turn in room.chat.turns("x")]


async def alone(room):
    """A lease of somebody who changes the engine."""
    lease = room.chat.leases.claim(Use.SWITCH, "another model is being loaded")
    await lease.have_alone()
    return lease


async def test_who_changes_the_engine_stops_the_answer_and_what_is_queued_waits(room):
    first = room.chat.submit("Count from one to one thousand in words.")
    second = room.chat.submit("What is the capital of France? Answer with one word.")
    await room.until(lambda: first.tokens >= 3)
    lease = await alone(room)
    assert (first.state, first.reason) == (State.DONE, "cancelled")
    assert first.usage.completion_tokens >= 3
    assert second.state is State.QUEUED and not room.chat.on_its_way
    room.chat.handle(replace(room.client.loaded, epoch=7))
    assert room.chat.context_tokens is None
    lease.release()
    await room.until(lambda: second.state.over)
    assert "Paris" in second.text
    assert room.chat.context_tokens == second.usage.prompt_tokens + second.usage.completion_tokens


async def test_who_changes_the_engine_does_not_wait_for_ever(room, monkeypatch):
    monkeypatch.setattr("phitui.workbench.chat.chat._LET_GO_WITHIN_S", 0.2)
    first = room.chat.submit("Count from one to one thousand in words.")
    await room.until(lambda: first.tokens >= 1)
    os.kill(room.client.pid, signal.SIGSTOP)
    try:
        await alone(room)
    finally:
        os.kill(room.client.pid, signal.SIGCONT)
    assert (first.state, first.reason, first.usage) == (State.DONE, "cancelled", None)
    assert first.text


async def test_clear_forgets_everything(room):
    first = room.chat.submit("What is the capital of France? Answer with one word.")
    room.chat.submit("And of Spain?")
    await room.until(lambda: first.tokens >= 1)
    room.chat.clear()
    await room.until(lambda: not room.chat.busy)
    assert [turn.content for turn in room.chat.turns("x")] == ["x"]
    assert room.chat.context_tokens is None


@pytest.mark.parametrize(("prompt", "message"), [("", "empty"), (" \n\t ", "empty"), ("caf\udce9", "not valid UTF-8")])
async def test_what_is_no_prompt_is_refused(tmp_path, prompt, message):
    room = Room(tmp_path)
    with pytest.raises(UsageError, match=message):
        room.chat.submit(prompt)
    assert room.chat.exchanges == []
