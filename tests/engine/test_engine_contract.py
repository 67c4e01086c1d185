"""The contract over the local engine and llama.cpp's server, on the same weights."""

import pytest
import pytest_asyncio
from engine_contract import *  # noqa: F403 - the behaviours
from engine_contract import HI, LONG, Delta, Sampling, local, remote
from tokenizers import Tokenizer

# llama.cpp answers to any name: by this one the prompt is made in Phi-3's form.
COMPLETIONS = {"route": "completions", "model": "tiny-phi3"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engines(tmp_path_factory, tiny_folder, llama):
    folder = tmp_path_factory.mktemp("engine")
    async with local(folder, tiny_folder) as ours, remote(llama) as chat, remote(llama, **COMPLETIONS) as completions:
        yield {"local": ours, "llama.cpp": chat, "llama.cpp completions": completions}


@pytest.fixture(params=["local", "llama.cpp", "llama.cpp completions"])
def engine(request, engines):
    """An engine that other tests have used."""
    engines[request.param].events.clear()
    return engines[request.param]


@pytest.fixture
def tokenizer(tiny_folder):
    return Tokenizer.from_file(str(tiny_folder / "tokenizer.json"))


async def test_tokens_are_counted_before_anything_is_sent_and_beside_an_answer(engine, tokenizer):
    text = "Some text of a file.\n\n  Grüße\n"
    alone = await engine.client.count([], text)
    assert alone.exact and alone.tokens == len(tokenizer.encode(text, add_special_tokens=False).ids)
    number = await engine.client.generate(HI, LONG)
    counted = await engine.client.count(HI)
    await engine.client.cancel(number)
    _, end = await engine.ask()
    assert counted.exact and counted.tokens == end.usage.prompt_tokens


@pytest.mark.parametrize("route", ["llama.cpp", "llama.cpp completions"])
async def test_both_give_the_same_greedy_text(engines, route):
    draw = Sampling(13, 0.0, 0, 1.0, 1.0)  # not 12: llama.cpp keeps back what ends in half a character, for good
    other = engines[route]
    other.events.clear()
    (ours, _), (theirs, end) = await engines["local"].ask(sampling=draw), await other.ask(sampling=draw)
    assert ours.replace("\ufffd", "") == theirs.replace("\ufffd", "")
    assert len(ours) > 15
    pieces = sum(isinstance(event, Delta) for event in other.events)
    assert pieces < end.usage.completion_tokens == 13  # pieces are not tokens
