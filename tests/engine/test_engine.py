"""The real engine in its real process, on the demo model and on a tiny Phi-3."""

import asyncio
import json
import os
import signal
import time
from contextlib import asynccontextmanager
from functools import partialmethod

import psutil
import pytest
import pytest_asyncio
from support.waiting import until

from phitui.core.errors import UsageError
from phitui.core.ipc.messages import Failure, Progress
from phitui.core.ipc.parent import Child
from phitui.engine.local.client import EngineClient
from phitui.engine.protocol.api import (
    Delta,
    Died,
    Finished,
    Load,
    Loaded,
    Parked,
    Pulse,
    Rejected,
    Sampling,
    Started,
    Turn,
    Woken,
)

# One loop for all tests here, since most share an engine.
pytestmark = pytest.mark.asyncio(loop_scope="module")
GREEDY = Sampling(max_tokens=32, temperature=0.0, top_k=0, top_p=1.0, repetition_penalty=1.0)
LONG = Sampling(max_tokens=2000, temperature=0.7, top_k=50, top_p=0.9, repetition_penalty=1.1)
PARIS = [Turn("user", "What is the capital of France? Answer with one word.")]
STORY = [Turn("user", "Tell me a very long story about a lighthouse.")]


class Engine:
    """A client with its events in a list."""

    def __init__(self, tmp_path, restart_limit=3):
        self.events = []
        self.client = EngineClient(tmp_path / "engine.log", self.events.append, restart_limit)
        self.profiles = tmp_path / "profiles.json"

    async def load(self, folder, threads=1, device="cpu", compute_type="auto", park_after_s=0.0, workers=1):
        profiles = str(self.profiles)
        await self.client.load(Load(str(folder), device, compute_type, threads, profiles, park_after_s, workers))
        return await self.wait(lambda e: isinstance(e, Loaded | Failure))

    async def wait(self, matches, timeout_s=60):
        """The first event from now or before that matches; it and those before it are taken."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for index, event in enumerate(self.events):
                if matches(event):
                    del self.events[: index + 1]
                    return event
            await asyncio.sleep(0.005)
        raise AssertionError(f"did not come; there were {self.events}")

    async def ask(self, turns, sampling=GREEDY):
        """The text and the last event."""
        number = await self.client.generate(turns, sampling)
        text = ""
        while True:
            event = await self.wait(lambda e: getattr(e, "id", None) == number)
            if isinstance(event, Delta):
                text += event.text
            elif not isinstance(event, Started):
                return text, event


@asynccontextmanager
async def running(tmp_path, folder, **options):
    engine = Engine(tmp_path)
    try:
        assert isinstance(await engine.load(folder, **options), Loaded)
        yield engine
    finally:
        await engine.client.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo_engine(tmp_path_factory, demo_folder):
    async with running(tmp_path_factory.mktemp("engine"), demo_folder) as engine:
        yield engine


@pytest.fixture
def demo(demo_engine):
    """An engine with the demo model, that other tests have used."""
    demo_engine.events.clear()
    return demo_engine


def processor_s(engine):
    """How long the engine's process has computed."""
    times = psutil.Process(engine.client.pid).cpu_times()
    return times.user + times.system


async def test_the_demo_model_answers_and_counts(demo):
    text, finished = await demo.ask(PARIS)
    assert "Paris" in text
    assert finished.reason == "stop"
    assert finished.usage.completion_tokens >= 2  # a word and the end token
    assert finished.timings.ttft_ms > 0
    assert finished.timings.total_ms >= finished.timings.ttft_ms


async def test_what_is_loaded_is_what_was_asked_for(tmp_path, tiny_folder):
    engine = Engine(tmp_path)
    loaded = await engine.load(tiny_folder, compute_type="float32")
    await engine.client.stop()
    assert (loaded.device, loaded.compute_type, loaded.threads) == ("cpu", "float32", 1)
    assert loaded.weight_bytes == (tiny_folder / "model.bin").stat().st_size


