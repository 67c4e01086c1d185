"""The search on simulated cards: it ends, in few probes, with sizes that the card can run, near the best."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace

import pytest
from simulated_card import GB, PHI3, Card, drive, search, solve, sweep

from phitui.autotune.answer import Knowledge
from phitui.autotune.memory import Shape
from phitui.autotune.probes import Goal, NothingFitsError
from phitui.autotune.search import confirm, explore, try_sizes


@pytest.mark.parametrize(
    ("prompt", "new"), [(128, 128), (256, 256), (512, 512), (1024, 1024), (3000, 1000), (30, 2000)]
)
@pytest.mark.parametrize("tile", [1, 16])
def test_a_still_card_is_solved_exactly(prompt: int, new: int, tile: int) -> None:
    card, goal = Card(1, tile=tile), Goal(prompt, new)
    answer = solve(card, goal)
    b_max, best, rates = sweep(Card(1, tile=tile), goal)
    assert b_max - 16 < answer.b_max <= b_max
    assert rates[answer.b_best] >= 0.95 * rates[best]
    assert card.over == []
    assert card.searched <= 7
    assert answer.kv_token_budget == answer.b_max * (prompt + new)
    assert answer.why


def test_it_begins_at_the_configured_batch() -> None:
    card = Card(1)
    solve(card, Goal(128, 128))
    assert card.probes[0].shape.batch == 26
    card = Card(1)
    solve(card, Goal(128, 128, start=40))
    assert card.probes[0].shape.batch == 40


def test_it_begins_lower_where_the_prior_says_so() -> None:
    card = Card(1, total_bytes=12 * GB)
    solve(card, Goal(1024, 1024))
    assert card.probes[0].shape.batch < 26
    assert card.over == []


def test_no_more_rows_than_are_of_use() -> None:
    card = Card(1, total_bytes=80 * GB)
    assert solve(card, Goal(64, 64, most=50)).b_max == 50
    assert max(probe.shape.batch for probe in card.probes) == 50


def test_an_optimum_between_powers_of_two_is_found() -> None:
    """Steps take twice the time from 250 rows on: 240 rows are better than 128, 256, and all that fit."""
    card, goal = Card(1, total_bytes=80 * GB, slow_from=250), Goal(128, 128)
    answer = solve(card, goal)
    _, best, rates = sweep(Card(1, total_bytes=80 * GB, slow_from=250), goal)
    assert best == 249
    assert 192 <= answer.b_best < 250
    assert rates[answer.b_best] >= 0.95 * rates[best]


def test_a_hump_beside_the_best_is_found():
    """Between 72 and 95 rows a step takes a tenth less: no fit knows, but a neighbour that is no power of two shows."""
    card, goal = Card(1, total_bytes=80 * GB, hump=range(72, 96), token_s=1e-6), Goal(256, 256, most=160)
    answer = solve(card, goal)
    _, best, rates = sweep(Card(1, total_bytes=80 * GB, hump=range(72, 96), token_s=1e-6), goal)
    assert best in range(72, 96)
    assert rates[answer.b_best] >= 0.95 * rates[best]
    neighbours = [probe.shape.batch for probe in card.probes if "neighbour" in probe.why]
    assert neighbours and all(size & (size - 1) for size in neighbours)


def test_what_decides_is_repeated_and_the_spread_is_told():
    card, goal = Card(7, time_noise=0.03), Goal(256, 256)
    answer = solve(card, goal)
    assert answer.measurements == 3
    assert answer.spread is not None and 0 < answer.spread < 0.1 * answer.tokens_per_s
    again = [probe.shape.batch for probe in card.probes if probe.again]
    assert again.count(answer.b_best) == 2 and len(again) <= 6
    assert again[: len(again) // 2] == again[len(again) // 2 :]  # in turn, not one after the other
    assert {probe.shape for probe in card.probes if probe.again} <= {p.shape for p in card.probes if not p.again}
    once = solve(Card(7), Goal(256, 256, repeats=0))
    assert (once.measurements, once.spread) == (1, None)


def test_memory_that_spills_bounds_the_batch() -> None:
    """No OOM, but steps that take five times as long: that is found without the limit's help."""
    card = Card(3, scale=1.3, limit_share=1.2, spills=True)
    answer = solve(card, Goal(256, 256))
    assert card.fits(Shape(answer.b_max, 256, 256))


