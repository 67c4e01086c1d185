"""Energy over windows by hand."""

import pytest

from phitui.hardware.analysis.energy import KEPT_S, EnergyMeter, EnergySample


def meter(*samples):
    made = EnergyMeter()
    for sample in samples:
        made.note(EnergySample(*sample))
    return made


def counted(watts=300.0, seconds=20, idle_w=50.0):
    """A counter that runs at `watts`, after two idle samples."""
    idle = [(-1.0, 1000.0, idle_w, False), (0.0, 1000.0 + idle_w, idle_w, False)]
    return meter(*idle, *((float(t), 1000.0 + idle_w + watts * t, watts, True) for t in range(1, seconds + 1)))


def test_the_counter_between_its_samples():
    energy = counted().between(2.5, 12.5)
    assert energy.joules == pytest.approx(3000)
    assert (energy.source, energy.rough, energy.reason) == ("counter", False, "")


def test_a_window_under_5_s_is_rough():
    assert counted().between(2.5, 7.4).rough
    assert not counted().between(2.5, 7.5).rough


def test_gross_and_net_of_idle_per_token():
    per_token = counted().per_token(2.0, 12.0, tokens=100)
    assert per_token.gross_j == pytest.approx(30.0)  # 3000 J
    assert per_token.net_j == pytest.approx(25.0)  # less 50 W for 10 s
    assert counted().idle_w == 50.0


def test_without_a_counter_power_is_integrated():
    # 100 W rising to 300 W in 4 s, then 300 W: 800 J + 1200 J from 0 to 8.
    made = meter(*((float(t), None, min(100.0 + 50.0 * t, 300.0), True) for t in range(10)))
    energy = made.between(0.0, 8.0)
    assert energy.joules == pytest.approx(2000)
    assert energy.source == "sampled"
    assert made.between(0.5, 1.5).joules == pytest.approx((125 + 150) / 2 * 0.5 + (150 + 175) / 2 * 0.5)


def test_a_counter_that_goes_back_is_no_figure():
    made = meter((0.0, 500.0, 100.0, True), (1.0, 600.0, 100.0, True), (2.0, 3.0, 100.0, True))
    assert made.between(0.0, 2.0) == (None, 2.0, None, False, "the energy counter went back")
    assert made.per_token(0.0, 2.0, 10).gross_j is None


def test_a_lost_card_is_no_figure_and_says_so():
    made = meter((0.0, 5.0, 100.0, True), (1.0, None, None, True, "the GPU is lost"), (2.0, 9.0, 100.0, True))
    assert made.between(0.0, 2.0).reason == "the GPU is lost"


def test_a_window_that_was_not_read_is_no_figure():
    made = counted()
    assert made.between(-5.0, 3.0).joules is None
    assert made.between(18.0, 25.0).joules is None
    assert not made.covers(25.0)
    assert made.covers(20.0)
    gap = meter((0.0, 1.0, 1.0, True), (30.0, 2.0, 1.0, True))
    assert gap.between(1.0, 20.0).reason == "nothing was read for 30 s"
    assert EnergyMeter().between(0.0, 1.0).joules is None


def test_no_token_and_no_idle_power_are_no_figures():
    made = meter(*((float(t), 100.0 * t, 100.0, True) for t in range(10)))
    assert made.per_token(0.0, 8.0, 0).gross_j is None
    per_token = made.per_token(0.0, 8.0, 8)
    assert (per_token.gross_j, per_token.net_j) == (pytest.approx(100.0), None)


def test_old_samples_go():
    made = meter((0.0, 0.0, 20.0, False))
    for t in range(1, int(KEPT_S) + 100):
        made.note(EnergySample(float(t), None, 60.0, False))
    assert made.idle_w == 60.0
    assert len(made._samples) <= KEPT_S + 1