async def test_token_counts_are_those_of_the_tokenizer(demo, demo_folder):
    from tokenizers import Tokenizer

    prompt = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n"
    tokenizer = Tokenizer.from_file(str(demo_folder / "tokenizer.json"))
    text, finished = await demo.ask([Turn("system", "Be brief."), Turn("user", "Hi there")])
    assert finished.usage.prompt_tokens == len(tokenizer.encode(prompt, add_special_tokens=False).ids)
    ended = finished.reason == "stop"  # the end token is counted and has no text
    assert finished.usage.completion_tokens == len(tokenizer.encode(text).ids) + ended


async def test_a_limit_of_tokens_cuts_the_answer(demo):
    _, finished = await demo.ask(STORY, Sampling(7, 0.0, 0, 1.0, 1.0))
    assert (finished.reason, finished.usage.completion_tokens) == ("length", 7)


async def test_pulses_account_for_the_time_and_the_steps_of_an_answer(demo):
    await demo.client.generate(STORY, Sampling(60, 0.0, 0, 1.0, 1.0))
    await until(lambda: demo.events and isinstance(demo.events[-1], Finished))
    finished, pulses = demo.events[-1], [event for event in demo.events if isinstance(event, Pulse)]
    assert [pulse.last for pulse in pulses] == [False] * (len(pulses) - 1) + [True]
    total_s, tokens = finished.timings.total_ms / 1000, finished.usage.completion_tokens
    assert 2 <= len(pulses) <= 4 * total_s + 2
    assert sum(pulse.steps for pulse in pulses) == tokens - 1
    assert sum(p.decode_s for p in pulses) == pytest.approx(finished.timings.tpot_ms / 1000 * (tokens - 1), rel=1e-6)
    first_s = sum(p.tokenize_s + p.prefill_s for p in pulses)
    assert first_s == pytest.approx(finished.timings.ttft_ms / 1000, abs=0.01)
    assert 0 < sum(p.tokenize_s for p in pulses) < first_s
    assert total_s <= sum(p.window_s for p in pulses) < total_s + 0.3
    # Of all steps the mean length is that of the middle one.
    mean = sum(p.context_tokens * p.steps for p in pulses if p.steps) / (tokens - 1)
    assert mean == pytest.approx(finished.usage.prompt_tokens + tokens / 2)


async def test_the_footprint_is_that_of_the_compute_type(demo, demo_folder):
    made = demo.client.loaded.footprint
    # SmolLM2 135M: 30 layers, 9 heads of 64 (3 of them are stored, all are cached), float32 on a CPU; tied embeddings.
    assert made.kv_token == 2 * 30 * 9 * 64 * 4
    assert made.weights == made.weight_step
    assert 0 <= (demo_folder / "model.bin").stat().st_size - made.weights < 100_000


async def test_prompts_are_answered_in_order(demo):
    ids = [await demo.client.generate(STORY, Sampling(5, 0.0, 0, 1.0, 1.0)) for _ in range(4)]
    done = [(await demo.wait(lambda e: isinstance(e, Finished))).id for _ in ids]
    assert done == ids


async def test_cancel_stops_within_one_decode_step(demo):
    number = await demo.client.generate(STORY, LONG)
    await demo.wait(lambda e: isinstance(e, Delta) and e.tokens >= 5)
    used = processor_s(demo)
    await demo.client.cancel(number)
    finished = await demo.wait(lambda e: isinstance(e, Finished))
    assert finished.reason == "cancelled"
    # Of the processor, which a busy machine gives late: the step that ran when the cancel came and two more, and 100 ms
    # for the messages and for all around them.
    assert processor_s(demo) - used <= 0.1 + 3 * finished.timings.tpot_ms / 1000
    assert finished.usage.completion_tokens < LONG.max_tokens
    text, _ = await demo.ask(PARIS)
    assert "Paris" in text


