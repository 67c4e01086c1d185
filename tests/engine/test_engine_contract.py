"""The contract over the local engine and llama.cpp's server, on the same weights."""

import pytest
from engine_contract import *  # noqa: F403 - the behaviours
from engine_contract import Delta, Sampling, local, remote
from tokenizers import Tokenizer


@pytest.fixture(params=["local", "llama.cpp"])
async def engine(request, tmp_path, tiny_folder, llama):
    async with local(tmp_path, tiny_folder) if request.param == "local" else remote(llama) as suite:
        yield suite


@pytest.fixture
def tokenizer(tiny_folder):
    return Tokenizer.from_file(str(tiny_folder / "tokenizer.json"))


async def test_both_give_the_same_greedy_text(tmp_path, tiny_folder, llama):
    draw = Sampling(13, 0.0, 0, 1.0, 1.0)  # not 12: llama.cpp keeps back what ends in half a character, for good
    async with local(tmp_path, tiny_folder) as one, remote(llama) as other:
        (ours, _), (theirs, end) = await one.ask(sampling=draw), await other.ask(sampling=draw)
        assert ours.replace("\ufffd", "") == theirs.replace("\ufffd", "")
        assert len(ours) > 15
        pieces = sum(isinstance(event, Delta) for event in other.events)
        assert pieces < end.usage.completion_tokens == 13  # pieces are not tokens
