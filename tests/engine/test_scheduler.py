"""The scheduler's waves and the simulator that runs it: every row once, within limits, and cheaper than file order."""

import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator import Work, simulate

from phitui.engine.worker.batching.scheduler import Item, Limits, Scheduler
from phitui.engine.worker.batching.wave_cost import Need, WaveCost, cheapest_cuts, expected, shape, whole_s

# Measured on two cores with the demo model, and a card's: the tuner's fits in seconds.
CPU = WaveCost(0.025, 0.003, 0.000067, 0.02, 0.0023)
CARD = WaveCost(0.012, 0.0001, 0.000002, 0.01, 0.00012)
POLICIES = ("waves", "sorted", "in order")

items = st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200), st.sampled_from("ab")), max_size=60)


def anything(_):
    return True


def numbered(rows):
    return [Item(key, length, left, group) for key, (length, left, group) in enumerate(rows)]


def slowly(cost, needs, prefix=0):
    """A wave's seconds step by step, as CTranslate2 goes."""
    shortest = min(need.length for need in needs)
    seconds = cost.call_s + cost.prefill_s * len(needs) * (shortest - 1)
    ends = [need.length - shortest + need.left for need in needs]
    for step in range(int(max(ends))):
        alive = sum(end > step for end in ends)
        seconds += cost.fixed_s + alive * (cost.row_s + cost.token_s * (prefix + shortest - 1 + step + 0.5))
    return seconds


def workload(seed, count=120, words=80, makes=60, limit=None):
    draw = random.Random(seed)

    def one(median, sigma):
        return max(1, min(600, round(median * draw.lognormvariate(0, sigma))))

    rows = [(one(words, 0.7), one(makes, 0.9)) for _ in range(count)]
    return [Work(prompt, limit or made, min(made, limit or made)) for prompt, made in rows]


@given(items.filter(bool), st.sampled_from([CPU, CARD]), st.integers(0, 50))
def test_the_cost_in_closed_form_is_that_of_the_steps(rows, cost, prefix):
    needs = [Need(length, left) for length, left, _ in rows]
    assert whole_s(cost, needs, prefix) == pytest.approx(slowly(cost, needs, prefix))


def test_the_memory_of_a_wave_is_that_of_its_fullest_step():
    needs = [Need(10, 5), Need(12, 20), Need(10, 30)]
    # Together 9 are read; the rows end at steps 5, 22 and 30.
    assert shape(needs) == (3, 9, max(3 * 15, 2 * 32, 1 * 40))
    assert shape(needs, prefix=100) == (3, 109, max(3 * 115, 2 * 132, 1 * 140))


@given(items, st.sampled_from(POLICIES), st.integers(1, 9), st.integers(1, 3), st.sampled_from([CPU, CARD, None]))
def test_every_row_is_in_one_wave_with_its_own_group_and_within_the_limits(rows, policy, most, workers, cost):
    scheduler = Scheduler(policy, workers, cost)
    scheduler.add(numbered(rows))
    limits = Limits(most, lambda wave: wave.peak_tokens <= 1000)
    seen = []
    while wave := scheduler.take(limits):
        assert len(wave) <= most
        assert len({item.group for item in wave}) == 1
        assert shape([Need(item.length, item.left) for item in wave]).peak_tokens <= 1000
        seen += [item.key for item in wave]
    assert sorted(seen) == list(range(len(rows)))
    assert len(scheduler) == 0


def test_a_row_that_does_not_fit_waits_and_is_not_lost():
    scheduler = Scheduler("waves", 1, CPU)
    scheduler.add([Item(0, 500, 600)])
    assert scheduler.take(Limits(4, lambda wave: wave.peak_tokens <= 1000)) == []
    assert len(scheduler) == 1
    assert [item.key for item in scheduler.take_alone()] == [0]
    assert scheduler.take_alone() == []


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("place", [0, 30, 59])
def test_rows_that_fit_pass_one_that_does_not_and_stay_together(policy, place):
    """One large row and 59 small ones at 26: three waves and the large row alone, at whatever place it stands."""
    scheduler = Scheduler(policy, 1, CPU)
    scheduler.add([Item(key, *((900, 600) if key == place else (20, 30))) for key in range(60)])
    limits, waves = Limits(26, lambda wave: wave.peak_tokens <= 1400), []
    while wave := scheduler.take(limits) or scheduler.take_alone():
        waves.append([item.key for item in wave])
    assert waves[-1] == [place]
    assert len(waves) == 4 and sum(map(len, waves)) == 60


def test_a_row_that_did_not_fit_comes_back_when_there_is_room():
    scheduler = Scheduler("waves", 1, CPU)
    scheduler.add([Item(0, 500, 600), Item(1, 20, 30)])
    tight, wide = Limits(4, lambda wave: wave.peak_tokens <= 1000), Limits(4, anything)
    assert [item.key for item in scheduler.take(tight)] == [1]
    assert scheduler.take(tight) == []
    assert [item.key for item in scheduler.take(wide)] == [0]


