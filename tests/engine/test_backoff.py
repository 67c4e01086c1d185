"""Waiting after memory ran out, and coming back to what was allowed."""

from phitui.engine.worker.batching.backoff import FIRST_S, LONGEST_S, Backoff


def test_each_failure_doubles_the_wait_and_success_takes_it_away():
    longest_s = Backoff()
    assert not longest_s.waits(0.0)
    waits = [longest_s.failed(10.0) for _ in range(8)]
    assert waits[:3] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert waits[-1] == LONGEST_S
    assert longest_s.waits(10.0 + LONGEST_S - 0.01)
    assert not longest_s.waits(10.0 + LONGEST_S)
    longest_s.ended_well()
    assert longest_s.failed(20.0) == FIRST_S
