"""A bench's figures from known token times, by hand; and the loop over batch sizes on a source of them."""

import asyncio

import pytest

from phitui.core.errors import UsageError
from phitui.hardware.analysis.energy import PerToken
from phitui.models.footprint import Footprint
from phitui.workbench.bench.bench import (
    NO_CPU_ENERGY,
    BenchPlan,
    BenchRuns,
    Timed,
    check_sizes,
    run_to_the_end,
)
from phitui.workbench.bench.figures import Hardware, Run, batch_result
from phitui.workbench.measure.probing import check_lengths

PHI3 = Footprint(weights=3_825_000_000, weight_step=3_726_970_112, kv_token=393_216)
CARD = Hardware(PHI3, 1, 1008.0)
# Two rows in lock-step, prefill 0.4 s and three steps of 0.1 s; a second run with steps of 0.2 s.
FAST = Run([[0.4, 0.5, 0.6, 0.7]] * 2, 5_000)
SLOW = Run([[0.4, 0.6, 0.8, 1.0]] * 2, 6_000)


def by_hand(energies=(NO_CPU_ENERGY, NO_CPU_ENERGY), hardware=CARD):
    return batch_result(2, [FAST, SLOW], energies, hardware, prompt_tokens=100)


def test_latencies_are_of_all_rows_of_all_runs():
    result = by_hand()
    assert (result.ttft_ms.mean, result.ttft_ms.p99, result.ttft_ms.n) == pytest.approx((400, 400, 4))
    assert (result.tpot_ms.mean, result.tpot_ms.p50, result.tpot_ms.p90, result.tpot_ms.n) == pytest.approx(
        (150, 100, 200, 4)
    )
    assert (result.itl_ms.mean, result.itl_ms.n) == pytest.approx((150, 12))


def test_rates_are_medians_of_the_runs():
    result = by_hand()
    assert [run.output_tokens_per_s for run in result.runs] == pytest.approx([8 / 0.7, 8.0], rel=1e-5)
    assert [run.decode_tokens_per_s for run in result.runs] == pytest.approx([20.0, 10.0])
    assert result.output_tokens_per_s == pytest.approx((8 / 0.7 + 8) / 2, rel=1e-5)
    assert result.decode_tokens_per_s == pytest.approx(15.0)
    assert result.peak_memory_bytes == 6_000
    assert result.outcome == "ok"


def test_mbu_counts_the_cache_once_and_three_times():
    """Mean TPOT 150 ms, 2 rows, mean cache 100 + 4 / 2 tokens."""
    cache = 393_216 * 2 * 102
    found = by_hand().bandwidth
    assert found.useful_gb_s == pytest.approx((3_726_970_112 + cache) / 0.15 / 1e9, rel=1e-5)
    assert found.engine_gb_s == pytest.approx((3_726_970_112 + 3 * cache) / 0.15 / 1e9, rel=1e-5)
    assert found.mbu_useful == pytest.approx(found.useful_gb_s / 1008, rel=1e-5)
    assert found.mbu_engine == pytest.approx(found.engine_gb_s / 1008, rel=1e-5)


def test_two_workers_read_the_weights_twice():
    one, two = by_hand().bandwidth, by_hand(hardware=CARD._replace(shares=2)).bandwidth
    assert two.useful_gb_s - one.useful_gb_s == pytest.approx(3_726_970_112 / 0.15 / 1e9, rel=1e-4)


def test_what_is_not_known_has_its_reason():
    none = by_hand(hardware=Hardware(PHI3, 1, None, "no peak here")).bandwidth
    assert (none.mbu_useful, none.mbu_engine, none.reason) == (None, None, "no peak here")
    assert none.useful_gb_s > 0
    assert "not known" in by_hand(hardware=Hardware(None, 1, 1008.0)).bandwidth.reason
    single = batch_result(1, [Run([[0.4]])], [NO_CPU_ENERGY], CARD, 100)
    assert (single.tpot_ms, single.itl_ms, single.decode_tokens_per_s) == (None, None, None)
    assert "two tokens" in single.bandwidth.reason
    assert by_hand().joules_per_token.reason == "a CPU's energy is not read"


def test_energy_is_weighted_by_tokens_and_net_only_where_all_runs_have_it():
    known = (PerToken(2.0, 1.0, "counter", False), PerToken(4.0, 2.0, "counter", True))
    found = by_hand(known).joules_per_token
    assert (found.gross, found.net, found.source, found.rough, found.n) == (3.0, 1.5, "counter", True, 2)
    partly = by_hand((known[0], PerToken(4.0, None, "counter", False))).joules_per_token
    assert (partly.gross, partly.net) == (3.0, None)
    assert "idle power" in partly.reason


class Told:
    """A source that runs FAST, but for the batch sizes in `fails`; `cancels_at` is the run that is cancelled."""

    def __init__(self, fails=(), cancels_at=None):
        self.fails, self.cancels_at, self.asked = fails, cancels_at, []

    async def run(self, batch, prompt_tokens, max_tokens):
        self.asked.append((batch, max_tokens))
        if len(self.asked) == self.cancels_at:
            raise asyncio.CancelledError
        return Timed("oom", None, "CUDA out of memory") if batch in self.fails else Timed("ok", FAST)


async def run(source, plan):
    book = BenchRuns(plan)
    interrupted = await run_to_the_end(book, source, None, lambda progress: None)
    return interrupted, book.results(lambda batch: CARD)


async def test_sizes_take_turns_after_a_warm_up_of_each():
    source = Told()
    interrupted, results = await run(source, BenchPlan((1, 8), 100, 64, 2))
    assert source.asked == [(1, 16), (8, 16), (1, 64), (8, 64), (1, 64), (8, 64)]
    assert not interrupted
    assert [(one.batch, one.outcome, len(one.runs)) for one in results] == [(1, "ok", 2), (8, "ok", 2)]


async def test_a_size_without_memory_is_a_line_and_the_others_go_on():
    source = Told(fails=(8,))
    _, results = await run(source, BenchPlan((1, 8, 26), 100, 64, 2))
    assert [batch for batch, _ in source.asked] == [1, 8, 26, 1, 26, 1, 26]
    assert [(one.batch, one.outcome, len(one.runs)) for one in results] == [(1, "ok", 2), (8, "oom", 0), (26, "ok", 2)]
    assert results[1].detail == "CUDA out of memory"
    assert results[1].ttft_ms is None


async def test_what_is_done_when_it_is_interrupted_is_kept():
    interrupted, results = await run(Told(cancels_at=5), BenchPlan((1, 8), 100, 64, 2))
    assert interrupted
    assert [(one.outcome, len(one.runs)) for one in results] == [("interrupted", 1), ("interrupted", 1)]
    assert results[0].detail == "1 of 2 runs were done"
    with pytest.raises(asyncio.CancelledError):
        await run(Told(cancels_at=3), BenchPlan((1, 8), 100, 64, 2))


def test_plans_that_cannot_be():
    with pytest.raises(UsageError, match="the context window has 4096"):
        check_lengths(4000, 97, 4096)
    check_lengths(4000, 96, 4096)
    with pytest.raises(UsageError, match="in one run"):
        check_sizes(BenchPlan((1, 65536), 8, 128, 1))
