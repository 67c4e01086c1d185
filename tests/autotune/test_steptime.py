"""The time model finds what times were made from."""

from __future__ import annotations

import pytest

from phitui.autotune.steptime import PrefillSample, StepSample, fit_prefill, fit_steps, nonnegative_least_squares


def test_all_three_parts_are_found() -> None:
    def step(batch: int, cached: float) -> float:
        return 0.01 + batch * (2e-4 + 3e-7 * cached)

    samples = [StepSample(b, c, step(b, c)) for b, c in ((1, 500), (26, 500), (64, 500), (64, 100))]
    fitted = fit_steps(samples)
    assert (fitted.fixed_s, fitted.row_s, fitted.token_s) == pytest.approx((0.01, 2e-4, 3e-7), rel=1e-6)
    assert fitted.error == pytest.approx(0, abs=1e-9)
    assert fitted.decode_rate(32, 300) == pytest.approx(32 / step(32, 300))


def test_at_one_depth_the_cache_is_part_of_the_row() -> None:
    fitted = fit_steps([StepSample(1, 500, 0.0102), StepSample(26, 500, 0.0152)])
    assert fitted.token_s == 0
    assert (fitted.fixed_s, fitted.row_s) == pytest.approx((0.01, 2e-4))


def test_one_sample_is_all_rows() -> None:
    fitted = fit_steps([StepSample(26, 500, 0.026)])
    assert fitted.step_s(26, 500) == pytest.approx(0.026)
    assert fitted.step_s(52, 500) == pytest.approx(0.052)  # nothing says that more rows are cheaper


def test_nothing_is_ever_negative() -> None:
    """Noise that makes a larger batch faster gives no time that falls."""
    fitted = fit_steps([StepSample(1, 100, 0.02), StepSample(8, 100, 0.019), StepSample(16, 400, 0.018)])
    assert min(fitted.fixed_s, fitted.row_s, fitted.token_s) >= 0
    assert fitted.error is not None and 0 < fitted.error < 0.1


def test_prefill() -> None:
    fitted = fit_prefill([PrefillSample(1, 500, 0.015), PrefillSample(26, 500, 0.14)])
    assert (fitted.call_s, fitted.token_s) == pytest.approx((0.01, 1e-5))
    assert fitted.seconds(10, 100) == pytest.approx(0.02)


def test_without_samples_there_is_no_fit() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        fit_steps([])


def test_least_squares_by_hand() -> None:
    assert nonnegative_least_squares([(1.0, 1.0), (1.0, 3.0)], [3.0, 7.0]) == pytest.approx([1.0, 2.0])
    # Without the bound the first would be −1.
    assert nonnegative_least_squares([(1.0, 1.0), (1.0, 2.0)], [1.0, 3.0])[0] == 0