async def test_a_queued_prompt_can_be_taken_back(demo):
    first = await demo.client.generate(STORY, Sampling(20, 0.0, 0, 1.0, 1.0))
    second = await demo.client.generate(STORY, LONG)
    await demo.client.cancel(second)
    assert (await demo.wait(lambda e: isinstance(e, Finished))).id == first
    taken_back = await demo.wait(lambda e: isinstance(e, Finished))
    assert (taken_back.id, taken_back.reason, taken_back.usage.completion_tokens) == (
        second,
        "cancelled",
        0,
    )


async def test_a_prompt_that_does_not_fit_is_refused_with_figures_and_the_engine_goes_on(tmp_path, tiny_folder):
    async with running(tmp_path, tiny_folder) as engine:
        window = engine.client.loaded.context_window
        _, rejected = await engine.ask([Turn("user", "word " * (window + 10))])
        assert isinstance(rejected, Rejected)
        assert f"the context window has {window}" in rejected.failure.message
        assert rejected.failure.exit_code == 2
        _, finished = await engine.ask([Turn("user", "hi")])
        assert isinstance(finished, Finished)


async def test_a_megabyte_of_prompt_is_refused_in_time(demo):
    used = processor_s(demo)
    _, rejected = await demo.ask([Turn("user", "lorem ipsum " * 90_000)])
    assert "does not fit" in rejected.failure.message
    assert processor_s(demo) - used < 10


async def test_a_worker_that_is_killed_is_replaced(tmp_path, tiny_folder):
    async with running(tmp_path, tiny_folder) as engine:
        number = await engine.client.generate(STORY, LONG)
        await engine.wait(lambda e: isinstance(e, Delta))
        killed = engine.client.pid
        os.kill(killed, signal.SIGKILL)
        died = await engine.wait(lambda e: isinstance(e, Died))
        assert died.lost == [number]
        assert died.restarting
        assert "SIGKILL" in died.reason
        await engine.wait(lambda e: isinstance(e, Loaded))
        assert engine.client.pid != killed
        _, finished = await engine.ask(PARIS)
        assert isinstance(finished, Finished)


async def test_an_engine_that_keeps_dying_is_given_up(tmp_path, tiny_folder):
    engine = Engine(tmp_path, restart_limit=1)
    await engine.load(tiny_folder)
    restarting = []
    for _ in range(2):
        os.kill(engine.client.pid, signal.SIGKILL)
        restarting.append((await engine.wait(lambda e: isinstance(e, Died))).restarting)
        if restarting[-1]:
            await engine.wait(lambda e: isinstance(e, Loaded))
    assert restarting == [True, False]
    assert engine.client.pid is None
    await engine.client.stop()


async def stopped(child, stop, ended):
    """As `stop`, with the time that a busy machine may need."""
    ended.append(await stop(child, 60))


async def test_stop_leaves_no_process_even_in_mid_answer(tmp_path, tiny_folder, monkeypatch):
    engine = Engine(tmp_path)
    await engine.load(tiny_folder)
    await engine.client.generate(STORY, LONG)
    await engine.wait(lambda e: isinstance(e, Delta))
    worker = psutil.Process(engine.client.pid)
    ended = []
    monkeypatch.setattr(Child, "stop", partialmethod(stopped, Child.stop, ended))
    await engine.client.stop()
    assert ended == [0]  # by itself
    assert not worker.is_running()
    log = (tmp_path / "engine.log").read_text()
    assert "terminate" not in log and "Traceback" not in log


async def test_stop_while_it_loads(tmp_path, demo_folder):
    engine = Engine(tmp_path)
    await engine.client.load(Load(str(demo_folder), "cpu", "auto", 1, str(engine.profiles)))
    await engine.wait(lambda e: isinstance(e, Progress))
    worker = psutil.Process(engine.client.pid)
    await engine.client.stop()
    assert not worker.is_running()


