"""Two results compared: ratios and intervals by hand, the rule, warnings, and files that are no results."""

import json
import math
import random

import msgspec
import pytest

from phitui.core.errors import UsageError
from phitui.workbench.bench.compare import compare, half_width
from phitui.workbench.bench.figures import Hardware, Run, batch_result
from phitui.workbench.bench.result import (
    BenchModel,
    BenchResult,
    BenchSetup,
    Circumstances,
    DeviceFacts,
    Workload,
    encode,
    read_result,
    write_result,
)


def result(steps, batches=(4,), load=0.1, **changes):
    """A result of one run for each step time, in seconds."""
    runs = [Run([[0.5 + step * number for number in range(8)]] * 4) for step in steps]
    found = BenchResult(
        format="phitui-bench",
        version=1,
        date="2026-01-01T00:00:00+00:00",
        interrupted=False,
        model=BenchModel("phi-3-mini", "int8", "ab" * 32, 4096),
        device=DeviceFacts("cpu", "A CPU", None, 2, None, None, 30.0, "measured"),
        config=BenchSetup(1, 2, "int8_float32"),
        versions={"ctranslate2": "4.8.5"},
        workload=Workload(16, 8, len(steps), 8),
        conditions=Circumstances(load, load),
        results=[batch_result(b, runs, [None] * len(runs), Hardware(None, 1, None), 16) for b in batches],
    )
    return msgspec.structs.replace(found, **changes)


def metric(found, name):
    return next(one for one in found.differences if one.metric == name)


def test_twice_as_slow_is_worse_with_its_interval():
    tpot = metric(compare(result([0.1, 0.101, 0.099]), result([0.2, 0.202, 0.198])), "tpot_ms")
    assert (tpot.old, tpot.new) == pytest.approx((100, 200), rel=0.001)
    assert tpot.ratio == pytest.approx(2, rel=0.001)
    assert 1.9 < tpot.low < 2 < tpot.high < 2.1
    assert (tpot.verdict, tpot.n_old, tpot.n_new) == ("worse", 3, 3)


def test_more_tokens_a_second_are_better():
    found = compare(result([0.2, 0.202, 0.198]), result([0.1, 0.101, 0.099]))
    assert metric(found, "decode_tokens_per_s").verdict == "better"
    assert metric(found, "ttft_ms").verdict == "noise"  # which is the same


@pytest.mark.parametrize(
    ("old", "new"),
    [([0.1, 0.15, 0.12], [0.13, 0.1, 0.16]), ([0.1, 0.1, 0.1], [0.102, 0.102, 0.102])],
    ids=["scattered", "under-three-percent"],
)
def test_what_is_within_the_noise(old, new):
    assert metric(compare(result(old), result(new)), "tpot_ms").verdict == "noise"


def test_one_run_says_nothing_of_the_noise():
    tpot = metric(compare(result([0.1]), result([0.2, 0.2])), "tpot_ms")
    assert (tpot.verdict, tpot.low, tpot.high) == ("unknown", None, None)
    assert tpot.ratio == pytest.approx(2)


def test_the_interval_is_welchs():
    """Variances 1 and 4, N 4 and 6: worked out by hand."""
    first, second = [-1.2247449, 0, 0, 1.2247449], [-2, -2, -2, 2, 2, 2]
    parts = 1.0 / 4, 4.8 / 6
    freedom = math.floor(sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 5))
    assert freedom == 7
    assert half_width(first, second) == pytest.approx(2.365 * math.sqrt(sum(parts)), rel=1e-4)


def test_the_interval_holds_no_difference_in_about_95_of_100():
    random.seed(7)
    missed = 0
    for _ in range(2000):
        first, second = ([random.gauss(0, 1) for _ in range(3)] for _ in "ab")
        missed += abs(sum(first) / 3 - sum(second) / 3) > half_width(first, second)
    assert 0.005 < missed / 2000 < 0.06


def test_no_common_size_is_an_error():
    with pytest.raises(UsageError, match="no batch size in common"):
        compare(result([0.1], (1,)), result([0.1], (8,)))


def test_other_conditions_are_warned_of():
    assert compare(result([0.1]), result([0.1])).warnings == []
    new = result(
        [0.1],
        load=1.5,
        interrupted=True,
        config=BenchSetup(2, 1, "float32"),
        versions={"ctranslate2": "5.0"},
        model=BenchModel("phi-3-mini", "int8", "cd" * 32, 4096),
        workload=Workload(32, 8, 1, 8),
        device=DeviceFacts("cuda", "A card", "GPU-1", 2, "550", "12.4", 1008.0, "the driver"),
    )
    said = "\n".join(compare(result([0.1]), new).warnings)
    for words in ("weights: phi-3-mini abab", "device: A CPU before, A card GPU-1 now", "workers: 1 before, 2 now"):
        assert words in said
    for words in ("compute type", "prompt tokens: 16 before, 32 now", "ctranslate2: 4.8.5 before, 5.0 now"):
        assert words in said
    assert "the new result was begun on a busy machine: load average 1.5 on 2 CPUs" in said
    assert "the new result was interrupted" in said


def test_a_result_comes_back_from_its_file(tmp_path):
    path = tmp_path / "result.json"
    before = result([0.1, 0.2])
    write_result(path, before)
    assert read_result(path) == before
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["result.json"]


def _changed(change):
    data = json.loads(encode(result([0.1])))
    change(data)
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": "other"}', b'{"format": "phitui-bench"}',
        _changed(lambda d: d.update(version=2)),
        _changed(lambda d: d.pop("results")),
        _changed(lambda d: d["results"][0]["runs"][0].update(ttft_ms=-1)),
        _changed(lambda d: d["results"][0]["runs"][0].update(ttft_ms="fast")),
        _changed(lambda d: d["results"][0].update(batch=0)),
    ],
)  # fmt: skip
def test_garbage_is_refused_in_one_line(tmp_path, data):
    path = tmp_path / "result.json"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        read_result(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(UsageError):
            read_result(path)
