"""Which row takes the engine along: found among many, and not mistaken."""

import random

import pytest

from phitui.workbench.batch.poison_rows import PoisonRows


def hunt(rows, poison, window=64, other_deaths=0, seed=0):
    """Run rows on an engine that dies of `poison`, and of something else `other_deaths` times; returns the rows that
    were given up, and how often the engine died."""
    draw, suspects, given_up, done, deaths = random.Random(seed), PoisonRows(), [], set(), 0
    while len(done) + len(given_up) < len(rows):
        group = suspects.next_group(lambda key: key not in done and key not in given_up)
        apart = group is not None
        sent = group or [key for key in rows if key not in done and key not in given_up][:window]
        bad = [key for key in sent if key in poison]
        other = other_deaths > 0 and draw.random() < 0.5
        if bad or other:
            finished = sent[: draw.randint(0, sent.index(bad[0]))] if bad else []
            done.update(finished)
            other_deaths -= other and not bad
            deaths += 1
            left = [key for key in sent if key not in done]
            for key in suspects.died(left, apart):
                given_up.append(key)
                suspects.closed(key)
        else:
            done.update(sent)
            for key in sent:
                suspects.closed(key)
    return given_up, deaths


@pytest.mark.parametrize("seed", range(20))
def test_one_bad_row_among_many_is_found(seed):
    bad = random.Random(seed).randrange(200)
    given_up, deaths = hunt(list(range(200)), {bad}, seed=seed)
    assert given_up == [bad]
    assert deaths <= 2 + 6 + 3 + 2  # two in company, halves of at most 64 rows, two alone


def test_several_bad_rows_are_found():
    assert sorted(hunt(list(range(300)), {3, 4, 150, 299})[0]) == [3, 4, 150, 299]


@pytest.mark.parametrize("seed", range(20))
def test_deaths_that_no_row_is_the_cause_of_convict_none(seed):
    assert hunt(list(range(100)), set(), other_deaths=2, seed=seed)[0] == []


def test_a_row_that_gets_on_between_two_deaths_is_not_convicted():
    suspects = PoisonRows()
    for _ in range(2):
        suspects.died([5], apart=False)
    for _ in range(4):
        assert suspects.next_group(lambda key: True) == [5]
        suspects.got_on(5)
        assert suspects.died([5], apart=True) == []
    assert suspects.died([5], apart=True) == [5]