def test_out_of_memory_is_a_data_point() -> None:
    card = Card(5, scale=1.6, limit_share=1.0, memory_noise=0.01)
    answer = solve(card, Goal(256, 256))
    assert card.fits(Shape(answer.b_max, 256, 256))
    b_max, _, _ = sweep(Card(5, scale=1.6, limit_share=1.0), Goal(256, 256))
    assert answer.b_max >= 0.9 * b_max


def test_a_latency_to_keep() -> None:
    card, goal = Card(1), Goal(256, 256, slo_itl_s=0.02)
    answer = solve(card, goal)
    assert answer.b_slo is not None
    step = card.step_s(answer.b_slo, 512) * 1.1
    assert step <= 0.0205 and card.step_s(answer.b_slo + 3, 512) * 1.1 > 0.0195
    assert solve(Card(1), Goal(256, 256, slo_itl_s=1e-4)).b_slo is None
    assert solve(Card(1), Goal(256, 256)).b_slo is None


def test_the_table_has_more_rows_for_shorter_texts() -> None:
    table = solve(Card(1), Goal(1024, 1024)).table
    assert [row.total_tokens for row in table] == [256, 512, 1024, 2048]
    assert sorted((row.b_max for row in table), reverse=True) == [row.b_max for row in table]
    assert all(1 <= row.b_best <= row.b_max for row in table)


def test_nothing_fits() -> None:
    with pytest.raises(
        NothingFitsError,
        match=r"not even one row of 512 tokens: the weights need 3.98 GiB, the row 0.\d\d GiB more, 3.54 GiB may be",
    ):
        solve(Card(1, total_bytes=4 * GB), Goal(256, 256))
    # The prior says that it fits, the card that it does not.
    with pytest.raises(NothingFitsError, match="out of memory"):
        solve(Card(1, total_bytes=6 * GB, limit_share=1.5, scale=60), Goal(256, 256))


def test_a_start_far_above_what_runs_ends_with_one_row() -> None:
    """Every probe fails: the last one is of one row, and nothing is fitted to no measurement."""
    card = Card(1, scale=400, limit_share=1.5)
    with pytest.raises(NothingFitsError, match="not even one row"):
        solve(card, Goal(64, 64, start=1024))
    assert card.searched == 9 and card.probes[-1].shape.batch == 1


def test_a_card_that_others_fill_half_way() -> None:
    """Others take all that the weights leave while the search is under way: no row fits any more."""
    card = Card(1, total_bytes=24 * GB)
    asked = search(Goal(512, 512), PHI3, card.rest_bytes, card.limit_bytes)
    probe = next(asked)
    with pytest.raises(NothingFitsError, match="not even one row"):
        while True:
            if len(card.probes) == 3:
                card.others_bytes = 20 * GB
            probe = asked.send(card.run(probe))


def test_sizes_to_compare_where_not_one_row_fits() -> None:
    card = Card(1, total_bytes=4 * GB)
    know = Knowledge(Goal(512, 512), PHI3, card.rest_bytes, card.limit_bytes)
    with pytest.raises(NothingFitsError, match="not even one row"):
        next(try_sizes(know, [26, 8]))


def test_no_repetition_goes_past_a_limit_that_has_fallen() -> None:
    card = Card(1)
    know = Knowledge(Goal(512, 512), PHI3, card.rest_bytes, card.limit_bytes)
    drive(card, explore(know))
    know.limit_bytes = int(0.5 * card.limit_bytes)
    card.others_bytes = card.total_bytes - int(know.limit_bytes / card.limit_share) - 1
    card.over.clear()
    answer = drive(card, confirm(know))
    assert card.over == [] and card.fits(Shape(answer.b_max, 512, 512))


def test_the_answer_has_always_run_often_enough() -> None:
    """Where the mean of the repetitions puts another size first, that one is repeated as well."""
    for seed in range(200):
        answer = solve(Card(seed, time_noise=0.06), Goal(256, 256))
        assert answer.measurements >= 3 and answer.spread is not None, seed