def test_halves_of_a_wave_that_failed_are_next_and_just_so():
    scheduler = Scheduler("waves", 1, CPU)
    scheduler.add([Item(key, 10 + key, 10) for key in range(6)])
    failed = scheduler.take(Limits(4, anything))
    scheduler.first(failed[2:])
    scheduler.first(failed[:2])
    halves = [scheduler.take(Limits(4, anything)) for _ in range(2)]
    assert sorted(map(tuple, halves)) == sorted([tuple(failed[:2]), tuple(failed[2:])])


def test_in_order_is_the_order_of_the_rows_and_sorted_is_the_longest_first():
    rows = [Item(key, length, 5) for key, length in enumerate((3, 9, 1, 7, 5))]
    for policy, keys in (("in order", [0, 1, 2, 3, 4]), ("sorted", [1, 3, 4, 0, 2])):
        scheduler = Scheduler(policy, 1, CPU)
        scheduler.add(rows)
        taken = [item.key for _ in range(3) for item in scheduler.take(Limits(2, anything))]
        assert taken == keys


def test_few_rows_are_shared_out_evenly_to_all_workers():
    scheduler = Scheduler("waves", 2, CPU)
    scheduler.add([Item(key, 20, 20) for key in range(10)])
    assert [len(scheduler.take(Limits(26, anything))) for _ in range(2)] == [5, 5]


def test_rows_of_like_limits_run_together():
    """A row of 400 tokens beside seven of 20 would leave seven places empty for 380 steps."""
    scheduler = Scheduler("waves", 1, CPU)
    scheduler.add([Item(key, 30 + key % 3, 400 if key % 4 == 0 else 20) for key in range(32)])
    while wave := scheduler.take(Limits(8, anything)):
        assert len({item.left for item in wave}) == 1


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=9), st.integers(1, 4))
def test_the_cuts_are_the_cheapest_there_are(rows, most):
    needs = [Need(*row) for row in rows]

    def best(start):
        if start == len(needs):
            return 0.0
        sizes = range(1, min(most, len(needs) - start) + 1)
        return min(whole_s(CPU, needs[start : start + size]) + best(start + size) for size in sizes)

    sizes, total, start = cheapest_cuts(CPU, needs, most), 0.0, 0
    for size in sizes:
        total += whole_s(CPU, needs[start : start + size])
        start += size
    assert (start, total) == (len(needs), pytest.approx(best(0)))


def test_survivors_are_pooled_where_a_step_costs_more_than_reading_again():
    waiting = [Item(key, 60, 200) for key in range(100, 160)]
    survivor = [Item(0, 60, 200)]
    for cost, stops in ((CARD, True), (WaveCost(0.001, 0.01, 0.0, 0.0, 0.05), False)):
        scheduler = Scheduler("waves", 1, cost)
        scheduler.add(waiting)
        assert not scheduler.should_stop(survivor, 26)  # limits are what ends rows, as far as is known
        scheduler.learn(1000, True)
        assert scheduler.should_stop(survivor, 26) == stops
    alone = Scheduler("waves", 1, CARD)
    alone.learn(1000, True)
    assert not alone.should_stop(survivor, 26)  # nobody to be pooled with
    unmeasured = Scheduler("waves", 1, None)
    unmeasured.add(waiting)
    unmeasured.learn(1000, True)
    assert not unmeasured.should_stop(survivor, 26)


def test_expected_tokens_of_rows_that_end_by_themselves():
    assert expected(100, 0.0) == 100
    assert expected(10**6, 0.02) == pytest.approx(50)
    assert expected(1, 0.02) == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(POLICIES), st.integers(1, 12), st.integers(1, 3), st.booleans())
def test_the_simulator_ends_every_row_once(seed, policy, most, workers, by_itself):
    """It says so itself: an AssertionError there fails this test."""
    work = workload(seed, count=seed % 40 + 1, limit=300 if by_itself else None)
    made = simulate(work, policy, Limits(most, anything), workers, CARD)
    assert made.tokens == sum(one.makes for one in work)
    assert made.seconds > 0


@pytest.mark.parametrize(
    ("cost", "workers", "limit", "over_sorted", "over_order"),
    [
        (CPU, 2, None, 1.04, 1.25),
        (CPU, 2, 300, 0.97, 1.1),
        (CARD, 1, None, 1.3, 1.5),
        (CARD, 1, 300, 1.1, 1.2),
    ],
)
def test_waves_are_faster_than_the_engine_alone(cost, workers, limit, over_sorted, over_order):
    gains = []
    for seed in range(6):
        work = workload(seed, limit=limit)
        seconds = [simulate(work, policy, Limits(13, anything), workers, cost).seconds for policy in POLICIES]
        gains.append((seconds[1] / seconds[0], seconds[2] / seconds[0]))
    assert statistics.median(gain for gain, _ in gains) > over_sorted
    assert statistics.median(gain for _, gain in gains) > over_order