async def test_a_parked_model_gives_its_memory_back_and_wakes_for_a_prompt(demo, demo_folder):
    await demo.ask(PARIS)
    worker = psutil.Process(demo.client.pid)
    before = worker.memory_info().rss
    await demo.client.park()
    assert (await demo.wait(lambda e: isinstance(e, Parked))).place == "disk"
    weights = (demo_folder / "model.bin").stat().st_size
    assert worker.memory_info().rss < before - 0.6 * weights
    number = await demo.client.generate(PARIS, GREEDY)
    assert (await demo.wait(lambda e: isinstance(e, Woken))).seconds > 0
    finished = await demo.wait(lambda e: isinstance(e, Finished))
    assert finished.id == number
    assert finished.usage.completion_tokens >= 2


async def test_an_idle_model_parks_by_itself_but_never_in_an_answer(tmp_path, demo_folder):
    async with running(tmp_path, demo_folder, park_after_s=0.3) as engine:
        await engine.client.generate(STORY, Sampling(40, 0.0, 0, 1.0, 1.0))  # takes longer than 0.3 s
        await engine.wait(lambda e: isinstance(e, Delta))
        kinds = []
        while not kinds or kinds[-1] is not Parked:
            event = await engine.wait(lambda e: isinstance(e, Finished | Parked))
            kinds.append(type(event))
        assert kinds == [Finished, Parked]


async def test_the_thread_count_is_measured_once_and_again_where_its_file_is_damaged(tmp_path, tiny_folder):
    engine = Engine(tmp_path)
    loaded = await engine.load(tiny_folder, threads=0)
    assert "measured fastest per token" in loaded.why
    stored = engine.profiles.read_text()
    await engine.client.stop()
    # A second start reads it (a machine that was busy then and is idle now measures again: not here).
    engine.profiles.write_text(stored.replace('"load": ', '"load": 0.0, "was": '))
    engine.events.clear()
    again = await engine.load(tiny_folder, threads=0)
    assert again.threads == loaded.threads
    assert not [e for e in engine.events if isinstance(e, Progress) and e.stage == "measure"]
    for damaged in ('{"threads": 1, "load": "x"}', '{"threads": 1, "step_ms": [1]}', '{"threads": true}', "[]"):
        await engine.client.stop()
        engine.profiles.write_text(json.dumps({key: json.loads(damaged) for key in json.loads(stored)}))
        engine.events.clear()
        assert "measured fastest" in (await engine.load(tiny_folder, threads=0)).why
        written = json.loads(engine.profiles.read_text())
        assert written.keys() == json.loads(stored).keys()
        assert all(value["step_ms"] for value in written.values())
    await engine.client.stop()


async def test_text_that_is_no_unicode_is_refused_and_the_engine_goes_on(tmp_path, tiny_folder):
    async with running(tmp_path, tiny_folder) as engine:
        with pytest.raises(UsageError, match="not valid UTF-8"):
            await engine.client.generate([Turn("user", "caf\udce9")], GREEDY)
        _, finished = await engine.ask([Turn("user", "hi")])
        assert isinstance(finished, Finished)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda"}, "no CUDA device"),
        ({"compute_type": "int8_float16"}, "does not run on this cpu"),
    ],
)
async def test_what_this_machine_cannot_do_is_unavailable(tmp_path, tiny_folder, options, message):
    engine = Engine(tmp_path)
    failure = await engine.load(tiny_folder, **options)
    await engine.client.stop()
    assert isinstance(failure, Failure)
    assert message in failure.message
    assert failure.exit_code == 3
    assert failure.fix


async def test_damaged_weights_are_one_clear_line(tmp_path, tiny_folder):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(tiny_folder, copy)
    weights = bytearray((copy / "model.bin").read_bytes())
    weights[:64] = bytes(range(64))
    (copy / "model.bin").write_bytes(weights)
    engine = Engine(tmp_path)
    failure = await engine.load(copy)
    await engine.client.stop()
    assert isinstance(failure, Failure), failure
    assert str(copy) in failure.message
    assert "\n" not in failure.message


async def test_truncated_weights_are_found_before_they_are_loaded(tmp_path, tiny_folder):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(tiny_folder, copy)
    os.truncate(copy / "model.bin", 1000)
    engine = Engine(tmp_path)
    failure = await engine.load(copy)
    await engine.client.stop()
    assert "has 1000 bytes" in failure.message
