"""Which device and compute type are picked, for machines that are described by hand."""

import pytest

from phitui.engine.api import Sampling
from phitui.engine.choice import choose
from phitui.engine.generation import fit, sampling_options, timings
from phitui.engine.threads import candidates, pick
from phitui.errors import UnavailableError, UsageError

CPU = {"cpu": {"int8", "int8_float32", "float32"}}
ADA = {
    **CPU,
    "cuda": {"int8", "int8_float32", "int8_float16", "int8_bfloat16", "float16", "bfloat16", "float32"},
}
PASCAL = {**CPU, "cuda": {"int8", "int8_float32", "float32"}}
DRAW = Sampling(max_tokens=100, temperature=0.5, top_k=40, top_p=0.9, repetition_penalty=1.1)


@pytest.mark.parametrize(
    ("device", "kind", "cards", "problem", "supported", "expected"),
    [
        ("auto", "auto", 1, "", ADA, ("cuda", "int8_float16")),
        ("cuda", "auto", 2, "", ADA, ("cuda", "int8_float16")),
        ("cuda", "bfloat16", 1, "", ADA, ("cuda", "bfloat16")),
        ("auto", "auto", 1, "", PASCAL, ("cuda", "int8_float32")),
        ("cpu", "auto", 1, "", ADA, ("cpu", "int8")),
        ("auto", "auto", 0, "", CPU, ("cpu", "int8")),
        ("auto", "float32", 0, "", CPU, ("cpu", "float32")),
        ("auto", "auto", 1, "libcublas.so.12: not found", CPU, ("cpu", "int8")),
    ],
)
def test_choice(device, kind, cards, problem, supported, expected):
    chosen = choose(device, kind, cards, problem, supported)
    assert (chosen.device, chosen.compute_type) == expected
    assert chosen.why


def test_a_missing_cublas_is_named_with_its_remedy():
    assert "phitui[cuda]" in choose("auto", "auto", 1, "no libcublas.so.12", CPU).why
    with pytest.raises(UnavailableError, match=r"cuBLAS 12 \(no libcublas.so.12\).*phitui\[cuda\]"):
        choose("cuda", "auto", 1, "no libcublas.so.12", CPU)


def test_cuda_without_a_card_is_unavailable():
    with pytest.raises(UnavailableError, match="no CUDA device"):
        choose("cuda", "auto", 0, "", CPU)


def test_an_impossible_compute_type_says_what_would_work():
    with pytest.raises(UnavailableError, match=r"int8_float16 does not run on this cpu.*float32, int8, int8_float32"):
        choose("cpu", "int8_float16", 0, "", CPU)


def test_thread_candidates_are_powers_and_the_cores_themselves():
    assert candidates(1) == [1]
    assert candidates(2) == [1, 2]
    assert candidates(6) == [1, 2, 4, 6]
    assert candidates(16) == [1, 2, 4, 8, 16]


def test_more_threads_must_be_worth_their_cores():
    assert pick({1: 24.0, 2: 30.0}) == 1
    assert pick({1: 30.0, 2: 29.5}) == 1
    assert pick({1: 30.0, 2: 16.0, 4: 9.0, 8: 9.1}) == 4


def test_the_answer_is_cut_to_the_room_that_is_left():
    assert fit(100, DRAW, 4096) == 100
    assert fit(4000, DRAW, 4096) == 96
    assert fit(4095, DRAW, 4096) == 1


def test_a_prompt_that_does_not_fit_is_refused_with_the_figures():
    with pytest.raises(UsageError, match=r"4096 tokens with the chat so far, the context window has 4096.*at least 1 "):
        fit(4096, DRAW, 4096)
    with pytest.raises(UsageError, match="Shorten it by at least 905 tokens"):
        fit(5000, DRAW, 4096)


def test_sampling_options():
    assert sampling_options(Sampling(9, 0.0, 40, 0.9, 1.0), "cpu") == {
        "sampling_topk": 1,
        "repetition_penalty": 1.0,
    }
    assert sampling_options(DRAW, "cpu")["sampling_topk"] == 40
    # CUDA's top-p needs a top-k between 1 and 8192.
    all_tokens = Sampling(9, 0.7, 0, 0.9, 1.0)
    assert sampling_options(all_tokens, "cpu")["sampling_topk"] == 0
    assert sampling_options(all_tokens, "cuda")["sampling_topk"] == 8192


def test_timings_by_hand():
    times = timings(begun=10.0, first=10.5, last=12.5, tokens=5)
    assert (times.ttft_ms, times.tpot_ms, times.total_ms, times.tokens_per_s) == (500.0, 500.0, 2500.0, 2.0)
    assert times.decode_tokens_per_s == 2.0


def test_timings_without_tokens_are_unknown_not_zero():
    none = timings(begun=1.0, first=None, last=1.0, tokens=0)
    assert (none.ttft_ms, none.tpot_ms, none.total_ms, none.tokens_per_s) == (None, None, None, None)
    assert none.decode_tokens_per_s is None
    one = timings(begun=1.0, first=1.5, last=1.5, tokens=1)
    assert one.ttft_ms == 500.0
    assert one.tpot_ms is None
