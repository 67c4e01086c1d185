"""What is shown of a server's speed while it makes a long answer: no 0 because it counts late."""

import asyncio
import json

import pytest
from raw_server import raw_server
from remote_engine import HI, connected

from phitui.engine.protocol.api import Sampling
from phitui.engine.remote.metrics import ServerLoad
from phitui.engine.remote.window import figures

MODELS = {"data": [{"id": "m", "owned_by": "llamacpp"}]}
METRICS = b"""llamacpp:requests_processing 1
llamacpp:requests_deferred 0
llamacpp:prompt_tokens_total 40
llamacpp:tokens_predicted_total 1000
"""


def slot(busy, **more):
    return {"id": 0, "is_processing": busy, "n_ctx": 4096, **more}


# What /slots says; the tokens that were made so far.
SLOTS = {
    "an object": ([slot(True, next_token={"n_decoded": 30}), slot(True, next_token={"n_decoded": 4})], 1034),
    "a list of one": ([slot(True, next_token=[{"n_decoded": 30}]), slot(False, next_token=[{"n_decoded": 9}])], 1030),
    "beside it": ([slot(True, n_decoded=7)], 1007),
    "not told": ([slot(True)], None),
    "nonsense": ([slot(True, next_token={"n_decoded": "many"})], None),
    "no route": (None, None),
}


@pytest.mark.parametrize("name", SLOTS)
async def test_llama_cpp_counts_tokens_of_answers_on_their_way(name):
    slots, made = SLOTS[name]
    gets = {"/v1/models": MODELS, "/metrics": lambda c: c.reply(200, METRICS, "text/plain")}
    if slots is not None:
        gets["/slots"] = lambda c: c.reply(200, json.dumps(slots).encode())
    with raw_server(lambda c: None, gets) as server:
        async with connected(server.url) as engine:
            load = await engine.client.server_load()
    assert load.generated_tokens == made
    assert ("when an answer ends" in load.missing.get("generated_tokens", "")) == (made is None)


async def test_the_real_llama_cpp_counts_while_it_answers(llama):
    async with connected(llama.url) as engine:
        number = await engine.client.generate(HI, Sampling(400, 0.0, 0, 1.0, 1.0), exact=True)
        await engine.first_delta()
        seen = []
        while not seen or seen[-1].running:
            seen.append(await engine.client.server_load())
            await asyncio.sleep(0.01)
        await engine.ending(number)
    during = [load.generated_tokens for load in seen if load.running]
    assert during and None not in during
    assert during[-1] > during[0] or len(during) < 3


def test_no_tokens_while_answers_are_being_made_is_not_known_where_they_count_at_their_end():
    first, last = (ServerLoad(at, running=1, generated_tokens=640.0, at_end=True) for at in (0.0, 5.0))
    found = figures([first, last])
    assert found.tokens_per_s is None and "when it ends" in found.missing["rate"]
    idle = figures([first, ServerLoad(5.0, running=0, generated_tokens=640.0, at_end=True)])
    assert idle.tokens_per_s == 0
