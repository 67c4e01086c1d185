"""The step clock with times by hand."""

import pytest

from phitui.engine.worker.step_clock import INTERVAL_S, StepClock


def test_the_parts_of_an_answer_by_hand():
    clock = StepClock(10.0)
    clock.tokenized(10.5, prompt_tokens=100)
    clock.made([12.0])  # prefill took 1.5 s
    clock.made([12.1, 12.3, 12.4])  # three steps: the cache has 101, 102 and 103 tokens
    pulse = clock.pulse(13.0, queued=2)
    assert pulse.window_s == pytest.approx(3.0)
    assert (pulse.tokenize_s, pulse.prefill_s) == (pytest.approx(0.5), pytest.approx(1.5))
    assert (pulse.steps, pulse.decode_s) == (3, pytest.approx(0.4))
    assert pulse.context_tokens == pytest.approx(102)
    assert (pulse.rows, pulse.queued, pulse.last) == (1, 2, False)


def test_a_window_begins_where_the_one_before_ended():
    clock = StepClock(0.0)
    clock.tokenized(0.1, prompt_tokens=10)
    clock.made([0.2, 0.3])
    clock.pulse(0.35, queued=0)
    clock.made([0.5])  # the step began at 0.3, before this window
    pulse = clock.pulse(0.6, queued=0, last=True)
    assert (pulse.window_s, pulse.decode_s) == (pytest.approx(0.25), pytest.approx(0.2))
    assert (pulse.steps, pulse.prefill_s, pulse.tokenize_s, pulse.context_tokens) == (1, 0.0, 0.0, 12)
    assert pulse.last


def test_a_prefill_that_still_runs_is_told_and_counted_once():
    clock = StepClock(0.0)
    clock.tokenized(0.0, prompt_tokens=10)
    first = clock.pulse(1.0, queued=0)
    assert (first.prefill_s, first.steps, first.context_tokens) == (1.0, 0, None)
    clock.made([1.5, 1.7])
    second = clock.pulse(2.0, queued=0)
    assert (second.prefill_s, second.decode_s) == (pytest.approx(0.5), pytest.approx(0.2))


def test_nothing_made_is_no_step_and_no_length():
    clock = StepClock(0.0)
    clock.tokenized(0.2, prompt_tokens=10)
    pulse = clock.pulse(0.2, queued=0, last=True)
    assert (pulse.steps, pulse.decode_s, pulse.prefill_s, pulse.context_tokens) == (0, 0.0, 0.0, None)


def test_a_pulse_is_due_four_times_a_second():
    clock = StepClock(5.0)
    assert not clock.due(5.0 + 0.9 * INTERVAL_S)
    assert clock.due(5.25)
    clock.tokenized(5.25, 1)
    clock.pulse(5.25, queued=0)
    assert not clock.due(5.3)
