"""Batches of rows on the real engine, in its real process."""

import asyncio
import os
import random
import resource
import signal
import time

import psutil
import pytest
import pytest_asyncio
from msgspec.structs import astuple
from test_engine import PARIS, running

from phitui.engine.protocol.api import (
    BatchEnded,
    BatchState,
    Cost,
    Delta,
    Died,
    Finished,
    Loaded,
    OpenBatch,
    Parked,
    ParkRefused,
    Pulse,
    Rejected,
    Row,
    RowDone,
    RowFailed,
    RowsMade,
    Sampling,
    Started,
    Turn,
)

# One loop for all tests here, since many share an engine.
pytestmark = pytest.mark.asyncio(loop_scope="module")
MIB = 1024**2
WORDS = "the card has memory and a bandwidth France Paris quick brown fox lazy dog print range Würde 🙂".split()  # noqa: SIM905
# A step costs all, a row and reading nothing: pools at every chance.
POOLING = Cost(1.0, 0.0001, 0.0, 0.0, 0.00001)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_worker(tmp_path_factory, demo_folder):
    async with running(tmp_path_factory.mktemp("engine"), demo_folder, compute_type="float32") as engine:
        yield engine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two_workers(tmp_path_factory, demo_folder):
    folder = tmp_path_factory.mktemp("engine")
    async with running(folder, demo_folder, compute_type="float32", workers=2) as engine:
        yield engine


@pytest.fixture
def demo(one_worker):
    """An engine with the demo model in float32, that other tests have used."""
    one_worker.events.clear()
    return one_worker


@pytest.fixture
def demo_twice(two_workers):
    """One with two workers."""
    two_workers.events.clear()
    return two_workers


def greedy(max_tokens, stop=()):
    return Sampling(max_tokens, 0.0, 0, 1.0, 1.0, stop)


def ragged(count, seed, longest=40, most=60):
    """Rows of unlike prompts and limits."""
    draw = random.Random(seed)

    def one(median, bound):
        return max(1, min(bound, round(median * draw.lognormvariate(0, 0.9))))

    return [
        Row(key, [Turn("user", " ".join(draw.choices(WORDS, k=one(9, longest))))], greedy(one(16, most)))
        for key in range(count)
    ]


class Batch:
    """What came of a batch, checked as it comes."""

    def __init__(self):
        self.made, self.done, self.failed, self.notes, self.ended = {}, {}, {}, [], None

    def take(self, event):
        if isinstance(event, RowsMade):
            for key, ids in event.made:
                assert key not in self.done
                self.made.setdefault(key, []).extend(ids)
        elif isinstance(event, RowDone):
            assert event.key not in self.done | self.failed
            self.made.setdefault(event.key, []).extend(event.made)
            self.done[event.key] = event
        elif isinstance(event, RowFailed):
            assert event.key not in self.done | self.failed
            self.failed[event.key] = event.failure
        elif isinstance(event, BatchState) and event.note:
            self.notes.append(event.note)
            self.budget = event.kv_tokens
        elif isinstance(event, BatchEnded):
            self.ended = event.reason


async def collect(engine, number, batch=None, timeout_s=120):
    """All until the batch has ended."""
    batch = batch or Batch()
    while batch.ended is None:
        batch.take(await engine.wait(lambda e: getattr(e, "id", None) == number, timeout_s))
    return batch


async def run(engine, rows, **options):
    number = await engine.client.open_batch(OpenBatch(**options))
    await engine.client.add_rows(number, rows, last=True)
    return await collect(engine, number)


async def alone(engine, rows):
    """Each row in a batch of its own: its ids, which is what CTranslate2 makes of the row alone."""
    return {row.key: (await run(engine, [row])).made[row.key] for row in rows}


