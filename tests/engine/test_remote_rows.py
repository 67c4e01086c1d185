"""Rows of a batch on a server: so many at once, and what becomes of those that fail."""

import asyncio
import time

import pytest
from answering_server import answer_to, answering
from remote_engine import GREEDY, connected

from phitui.engine.protocol.api import (
    BatchEnded,
    BatchState,
    Delta,
    Finished,
    OpenBatch,
    Rejected,
    Row,
    RowDone,
    RowFailed,
    Sampling,
    Turn,
)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr("phitui.engine.remote.patience._BACKOFF_S", 0.02)


def rows(prompts, **draw):
    chosen = Sampling(
        **{"max_tokens": 8, "temperature": 0.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0, **draw}
    )
    return [Row(key, [Turn("user", prompt)], chosen) for key, prompt in enumerate(prompts)]


async def run(engine, wanted, concurrency=4, seed=None):
    """All events of the batch; its end is the last."""
    number = await engine.client.open_batch(OpenBatch(batch=concurrency, seed=seed))
    await engine.client.add_rows(number, wanted, last=True)
    return await ended(engine, number)


async def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


async def ended(engine, number):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        mine = [event for event in engine.events if getattr(event, "id", None) == number]
        if mine and isinstance(mine[-1], BatchEnded | Rejected):
            return mine
        await asyncio.sleep(0.005)
    raise AssertionError(engine.events)


def done(events):
    return {event.key: event for event in events if isinstance(event, RowDone)}


def failed(events):
    return {event.key: event.failure.message for event in events if isinstance(event, RowFailed)}


def told(events):
    return [event.note for event in events if isinstance(event, BatchState) and event.note]


def whole(prompt, max_tokens=8):
    return "".join(answer_to(prompt, max_tokens)[0])


PROMPTS = [f"question w{n}" for n in range(12)]


async def test_so_many_at_once_and_each_row_once():
    with answering(step_s=0.01) as (server, how):
        async with connected(server.url) as engine:
            events = await run(engine, rows(PROMPTS), concurrency=3)
            assert events[-1].reason == "done"
            assert {key: event.text for key, event in done(events).items()} == {
                key: whole(prompt) for key, prompt in enumerate(PROMPTS)
            }
            assert how.at_once == 3 and len(how.bodies) == 12
            tokens = sum(event.usage.completion_tokens for event in done(events).values())
            assert sum(event.counted for event in events if isinstance(event, BatchState)) == tokens
            assert max(event.alive for event in events if isinstance(event, BatchState)) <= 3


async def test_how_it_stands_is_told_however_often_rows_end():
    with answering(step_s=0.01) as (server, _):
        async with connected(server.url) as engine:
            events = await run(engine, rows([f"many w{n}" for n in range(150)]), concurrency=4)
            states = [event for event in events[:-2] if isinstance(event, BatchState)]
            assert any(event.alive == 4 for event in states) and sum(event.counted for event in states) > 100


async def test_a_prompt_goes_ahead_of_rows_that_have_not_begun():
    def slow_chat(connection, prompt, count):
        if prompt == "chat":
            time.sleep(0.3)  # to its first token
        return False

    with answering(slow_chat, step_s=0.005) as (server, how):
        async with connected(server.url) as engine:
            number = await engine.client.open_batch(OpenBatch(batch=2))
            await engine.client.add_rows(number, rows([f"many w{n}" for n in range(100)]), last=True)
            await until(lambda: len(how.bodies) >= 4)
            chat = await engine.client.generate([Turn("user", "chat")], GREEDY)
            await until(lambda: any(isinstance(event, Delta) and event.id == chat for event in engine.events))
            asked = [body["messages"][-1]["content"] for body in how.bodies]
            begun_after = len(asked) - 1 - asked.index("chat")
            assert begun_after <= 1  # one may have been on its way in the very moment
            _, end = await engine.ending(chat)
            assert isinstance(end, Finished)
            assert len(done(await ended(engine, number))) == 100


async def test_bad_input_is_the_rows_own_and_is_not_asked_again():
    def long(connection, prompt, count):
        if prompt == PROMPTS[5]:
            connection.reply(400, b'{"error": {"message": "too long"}}')
            return True
        return False

    with answering(long) as (server, how):
        async with connected(server.url) as engine:
            events = await run(engine, rows(PROMPTS))
            assert list(failed(events)) == [5] and "too long" in failed(events)[5]
            assert len(done(events)) == 11 and how.seen[PROMPTS[5]] == 1


def breaks_off(prompts, times):
    """Half an answer for these prompts, so many times."""

    def misbehave(connection, prompt, count):
        if prompt in prompts and count <= times:
            connection.head()
            connection.piece("half of")
            connection.reset()
            return True
        return False

    return misbehave


async def test_a_row_that_breaks_off_is_asked_again_once_from_its_beginning_and_that_is_told():
    with answering(breaks_off(PROMPTS[3:5], 1)) as (server, how):
        async with connected(server.url) as engine:
            events = await run(engine, rows(PROMPTS))
            assert done(events)[3].text == whole(PROMPTS[3])
            assert len(done(events)) == 12 and how.seen[PROMPTS[3]] == 2
            notes = [note for note in told(events) if "asked again from its beginning" in note]
            assert len(notes) == 2 and "connection" in notes[0]