def test_a_cap_that_binds_is_said() -> None:
    assert "capped at 50 rows" in solve(Card(1, total_bytes=80 * GB), Goal(64, 64, most=50)).why
    answer = solve(Card(1, total_bytes=139 * GB), Goal(64, 64))
    assert answer.b_max > 1024 and "capped" not in answer.why


def test_probes_and_time_are_bounded() -> None:
    card = Card(1, total_bytes=80 * GB)
    assert len(solve(card, Goal(128, 128, most_probes=3, repeats=0)).probes) == 3
    card = Card(1, total_bytes=80 * GB)
    answer = solve(card, Goal(128, 128, budget_s=1.0))
    assert card.seconds - answer.probes[-1].outcome.seconds < 1.0


def test_it_can_be_left_at_any_moment() -> None:
    card = Card(1)
    asked = search(Goal(256, 256), PHI3, card.rest_bytes, card.limit_bytes)
    asked.send(card.run(next(asked)))
    asked.close()


def test_a_thousand_cards() -> None:
    """Noise, tiles, spills, holes, and other programs that come and go: it always ends, never goes past the limit that
    it knows of, and never answers with a size that the card refuses."""
    repeated, shares, rates_found = [], [], []
    for seed in range(1000):
        card, goal = _any_card(seed)
        try:
            answer = solve(card, goal)
        except NothingFitsError:
            assert card.true_peak(goal.shape(2)) > 0.8 * card.limit_bytes
            continue
        repeated.append(len(card.probes) - card.searched)
        assert card.knowingly == [], seed
        whole = goal.shape(answer.b_max)
        assert card.fits(whole), seed
        if not card.others_move and not card.fragments:  # nothing but noise, which the probe has seen once
            assert card.true_peak(whole) <= 1.001 * card.limit_bytes, seed
            assert card.true_peak(whole) * (1 + 2 * card.memory_noise) <= card.total_bytes - card.others_bytes, seed
        b_max, best, rates = sweep(card, goal)
        shares.append(1.0 if b_max - answer.b_max < 16 else answer.b_max / b_max)
        rates_found.append(rates[min(answer.b_best, b_max)] / rates[best])
    assert len(repeated) > 950
    assert max(repeated) <= 12
    assert sorted(shares)[int(0.05 * len(shares))] >= 0.85
    assert sorted(rates_found)[len(rates_found) // 2] >= 0.97
    assert sorted(rates_found)[int(0.10 * len(rates_found))] >= 0.90


def test_a_handful_of_probes_is_enough() -> None:
    """How many the search makes where nothing stops it, repetitions apart."""
    made = []
    for seed in range(1000):
        card, goal = _any_card(seed)
        with suppress(NothingFitsError):
            solve(card, replace(goal, most_probes=40))
            made.append(card.searched)
    made.sort()
    assert made[len(made) // 2] <= 7
    assert made[int(0.99 * len(made))] <= 9


def _any_card(seed: int) -> tuple[Card, Goal]:
    dice = random.Random(seed)
    card = Card(
        seed,
        total_bytes=dice.choice((8, 12, 16, 24, 48, 80)) * GB,
        scale=dice.uniform(0.8, 1.35),
        memory_noise=dice.uniform(0, 0.02),
        time_noise=dice.uniform(0, 0.04),
        others_bytes=int(dice.uniform(0, 2) * GB),
        others_move=dice.choice((0, 0, 200_000_000, 600_000_000)),
        tile=dice.choice((1, 16)),
        fixed_s=dice.uniform(2e-3, 3e-2),
        row_s=dice.uniform(1e-5, 1e-3),
        token_s=dice.uniform(0, 2e-6),
        prefill_token_s=dice.uniform(5e-6, 2e-4),
        spills=dice.random() < 0.2,
        fragments=dice.choice((0, 0, 0, 0.05, 0.15)),
    )
    return card, Goal(dice.choice((32, 128, 256, 512, 1024, 2048)), dice.choice((32, 128, 256, 512, 1024, 1500)))
