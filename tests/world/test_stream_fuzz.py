"""A seeded part of benchmarks/stream_fuzz.py, whose whole is 100,000 runs; and that it finds what it looks for."""

import random

import pytest
import stream_fuzz

from phitui.engine.remote.wire import WireReader


def test_mutated_streams_lose_no_text_and_raise_nothing_unexpected():
    tally = stream_fuzz.fuzz(1500, seed=20)
    assert tally.failures == []
    assert tally.longest_s < stream_fuzz.LIMIT_S
    # They are as unlike as they should be: whole answers, errors, garbage.
    assert {"stop", "length", "Garbled", "said"} <= set(tally.endings)


@pytest.mark.parametrize("fault", ["lost text", "KeyError"])
def test_the_fuzz_finds_a_reader_that_is_wrong(monkeypatch, fault):
    right = WireReader.feed

    def feed(self, chunk):
        if fault == "KeyError" and b"\x00" in chunk:
            raise KeyError("x")
        found = right(self, chunk)
        return found[1:] if fault == "lost text" and len(found) > 3 else found

    monkeypatch.setattr(WireReader, "feed", feed)
    assert any(fault in line for line in stream_fuzz.fuzz(2000, seed=3).failures)


def test_a_stream_in_any_pieces_is_the_same():
    for number in range(50):
        draw = random.Random(number)
        form, data, _ = stream_fuzz.stream(draw)
        shown = {stream_fuzz.read(form, data, random.Random(seed)).shown for seed in range(5)}
        assert len(shown) == 1, (form, data)
