"""The demo model itself, served by llama.cpp: a real chat template, a real tokenizer, real text."""

from engine_contract import HI, Sampling, remote
from tokenizers import Tokenizer

from phitui.engine.protocol.api import Delta, Turn


async def test_it_streams_an_answer_with_its_counts(llama_smollm2, demo_folder):
    async with remote(llama_smollm2) as engine:
        loaded = engine.client.loaded
        assert (loaded.remote.kind, loaded.context_window) == ("llama.cpp", 1024)
        counted = await engine.client.count(HI)
        text, end = await engine.ask(sampling=Sampling(16, 0.0, 0, 1.0, 1.0))
        assert counted.exact and end.usage.prompt_tokens == counted.tokens > len(HI[0].content) / 8
        assert len(text.split()) > 3 and 0 < end.usage.completion_tokens <= 16 and end.notes == []
        tokenizer = Tokenizer.from_file(str(demo_folder / "tokenizer.json"))
        assert abs(len(tokenizer.encode(text).ids) - end.usage.completion_tokens) <= 1  # the end token has no text
        told = [event.tokens for event in engine.events if isinstance(event, Delta)]
        assert told == sorted(told) and told[0] >= 1 and 0 < end.timings.ttft_ms < end.timings.total_ms
        turns = [*HI, Turn("assistant", text), Turn("user", "And of Spain?")]
        _, second = await engine.ask(turns, Sampling(4, 0.0, 0, 1.0, 1.0))
        assert second.usage.prompt_tokens > end.usage.prompt_tokens + end.usage.completion_tokens
