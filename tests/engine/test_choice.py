"""Which device and compute type are picked, for machines that are described by hand."""

import pytest

from phitui.core.errors import UnavailableError, UsageError
from phitui.engine.protocol.api import Sampling
from phitui.engine.worker.choice import Weights, choose
from phitui.engine.worker.generation import fit, sampling_options, timings
from phitui.engine.worker.threads import candidates, pick
from phitui.hardware.host.cpu_int8 import WHY, int8_overflows, this_cpu_overflows

CPU = {"cpu": {"int8", "int8_float32", "float32"}}
ADA = {
    **CPU,
    "cuda": {"int8", "int8_float32", "int8_float16", "int8_bfloat16", "float16", "bfloat16", "float32"},
}
TURING = {**CPU, "cuda": {"int8", "int8_float32", "int8_float16", "float16", "float32"}}
PASCAL = {**CPU, "cuda": {"int8", "int8_float32", "float32"}}
INT8, AWQ = Weights("int8"), Weights("int4_awq_gemm", is_awq=True)
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
    chosen = choose(device, kind, cards, problem, supported, INT8)
    assert (chosen.device, chosen.compute_type) == expected
    assert chosen.why


def test_a_missing_cublas_is_named_with_its_remedy():
    assert "nvidia-cublas-cu12" in choose("auto", "auto", 1, "no libcublas.so.12", CPU, INT8).why
    with pytest.raises(UnavailableError, match=r"cuBLAS 12 \(no libcublas.so.12\).*nvidia-cublas-cu12"):
        choose("cuda", "auto", 1, "no libcublas.so.12", CPU, INT8)


def test_cuda_without_a_card_is_unavailable():
    with pytest.raises(UnavailableError, match="no CUDA device"):
        choose("cuda", "auto", 0, "", CPU, INT8)


@pytest.mark.parametrize(
    ("machine", "device", "kind", "says"),
    [
        (
            CPU,
            "cpu",
            "int8_float16",
            r"int8_float16 does not run on this cpu: it runs on CUDA.*float32, int8, int8_float32",
        ),
        (CPU, "cpu", "bfloat16", r"bfloat16 does not run on this cpu: it runs on CUDA cards only"),
        (CPU, "cpu", "int16", r"int16 does not run on this cpu: CTranslate2 does not support it"),
        (
            TURING,
            "cuda",
            "bfloat16",
            r"bfloat16 does not run on this cuda: it needs compute capability 8\.0.*int8_float16",
        ),
        (TURING, "cuda", "int8_bfloat16", r"int8_bfloat16 does not run.*needs compute capability 8\.0.*auto picks one"),
        (PASCAL, "cuda", "float16", r"float16 does not run on this cuda: it needs compute capability 7\.0"),
        (PASCAL, "cuda", "int8_float16", r"int8_float16 does not run on this cuda: it needs compute capability 7\.0"),
    ],
)
def test_an_impossible_compute_type_says_why_and_what_would_work(machine, device, kind, says):
    with pytest.raises(UnavailableError, match=says) as caught:
        choose(device, kind, 1, "", machine, INT8)
    assert "\n" not in str(caught.value)


def test_what_is_picked_in_place_of_the_best_says_why():
    why = choose("auto", "auto", 1, "", PASCAL, INT8).why
    assert "int8_float32 is preferred there, as int8_float16 does not run: it needs compute capability 7.0" in why
    assert "does not run" not in choose("auto", "auto", 1, "", TURING, INT8).why


@pytest.mark.parametrize(
    ("stored", "kind", "says"),
    [
        ("int8", "int8", ""),
        ("int8_float16", "int8", ""),
        ("float16", "int8", "weights stored as float16 become int8 when loaded, 0.5 times their size"),
        ("bfloat16", "int8", "weights stored as bfloat16 become int8 when loaded, 0.5 times their size"),
        ("float32", "int8", "weights stored as float32 become int8 when loaded, 0.25 times their size"),
        ("int8", "float32", "weights stored as int8 become float32 when loaded, 4 times their size"),
    ],
)
def test_weights_that_are_converted_when_loaded(stored, kind, says):
    why = choose("cpu", kind, 0, "", CPU, Weights(stored)).why
    assert why.endswith(says) if says else "stored as" not in why


def test_int8_on_a_cpu_without_vnni_is_said_where_it_matters():
    for kind, device, said in (("auto", "cpu", True), ("int8", "cpu", True), ("float32", "cpu", False)):
        assert ("sums can overflow" in choose(device, kind, 0, "", CPU, INT8, WHY).why) == said
    assert "overflow" not in choose("cuda", "auto", 1, "", ADA, INT8, WHY).why
    assert "overflow" not in choose("cpu", "auto", 0, "", CPU, INT8).why


@pytest.mark.parametrize(
    ("flags", "overflows"),
    [
        ("flags\t\t: fpu sse4_1 avx avx2", True),
        ("flags\t\t: fpu sse2", True),
        ("processor\t: 0\nflags\t\t: avx2 avx_vnni\n", False),
        ("flags : avx2 avx512f avx512_vnni", False),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp\n", False),
        ("", False),
    ],
)
def test_which_cpus_overflow(flags, overflows):
    assert int8_overflows(flags) == overflows


@pytest.mark.parametrize(("machine", "overflows"), [("x86_64", True), ("AMD64", True), ("aarch64", False)])
def test_a_machine_is_asked_by_its_cpuinfo(tmp_path, monkeypatch, machine, overflows):
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert this_cpu_overflows(tmp_path) is False  # it has none
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("flags\t\t: fpu sse4_1 avx avx2\n")
    assert this_cpu_overflows(tmp_path) is overflows


@pytest.mark.parametrize("kind", ["auto", "float16"])
def test_awq_runs_with_float16(kind):
    chosen = choose("auto", kind, 1, "", ADA, AWQ)
    assert (chosen.device, chosen.compute_type) == ("cuda", "float16")
    assert "AWQ" in chosen.why


@pytest.mark.parametrize(
    ("device", "kind", "cards", "machine", "says"),
    [
        ("cpu", "auto", 1, ADA, r"7\.5 and newer only \(CPU as asked\)\. Convert another checkpoint"),
        ("auto", "auto", 0, CPU, r"7\.5 and newer only \(no CUDA device\)\. Convert another checkpoint"),
        ("cuda", "auto", 1, PASCAL, r"7\.5 and newer only"),
        ("cuda", "int8_float16", 1, ADA, r"int8_float16 does not run with AWQ int4 weights\. Take --compute-type auto"),
        ("cuda", "bfloat16", 1, ADA, r"bfloat16 does not run with AWQ"),
    ],
)
def test_where_awq_does_not_run(device, kind, cards, machine, says):
    with pytest.raises(UnavailableError, match=says):
        choose(device, kind, cards, "", machine, AWQ)


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
