"""The clock of waves with times by hand."""

from types import SimpleNamespace

import pytest

from phitui.engine.worker.batching.wave import Wave
from phitui.engine.worker.batching.wave_clock import WaveClock


def wave(rows, begun=0.0):
    made = Wave([SimpleNamespace(left=100, reason=None) for _ in range(rows)], None, print)
    made.begun = made.last_s = begun
    return made


def step(clock, one, at, length=10, rows=None):
    """A token of each row of a wave."""
    for index in range(len(one.rows) if rows is None else rows):
        clock.made(one, index, at, length)


def decoding(clock, one, first=0.0):
    """Its prompts have been read: the first token of each row is there."""
    step(clock, one, first)
    return one


def test_rows_times_steps_are_the_tokens_of_one_wave():
    clock = WaveClock(0.0)
    one = decoding(clock, wave(3), 0.1)
    for number in range(1, 5):
        step(clock, one, 0.1 + 0.05 * number, 10 + number)
    pulse = clock.pulse(0.4, [one], queued=2)
    assert (pulse.rows, pulse.steps, pulse.waves, pulse.queued) == (3, 4, 1.0, 2)
    assert (pulse.prefill_s, pulse.decode_s) == (pytest.approx(0.1), pytest.approx(0.2))
    assert pulse.context_tokens == pytest.approx(12.5)


def test_waves_side_by_side_read_the_weights_each_for_itself():
    clock = WaveClock(0.0)
    two = [decoding(clock, wave(rows)) for rows in (3, 2)]
    for number in range(1, 5):
        for one in two:
            step(clock, one, 0.05 * number)
    pulse = clock.pulse(0.25, two, queued=0)
    assert (pulse.rows, pulse.steps, pulse.waves) == (5, 4, pytest.approx(2.0))
    assert pulse.decode_s == pytest.approx(0.2)


def test_waves_one_after_the_other_do_not():
    clock = WaveClock(0.0)
    first = decoding(clock, wave(3))
    for number in range(1, 5):
        step(clock, first, 0.02 * number)
    second = decoding(clock, wave(3, begun=0.08), 0.1)
    for number in range(1, 5):
        step(clock, second, 0.1 + 0.02 * number)
    pulse = clock.pulse(0.2, [second], queued=0)
    assert (pulse.rows, pulse.steps, pulse.waves) == (3, 8, pytest.approx(1.0))
    assert (pulse.prefill_s, pulse.decode_s) == (pytest.approx(0.02), pytest.approx(0.16))


def test_prefill_beside_a_decode_is_not_counted_twice():
    clock = WaveClock(0.0)
    one, other = decoding(clock, wave(2)), wave(2, begun=0.05)
    for number in range(1, 5):
        step(clock, one, 0.05 * number)
    pulse = clock.pulse(0.25, [one, other], queued=0)
    assert pulse.decode_s == pytest.approx(0.2)
    assert pulse.prefill_s == pytest.approx(0.05)  # what is left of the window
    assert pulse.rows == 2


def test_a_window_without_a_step_has_the_rows_that_are_on_their_way():
    clock = WaveClock(0.0)
    one = decoding(clock, wave(4))
    one.rows[0].reason = "stop"
    pulse = clock.pulse(0.25, [one], queued=0)
    assert (pulse.rows, pulse.steps, pulse.decode_s, pulse.context_tokens) == (3, 0, 0.0, None)


def test_tokenizing_with_nothing_else_to_do_is_work_and_waiting_for_it_is_none():
    clock = WaveClock(0.0)
    assert not clock.worked
    clock.tokenized(60.0, 60.1)
    clock.tokenized(60.1, 60.2)
    assert clock.worked
    pulse = clock.pulse(60.3, [], queued=0)
    assert (pulse.window_s, pulse.tokenize_s) == (pytest.approx(0.3), pytest.approx(0.2))
    assert not clock.worked