@pytest.mark.parametrize("policy", ["waves", "sorted", "in order"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_in_float32_every_row_is_what_it_is_alone(tmp_path, tiny_folder, policy, workers):
    rows = ragged(40, seed=workers)
    async with running(tmp_path, tiny_folder, compute_type="float32", workers=workers) as engine:
        batch = await run(engine, rows, batch=8, policy=policy, cost=POOLING)
        assert batch.made == await alone(engine, rows)
    assert (batch.ended, set(batch.done), batch.failed) == ("done", set(range(40)), {})
    for row in rows:
        done = batch.done[row.key]
        assert done.usage.completion_tokens == len(batch.made[row.key]) <= row.sampling.max_tokens
        assert (done.reason == "length") == (len(batch.made[row.key]) == row.sampling.max_tokens)


async def test_a_batch_answers_as_the_chat_does(demo):
    """Text, counts and reason of rows together are those of the same prompts one by one; a common system prompt is
    read once."""
    questions = ("What is the capital of France?", "Count to three.", "Name a colour.", "Say hello in German, please.")
    chats = [[Turn("system", "You answer in one short sentence. " * 3), Turn("user", one)] for one in questions]
    batch = await run(demo, [Row(key, turns, greedy(24)) for key, turns in enumerate(chats)], batch=3)
    for key, turns in enumerate(chats):
        text, finished = await demo.ask(turns, greedy(24))
        done = batch.done[key]
        assert (done.text, done.reason) == (text, finished.reason)
        assert astuple(done.usage) == astuple(finished.usage)[:2]


async def test_rows_go_on_behind_what_an_earlier_run_made(tmp_path, tiny_folder):
    rows = ragged(12, seed=5)
    async with running(tmp_path, tiny_folder, compute_type="float32") as engine:
        whole = await run(engine, rows, batch=4)
        begun = [Row(r.key, r.turns, r.sampling, whole.made[r.key][: 3 * r.key]) for r in rows]
        rest = await run(engine, begun, batch=4)
    for row in begun:
        assert row.made + rest.made[row.key] == whole.made[row.key]
        assert rest.done[row.key].text == whole.done[row.key].text
        assert rest.done[row.key].usage == whole.done[row.key].usage
        assert rest.done[row.key].reason == whole.done[row.key].reason


async def test_rows_of_different_sampling_run_apart_and_each_once(tmp_path, tiny_folder):
    rows = [
        Row(key, [Turn("user", f"fox {key}")], Sampling(6, (0.0, 0.8)[key % 2], 20, 0.9, (1.0, 1.3)[key % 3 == 0]))
        for key in range(12)
    ]
    async with running(tmp_path, tiny_folder) as engine:
        batch = await run(engine, rows, batch=8, seed=3)
    assert set(batch.done) == set(range(12))


async def test_rows_that_cannot_run_fail_with_the_reason_and_the_others_go_on(tmp_path, tiny_folder):
    bad = Sampling(5, 0.7, 20, 1.5, 1.0)  # the engine itself refuses this top-p
    rows = [
        Row(0, [Turn("user", "word " * 5000)], greedy(5)),
        Row(1, [Turn("user", "fox")], bad),
        Row(2, [Turn("user", "dog")], bad),
        Row(3, [Turn("user", "fox")], greedy(5)),
        Row(4, [Turn("user", "fox")], greedy(9), made=[10**6]),
    ]
    async with running(tmp_path, tiny_folder) as engine:
        batch = await run(engine, rows, batch=8)
        assert (batch.ended, set(batch.done), set(batch.failed)) == ("done", {3}, {0, 1, 2, 4})
        window = engine.client.loaded.context_window
        assert f"the context window has {window}" in batch.failed[0].message
        assert "sampling_topp" in batch.failed[1].message
        assert "token ids of another model" in batch.failed[4].message
        _, finished = await engine.ask([Turn("user", "hi")])
        assert isinstance(finished, Finished)


async def test_stop_strings_end_rows_and_answers_before_them(demo):
    turns = [Turn("user", "Count from one to ten in words, separated by commas.")]
    whole, _ = await demo.ask(turns, greedy(40))
    stop = whole[9:14]  # spans tokens
    expected = whole[: whole.find(stop)]
    text, finished = await demo.ask(turns, greedy(40, (stop,)))
    batch = await run(demo, [Row(0, turns, greedy(40, ("never", stop))), Row(1, turns, greedy(40))], batch=2)
    assert (text, finished.reason) == (expected, "stop")
    assert (batch.done[0].text, batch.done[0].reason) == (expected, "stop")
    assert astuple(batch.done[0].usage) == astuple(finished.usage)[:2]
    assert batch.done[1].text == whole


async def test_cancel_ends_a_batch_within_a_step_and_keeps_what_was_made(tmp_path, demo_folder):
    rows = [Row(key, [Turn("user", "Tell me a very long story.")], greedy(1500)) for key in range(4)]
    async with running(tmp_path, demo_folder, workers=2) as engine:
        number = await engine.client.open_batch(OpenBatch(batch=4))
        await engine.client.add_rows(number, rows, last=True)
        batch, begun = Batch(), time.monotonic()
        while not batch.made:
            batch.take(await engine.wait(lambda e: getattr(e, "id", None) == number))
        await engine.client.cancel(number)
        cancelled_at = time.monotonic()
        await collect(engine, number, batch)
        assert time.monotonic() - cancelled_at < 3 + (cancelled_at - begun)
        assert (batch.ended, batch.done) == ("cancelled", {})
        text, _ = await engine.ask(PARIS)
        assert "Paris" in text


async def test_batches_wait_for_one_another_and_can_be_cancelled_while_they_do(tmp_path, tiny_folder):
    rows = ragged(10, seed=9)
    async with running(tmp_path, tiny_folder) as engine:
        first, second, third = [await engine.client.open_batch(OpenBatch(batch=4)) for _ in range(3)]
        for number in (first, second, third):
            await engine.client.add_rows(number, rows, last=True)
        await engine.client.cancel(second)
        ended = {}
        while len(ended) < 3:
            event = await engine.wait(lambda e: isinstance(e, BatchEnded))
            ended[event.id] = event.reason
    assert ended == {first: "done", second: "cancelled", third: "done"}


@pytest.fixture(params=["one_worker", "two_workers"])
def engine(request):
    """Each of the two."""
    engine = request.getfixturevalue(request.param)
    engine.events.clear()
    return engine


async def test_a_prompt_goes_ahead_of_rows_and_none_is_lost(engine):
    """One decode step, then its own prefill: far from the seconds that the rows still take."""
    rows = [Row(key, [Turn("user", f"Tell me story {key}.")], greedy(28)) for key in range(4)]
    expected = await run(engine, rows, batch=4)
    number = await engine.client.open_batch(OpenBatch(batch=4, cost=POOLING))
    await engine.client.add_rows(number, rows, last=True)
    batch = Batch()
    while not batch.made:
        batch.take(await engine.wait(lambda e: getattr(e, "id", None) == number))
    prompt = await engine.client.generate(PARIS, greedy(8))
    asked, first, text = time.monotonic(), None, ""
    done_before = len(batch.done)
    while True:
        event = await engine.wait(lambda e: True)
        if getattr(event, "id", None) == number:
            batch.take(event)
        elif isinstance(event, Delta):
            first = first or time.monotonic()
            text += event.text
        elif isinstance(event, Finished):
            break
    assert event.id == prompt
    assert "Paris" in text
    assert len(batch.done) == done_before  # it was answered before any row ended
    assert first - asked < 20  # on a machine that is busy
    await collect(engine, number, batch)
    assert batch.made == expected.made


async def test_pulses_tell_of_rows_and_their_tokens(demo):
    rows = [Row(key, [Turn("user", "Tell me a long story.")], greedy(40)) for key in range(4)]
    number = await demo.client.open_batch(OpenBatch(batch=4))
    await demo.client.add_rows(number, rows, last=True)
    events = []
    while not events or not isinstance(events[-1], BatchEnded):
        events.append(await demo.wait(lambda e: True))
    pulses = [event for event in events if isinstance(event, Pulse)]
    tokens = sum(e.usage.completion_tokens for e in events if isinstance(e, RowDone))
    assert [pulse.last for pulse in pulses] == [False] * (len(pulses) - 1) + [True]
    # Of each row all tokens but the first come from decode steps.
    assert sum(pulse.rows * pulse.steps for pulse in pulses) == pytest.approx(tokens - 4, abs=2 * len(pulses))
    assert sum(pulse.tokenize_s for pulse in pulses) > 0
    for pulse in pulses:
        assert pulse.decode_s + pulse.prefill_s <= pulse.window_s * 1.01 + 0.05
        assert pulse.context_tokens is None or 30 < pulse.context_tokens < 120


async def test_a_batch_goes_on_telling_of_itself_beside_a_prompt(demo_twice):
    rows = [Row(key, [Turn("user", "Tell me a long story.")], greedy(200)) for key in range(4)]
    number = await demo_twice.client.open_batch(OpenBatch(batch=4))
    await demo_twice.client.add_rows(number, rows, last=True)
    await demo_twice.wait(lambda e: isinstance(e, Pulse) and e.steps > 0)
    prompt = await demo_twice.client.generate([Turn("user", "Tell me a long story.")], greedy(30))
    await demo_twice.wait(lambda e: isinstance(e, Started) and e.id == prompt)
    beside = []
    while not isinstance(event := await demo_twice.wait(lambda e: isinstance(e, Pulse | Finished)), Finished):
        beside.append(event)
    await demo_twice.client.cancel(number)
    await demo_twice.wait(lambda e: isinstance(e, BatchEnded))
    assert any(pulse.rows > 1 and pulse.steps for pulse in beside)  # the prompt's own are of one row
    assert not any(pulse.last for pulse in beside)


async def test_an_open_batch_that_waits_for_rows_does_not_work(tmp_path, tiny_folder):
    async with running(tmp_path, tiny_folder) as engine:
        number = await engine.client.open_batch(OpenBatch(batch=4))
        for _ in range(2):
            state = await engine.wait(lambda e: isinstance(e, BatchState | Pulse))
            assert isinstance(state, BatchState)
            assert (state.alive, state.waiting) == (0, 0)
        await engine.client.add_rows(number, [], last=True)
        await engine.wait(lambda e: isinstance(e, BatchEnded))


async def test_what_needs_the_whole_engine_is_refused_while_a_batch_is_open(tmp_path, tiny_folder):
    async with running(tmp_path, tiny_folder) as engine:
        number = await engine.client.open_batch(OpenBatch(batch=4))
        await engine.client.park()
        assert "a batch is running" in (await engine.wait(lambda e: isinstance(e, ParkRefused))).failure.message
        probe = await engine.client.probe(1, 8, 4)
        rejected = await engine.wait(lambda e: isinstance(e, Rejected))
        assert (rejected.id, "a batch is running" in rejected.failure.message) == (probe, True)
        await engine.client.add_rows(number, [], last=True)
        assert (await engine.wait(lambda e: isinstance(e, BatchEnded))).reason == "done"
        await engine.client.park()
        await engine.wait(lambda e: isinstance(e, Parked))
        batch = await run(engine, ragged(3, seed=2), batch=4)  # wakes it
        assert len(batch.done) == 3


async def test_memory_that_runs_out_at_a_random_step_loses_and_doubles_nothing(tmp_path, demo_folder):
    """A real failure to allocate: the process is held to a little more data than it has, from outside, and let go once
    it has said so."""
    rows = [Row(key, [Turn("user", f"Tell me story {key}. " * 4)], greedy(32)) for key in range(10)]
    async with running(tmp_path, demo_folder, compute_type="float32") as engine:
        expected = await run(engine, rows, batch=10)
        for seed in (1, 2):
            batch = await starved(engine, rows, random.Random(seed).uniform(0.0, 1.0))
            assert "memory ran out" in batch.notes[0]
            assert "split in two, budget 10 % lower" in batch.notes[0]
            assert batch.made == expected.made


async def test_after_memory_ran_out_with_two_workers_the_budget_is_ten_percent_lower(tmp_path, demo_folder):
    """Of all that ran on both workers together, not of the wave alone that failed."""
    rows = [Row(key, [Turn("user", "Tell me a story. " * 8)], greedy(48)) for key in range(12)]
    async with running(tmp_path, demo_folder, compute_type="float32", workers=2) as engine:
        expected = await run(engine, rows, batch=12)
        together = sum(done.usage.prompt_tokens + 48 for done in expected.done.values())
        batch = await starved(engine, rows, 0.1, kv_tokens=10 * together)
        assert batch.made == expected.made
        assert batch.budget == int(0.9 * together)


async def starved(engine, rows, after_s, **options):
    """The batch, with too little memory from `after_s` on until it has said so. Where the heap had room for the rest of
    it, or the limit came too late, once more."""
    for _ in range(4):
        batch = await squeezed(engine, rows, after_s, **options)
        if batch.notes:
            return batch
        after_s = 0.0
    pytest.fail("memory did not run out")


async def squeezed(engine, rows, after_s, **options):
    number = await engine.client.open_batch(OpenBatch(batch=len(rows), **options))
    await engine.client.add_rows(number, rows, last=True)
    batch = Batch()
    while not batch.made:
        batch.take(await engine.wait(lambda e: getattr(e, "id", None) == number))
    await asyncio.sleep(after_s)
    pid = engine.client.pid
    free = resource.prlimit(pid, resource.RLIMIT_DATA)
    resource.prlimit(pid, resource.RLIMIT_DATA, (data_bytes(pid) + 2 * MIB, free[1]))
    while not batch.notes and not batch.ended:
        batch.take(await engine.wait(lambda e: getattr(e, "id", None) == number))
    resource.prlimit(pid, resource.RLIMIT_DATA, free)
    if not batch.ended:
        await collect(engine, number, batch)
    assert engine.client.pid == pid
    return batch


def data_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:"))


async def test_a_worker_that_is_killed_loses_a_batch_and_what_was_sent_goes_on(tmp_path, tiny_folder):
    rows = ragged(20, seed=3, most=60)
    async with running(tmp_path, tiny_folder, compute_type="float32") as engine:
        expected = await run(engine, rows, batch=2)
        number = await engine.client.open_batch(OpenBatch(batch=2))
        await engine.client.add_rows(number, rows, last=True)
        batch = Batch()
        while not batch.done:
            batch.take(await engine.wait(lambda e: getattr(e, "id", None) == number))
        os.kill(engine.client.pid, signal.SIGKILL)
        while not isinstance(event := await engine.wait(lambda e: True), Died):
            batch.take(event)
        assert event.lost == [number]
        await engine.wait(lambda e: isinstance(e, Loaded))
        left = [Row(r.key, r.turns, r.sampling, batch.made.get(r.key, [])) for r in rows if r.key not in batch.done]
        number = await engine.client.open_batch(OpenBatch(batch=2))
        await engine.client.add_rows(number, left, last=True)
        await collect(engine, number, batch)
    assert batch.made == expected.made


async def test_stop_leaves_no_process_even_in_mid_batch(tmp_path, tiny_folder):
    async with running(tmp_path, tiny_folder, workers=2) as engine:
        number = await engine.client.open_batch(OpenBatch(batch=8))
        rows = [Row(key, [Turn("user", "Tell me a story.")], greedy(400)) for key in range(8)]
        await engine.client.add_rows(number, rows, last=True)
        await engine.wait(lambda e: isinstance(e, RowsMade))
        worker = psutil.Process(engine.client.pid)
        await engine.client.stop()
        assert not worker.is_running()
    log = (tmp_path / "engine.log").read_text()
    assert "terminate" not in log and "Traceback" not in log


async def test_rows_may_come_in_pieces_and_the_engine_begins_before_the_last(tmp_path, tiny_folder):
    rows = ragged(30, seed=8)
    async with running(tmp_path, tiny_folder, workers=2) as engine:
        number = await engine.client.open_batch(OpenBatch(batch=4))
        await engine.client.add_rows(number, rows[:9])
        batch = Batch()
        while len(batch.done) < 9:  # no more come, and it does not wait for them
            batch.take(await engine.wait(lambda e: getattr(e, "id", None) == number, timeout_s=60))
        await engine.client.add_rows(number, rows[9:])
        await engine.client.add_rows(number, [], last=True)
        await collect(engine, number, batch)
    assert (len(batch.done), batch.ended) == (30, "done")
