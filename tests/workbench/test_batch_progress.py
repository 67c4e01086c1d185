"""The figures of a batch that runs, on a clock of the test's own."""

import pytest

from phitui.workbench.batch.progress import WINDOW_S, BatchProgress


@pytest.fixture
def run():
    class Run(BatchProgress):
        now = 100.0

    progress = Run(rows=100, before=20, done=20)
    progress.clock = lambda: progress.now
    return progress


def test_nothing_is_known_before_there_was_a_second(run):
    run.begin()
    run.add_tokens(50)
    run.now += 0.9
    assert (run.tokens_per_s, run.mean_tokens_per_s, run.eta_s) == (None, None, None)


def test_the_rate_is_of_the_last_seconds_and_the_mean_of_all(run):
    run.begin()
    for _ in range(40):  # 10 tokens/s for 20 s, then 30 tokens/s for 20 s
        run.now += 1
        run.add_tokens(10 if run.now <= 120 else 30)
    assert run.tokens_per_s == pytest.approx(30, rel=1 / WINDOW_S)
    assert run.mean_tokens_per_s == pytest.approx((20 * 10 + 20 * 30) / 40)


def test_the_time_left_goes_by_the_rows_of_this_run(run):
    run.begin()
    run.now += 10
    assert run.eta_s is None
    run.done += 20
    assert run.eta_s == pytest.approx(60 * 10 / 20)
    run.rows = None
    assert run.eta_s is None


def test_what_has_ended_stands_still(run):
    run.begin()
    run.now += 4
    run.add_tokens(100)
    run.end("complete")
    run.now += 1000
    assert (run.seconds, run.tokens_per_s, run.mean_tokens_per_s) == (4, 25, 25)
