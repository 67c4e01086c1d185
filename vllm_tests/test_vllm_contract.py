"""The contract over vLLM's own server, and what only vLLM has."""

import asyncio

import pytest
from engine_contract import *  # noqa: F403 - the behaviours
from engine_contract import HI, Sampling, local, remote
from remote_engine import RemoteEngine
from tokenizers import Tokenizer

from phitui.core.errors import PhituiError

# By its other name the prompt is made in Phi-3's form.
COMPLETIONS = {"route": "completions", "model": "tiny-phi3"}


@pytest.fixture(params=[{}, COMPLETIONS], ids=["chat", "completions"])
async def engine(vllm, request):
    async with remote(vllm, **request.param) as suite:
        yield suite


@pytest.fixture
def tokenizer(tiny_folder):
    return Tokenizer.from_file(str(tiny_folder / "tokenizer.json"))


async def test_it_is_known_for_what_it_is(engine):
    loaded = engine.client.loaded
    assert loaded.remote.kind == "vLLM" and loaded.remote.model in ("tiny", "tiny-phi3")
    assert loaded.context_window == 2048
    assert "0.32.0" in loaded.why


async def test_a_model_that_it_has_not_is_told(vllm):
    engine = RemoteEngine(vllm.url, model="other")
    with pytest.raises(PhituiError, match="has no model other"):
        await engine.client.connect()


async def test_its_greedy_text_is_that_of_the_local_engine(engine, tmp_path, tiny_folder):
    draw = Sampling(12, 0.0, 0, 1.0, 1.0)
    async with local(tmp_path, tiny_folder) as ours:
        (mine, _), (theirs, _) = await ours.ask(sampling=draw), await engine.ask(sampling=draw)
    # Half a character at the end: the one shows it as such, the other keeps it back.
    assert mine.replace("\ufffd", "") == theirs.replace("\ufffd", "")
    assert len(mine) > 10


async def test_more_tokens_than_the_window_has_room_for_are_not_asked_for(engine):
    """vLLM answers 400 to them."""
    draw = Sampling(2048, 0.0, 0, 1.0, 1.0)
    counted = await engine.client.count(HI)
    assert counted.exact
    _, end = await engine.ask(sampling=draw)
    assert end.usage.prompt_tokens == counted.tokens
    assert (end.reason, end.usage.completion_tokens) == ("length", 2048 - counted.tokens) or end.reason == "stop"


async def test_its_load_counts_what_was_asked(engine):
    before = await engine.client.server_load()
    assert before.missing == {} and before.kv_use is not None
    _, end = await engine.ask(sampling=Sampling(30, 0.0, 0, 1.0, 1.0))
    after = await engine.client.server_load()
    assert after.generated_tokens - before.generated_tokens == end.usage.completion_tokens == 30
    assert after.prompt_tokens - before.prompt_tokens == end.usage.prompt_tokens
    assert after.ttft.since(before.ttft).total == 1
    assert after.itl.since(before.itl).total == 29
    assert after.itl.since(before.itl).percentile_s(0.5) > 0
    assert (after.running, after.waiting) == (0, 0)


async def test_more_than_it_computes_at_once_wait(engine):
    numbers = [await engine.client.generate(HI, Sampling(400, 0.0, 0, 1.0, 1.0)) for _ in range(16)]
    most = (0, 0)
    for _ in range(400):
        load = await engine.client.server_load()
        most = (max(most[0], load.running), max(most[1], load.waiting))
        if most[0] == 8 and most[1]:
            break
        await asyncio.sleep(0.01)
    for number in numbers:
        await engine.client.cancel(number)
    # --max-num-seqs 8; on a busy machine one of them has often just ended when the server counts.
    assert 6 <= most[0] <= 8 and most[1] > 0
