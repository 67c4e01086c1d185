"""Several answers to one prompt: rows of one batch here, requests side by side elsewhere."""

import asyncio

from msgspec.structs import replace
from remote_engine import connected
from test_engine import GREEDY, LONG, PARIS, STORY, running

from phitui.engine.protocol.api import Delta, Finished, Pulse, Sampling, Started

FREE = Sampling(max_tokens=40, temperature=1.0, top_k=200, top_p=1.0, repetition_penalty=1.0)


async def collected(engine, ids):
    """Texts and last events of these answers, and the pulses until then."""
    texts, ends, pulses = dict.fromkeys(ids, ""), {}, []

    def is_one(event):
        return isinstance(event, Pulse) or getattr(event, "id", None) in texts

    while len(ends) < len(ids):
        event = await engine.wait(is_one)
        if isinstance(event, Pulse):
            pulses.append(event)
        elif isinstance(event, Delta):
            texts[event.id] += event.text
        elif not isinstance(event, Started):
            ends[event.id] = event
    return texts, ends, pulses


async def test_answers_of_one_request_are_rows_of_one_batch(tmp_path, demo_folder):
    async with running(tmp_path, demo_folder) as engine:
        alone, finished = await engine.ask(PARIS)
        first = await engine.client.generate(PARIS, GREEDY, 3)
        texts, ends, pulses = await collected(engine, range(first, first + 3))
        assert set(texts.values()) == {alone}  # greedy: each as it is alone
        assert {(end.reason, end.usage) for end in ends.values()} == {("stop", finished.usage)}
        assert pulses and sum(pulse.steps * pulse.rows for pulse in pulses) == 3 * (
            finished.usage.completion_tokens - 1
        )

        first = await engine.client.generate(STORY, FREE, 3)
        texts, ends, _ = await collected(engine, range(first, first + 3))
        assert len(set(texts.values())) == 3 and all(texts.values())
        assert all(0 < end.usage.completion_tokens <= 40 for end in ends.values())

        stops = replace(GREEDY, stop=("Paris",))
        first = await engine.client.generate(PARIS, stops, 2)
        texts, ends, _ = await collected(engine, range(first, first + 2))
        assert all("Paris" not in text for text in texts.values())
        assert {end.reason for end in ends.values()} == {"stop"}
        assert engine.client._pending == {}
        assert await engine.client.generate(PARIS, GREEDY) == first + 2


async def test_cancel_stops_all_answers_of_a_request(tmp_path, demo_folder):
    async with running(tmp_path, demo_folder) as engine:
        first = await engine.client.generate(STORY, LONG, 3)
        waiting = await engine.client.generate(STORY, LONG, 2)
        await engine.wait(lambda e: isinstance(e, Delta) and e.id == first + 2)
        await engine.client.cancel(waiting)
        await engine.client.cancel(first)
        _, ends, _ = await collected(engine, [*range(first, first + 3), *range(waiting, waiting + 2)])
        assert {end.reason for end in ends.values()} == {"cancelled"}
        text, finished = await engine.ask(PARIS)
        assert "Paris" in text and finished.reason == "stop"


async def test_what_cannot_be_answered_is_told_for_each(tmp_path, tiny_folder):
    async with running(tmp_path, tiny_folder) as engine:
        first = await engine.client.generate([replace(STORY[0], content="fox " * 5000)], GREEDY, 2)
        _, ends, _ = await collected(engine, [first, first + 1])
        assert all("does not fit" in end.failure.message for end in ends.values())


async def test_a_server_is_asked_side_by_side(llama):
    async with connected(llama.url) as engine:
        assert "seed" in engine.client.loaded.remote.supported_parameters
        draw = Sampling(12, 1.5, 200, 1.0, 1.0, (), 5)
        ends = {}
        for round_ in range(2):
            first = await engine.client.generate(PARIS, draw, 2)
            ends[round_] = [await engine.ending(first + place) for place in range(2)]
        texts = [[text for text, _ in ended] for ended in ends.values()]
        assert texts[0] == texts[1]  # the same seeds
        assert texts[0][0] != texts[0][1]  # but not the same for both
        first = await engine.client.generate(STORY, replace(draw, max_tokens=1500), 2)
        await engine.first_delta()
        await engine.client.cancel(first)
        for place in range(2):
            _, end = await engine.ending(first + place)
            assert isinstance(end, Finished) and end.reason == "cancelled"
        await asyncio.sleep(0)
        assert engine.client._jobs == {}
