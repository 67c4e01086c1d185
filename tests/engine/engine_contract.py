"""What every engine does, wherever it computes: behaviours for a fixture `engine`, a `Suite`, and a `tokenizer`.

`test_engine_contract.py` runs them over the local engine and llama.cpp's server, `vllm_tests/` over vLLM's; of servers
by the chat route and by that of completions.
"""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from remote_engine import RemoteEngine

from phitui.core.errors import UsageError
from phitui.engine.local.client import EngineClient
from phitui.engine.protocol.api import BrokeOff, Delta, Finished, Load, Loaded, Rejected, Sampling, Started, Turn

HI = [Turn("user", "What is the capital of France?")]
GREEDY = Sampling(max_tokens=12, temperature=0.0, top_k=0, top_p=1.0, repetition_penalty=1.0)
LONG = Sampling(max_tokens=1500, temperature=0.0, top_k=0, top_p=1.0, repetition_penalty=1.0)
UNICODE = "Grüße, 世界! 🦙 \u202e \x1b[31m e\u0301"


class Suite:
    """An engine of either kind, and what it said."""

    def __init__(self, client, events):
        self.client, self.events = client, events

    async def wait(self, matches, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = next((event for event in self.events if matches(event)), None)
            if found is not None:
                return found
            await asyncio.sleep(0.002)
        raise AssertionError(f"did not come; there were {self.events}")

    async def end(self, number):
        return await self.wait(lambda e: isinstance(e, Finished | Rejected | BrokeOff) and e.id == number)

    async def ask(self, turns=HI, sampling=GREEDY):
        number = await self.client.generate(turns, sampling)
        end = await self.end(number)
        return self.text(number), end

    def text(self, number):
        return "".join(event.text for event in self.events if isinstance(event, Delta) and event.id == number)


@asynccontextmanager
async def local(tmp_path, folder):
    events = []
    client = EngineClient(tmp_path / "engine.log", events.append)
    await client.load(Load(str(folder), "cpu", "float32", 1, str(tmp_path / "profiles.json")))
    suite = Suite(client, events)
    await suite.wait(lambda e: isinstance(e, Loaded))
    yield suite
    await client.stop()


@asynccontextmanager
async def remote(server, **settings):
    engine = RemoteEngine(server.url, **settings)
    await engine.client.connect()
    yield Suite(engine.client, engine.events)
    await engine.client.stop()


async def test_it_streams_started_deltas_finished(engine):
    number = await engine.client.generate(HI, GREEDY)
    end = await engine.end(number)
    kinds = [type(e) for e in engine.events if isinstance(e, Started | Delta | Finished) and e.id == number]
    assert kinds[0] is Started and kinds[-1] is Finished and kinds[1:-1] == [Delta] * (len(kinds) - 2)
    assert len(kinds) > 2
    assert end.notes == []


async def test_it_stops_at_max_tokens_and_counts_them(engine):
    _, end = await engine.ask(sampling=Sampling(7, 0.0, 0, 1.0, 1.0))
    assert (end.reason, end.usage.completion_tokens) == ("length", 7)


async def test_prompt_tokens_are_those_of_the_tokenizer(engine, tokenizer):
    prompt = f"<|user|>\n{HI[0].content}<|end|>\n<|assistant|>\n"
    _, end = await engine.ask()
    assert end.usage.prompt_tokens == len(tokenizer.encode(prompt, add_special_tokens=False).ids)


async def test_times_belong_together(engine):
    _, end = await engine.ask(sampling=Sampling(40, 0.0, 0, 1.0, 1.0))
    times, tokens = end.timings, end.usage.completion_tokens
    assert 0 < times.ttft_ms <= times.total_ms
    assert times.tpot_ms * (tokens - 1) == pytest.approx(times.total_ms - times.ttft_ms, rel=0.01)
    assert times.tokens_per_s == pytest.approx(tokens / times.total_ms * 1000, rel=0.01)


async def test_a_system_turn_and_earlier_turns_are_part_of_the_prompt(engine):
    _, alone = await engine.ask()
    turns = [Turn("system", "Be brief."), *HI, Turn("assistant", "Paris."), Turn("user", "And of Spain?")]
    _, more = await engine.ask(turns)
    assert more.usage.prompt_tokens > alone.usage.prompt_tokens + 10


async def test_cancel_ends_it_and_the_next_is_answered(engine):
    number = await engine.client.generate(HI, LONG)
    await engine.wait(lambda e: isinstance(e, Delta) and e.id == number)
    await engine.client.cancel(number)
    end = await engine.end(number)
    assert end.reason == "cancelled"
    assert end.usage.completion_tokens is None or end.usage.completion_tokens < 1500
    _, end = await engine.ask()
    assert end.reason in ("length", "stop")


async def test_cancel_at_once(engine):
    number = await engine.client.generate(HI, LONG)
    await engine.client.cancel(number)
    assert (await engine.end(number)).reason == "cancelled"


async def test_a_prompt_that_does_not_fit_is_refused_as_bad_input_and_the_next_is_answered(engine):
    _, refused = await engine.ask([Turn("user", "word " * 4200)])
    assert isinstance(refused, Rejected)
    assert isinstance(refused.failure.error(), UsageError)
    assert any(char.isdigit() for char in refused.failure.message)
    _, end = await engine.ask()
    assert isinstance(end, Finished)


async def test_unicode_goes_in_and_comes_out_as_text(engine):
    text, end = await engine.ask([Turn("user", UNICODE)], Sampling(60, 1.0, 50, 1.0, 1.0))
    assert isinstance(end, Finished)
    text.encode("utf-8")  # no half characters


async def test_a_stop_string_ends_it_before_the_string(engine):
    whole, end = await engine.ask(sampling=Sampling(40, 0.0, 0, 1.0, 1.0))
    assert end.reason == "length"
    letters = [char for char in whole if char.isascii() and char.isalnum()]
    stop = letters[len(letters) // 2]
    text, end = await engine.ask(sampling=Sampling(40, 0.0, 0, 1.0, 1.0, stop=(stop,)))
    assert end.reason == "stop"
    assert stop not in text and len(text) < len(whole)


async def test_several_at_once_are_all_answered(engine):
    numbers = [await engine.client.generate(HI, GREEDY) for _ in range(3)]
    ends = [await engine.end(number) for number in numbers]
    assert [type(end) for end in ends] == [Finished] * 3
    assert len({engine.text(number) for number in numbers}) == 1