async def test_one_that_breaks_off_twice_has_its_error_and_the_others_their_answers():
    with answering(breaks_off(PROMPTS[3:4], 99)) as (server, how):
        async with connected(server.url) as engine:
            events = await run(engine, rows(PROMPTS))
            assert list(failed(events)) == [3] and "connection" in failed(events)[3]
            assert len(done(events)) == 11 and how.seen[PROMPTS[3]] == 2
            assert how.seen["Say yes."] == 1  # that the server answers at all was asked of it at the end


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_the_server_refuses_for_now_is_sent_again(status):
    def at_first(connection, prompt, count):
        if prompt in PROMPTS[:6] and count == 1:
            connection.reply(status, b'{"error": "later"}')
            return True
        return False

    with answering(at_first) as (server, how):
        async with connected(server.url) as engine:
            events = await run(engine, rows(PROMPTS))
            assert len(done(events)) == 12 and all(how.seen[prompt] == 2 for prompt in PROMPTS[:6])
            assert any(f"answers {status}: later. Again in" in note for note in told(events))


async def test_no_row_is_begun_while_the_server_asks_to_wait():
    waits = []

    def busy(connection, prompt, count):
        if prompt == PROMPTS[0] and count == 1:
            connection.reply(429, Retry_After="1")
            waits.append(time.monotonic())
            return True
        if waits and time.monotonic() < waits[0] + 0.9:
            waits.append(prompt)
        return False

    with answering(busy) as (server, _):
        async with connected(server.url) as engine:
            events = await run(engine, rows(PROMPTS), concurrency=1)
            assert len(done(events)) == 12 and len(waits) == 1


async def test_a_server_that_refuses_everything_ends_the_batch_and_blames_no_row():
    def no(connection, prompt, count):
        connection.reply(401, b'{"error": "no key"}')
        return True

    with answering(no) as (server, how):
        async with connected(server.url) as engine:
            events = await run(engine, rows(PROMPTS * 5), concurrency=4)
            assert isinstance(events[-1], Rejected)
            assert "answers 401: no key" in events[-1].failure.message and "--resume" in events[-1].failure.fix
            assert not failed(events) and not done(events) and len(how.bodies) < 20


async def test_a_server_that_goes_ends_the_batch_with_what_is_done():
    with answering(step_s=0.02) as (server, how):
        async with connected(server.url, retries=1) as engine:
            number = await engine.client.open_batch(OpenBatch(batch=4))
            await engine.client.add_rows(number, rows([f"many w{n}" for n in range(200)]), last=True)
            await until(lambda: done(engine.events))
            how.misbehave = lambda connection, *_: connection.reset() or True
            events = await ended(engine, number)
            assert isinstance(events[-1], Rejected) and not failed(events)
            assert 0 < len(done(events)) < 200


async def test_cancel_closes_the_streams():
    with answering(step_s=0.2) as (server, how):
        async with connected(server.url) as engine:
            number = await engine.client.open_batch(OpenBatch(batch=4))
            await engine.client.add_rows(number, rows(PROMPTS), last=True)
            await until(lambda: how.now >= 4)
            await engine.client.cancel(number)
            events = await ended(engine, number)
            assert events[-1].reason == "cancelled" and not failed(events)
            count = len(engine.events)
            await asyncio.sleep(0.1)
            assert len(engine.events) == count


async def test_what_a_kind_cannot_be_sent_is_the_rows_error():
    with answering() as (server, _):
        async with connected(server.url) as engine:
            assert {"top_k", "repetition_penalty"}.isdisjoint(engine.client.loaded.remote.supported_parameters)
            wanted = [*rows(PROMPTS[:2], top_k=5, temperature=1.0), *rows(PROMPTS[:2], top_k=5)]
            events = await run(engine, [Row(n, row.turns, row.sampling) for n, row in enumerate(wanted)])
            assert list(failed(events)) == [0, 1] and "top_k" in failed(events)[0]
            assert len(done(events)) == 2


async def test_seeds_differ_by_row_and_stay_the_same():
    with answering() as (server, how):
        async with connected(server.url, kind="vllm") as engine:
            await run(engine, rows(PROMPTS[:3]), seed=7)
            assert sorted(body["seed"] for body in how.bodies) == [7, 8, 9]


async def test_stop_strings_are_sent_and_cut_off():
    with answering() as (server, how):
        async with connected(server.url) as engine:
            events = await run(engine, rows(["question w"], stop=("1", "w0")))
            assert how.bodies[0]["stop"] == ["1", "w0"]
            assert done(events)[0].text == ""


async def test_counts_that_are_not_told_are_none():
    def silent(connection, prompt, count):
        connection.head()
        connection.piece("text", "stop")
        connection.done()
        return True

    with answering(silent) as (server, _):
        async with connected(server.url) as engine:
            events = await run(engine, rows(PROMPTS[:2]))
            assert done(events)[0].usage.completion_tokens is None
            assert any("does not count" in note for note in told(events))


async def test_llama_cpp_answers_rows(llama):
    async with connected(llama.url) as engine:
        assert engine.client.loaded.remote.at_once == 2
        events = await run(engine, rows(PROMPTS, max_tokens=6), concurrency=4)
        assert len(done(events)) == 12
        for event in done(events).values():
            assert 1 <= event.usage.completion_tokens <= 6 and event.usage.prompt_tokens > 3
