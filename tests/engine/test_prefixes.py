"""Which common beginning of prompts is read once."""

from hypothesis import given
from hypothesis import strategies as st

from phitui.engine.worker.batching.prefixes import Prefixes, best

SYSTEM = [f"s{place}" for place in range(40)]
OTHER = [f"o{place}" for place in range(40)]


def prompts(beginning, count, behind=5):
    return [[*beginning, *(f"{row}.{place}" for place in range(behind))] for row in range(count)]


def test_what_all_begin_with_is_read_once():
    assert Prefixes().choose(prompts(SYSTEM, 8), 0) == SYSTEM


def test_one_row_with_another_beginning_does_not_keep_the_others_from_theirs():
    assert Prefixes().choose([*prompts(SYSTEM, 30), *prompts(OTHER, 1), ["short"]], 0) == SYSTEM


def test_the_beginning_with_the_most_tokens_over_all_rows_is_taken():
    """20 rows share 40 tokens, all 24 of them 30: 800 tokens against 720."""
    some, rest = prompts(SYSTEM, 20), prompts(SYSTEM[:30], 4, behind=9)
    assert Prefixes().choose(some + rest, 0) == SYSTEM
    assert Prefixes().choose(some[:13] + rest * 2, 0) == SYSTEM[:30]


def test_a_beginning_of_few_rows_or_few_tokens_is_not_worth_it():
    assert Prefixes().choose([*prompts(SYSTEM, 4), *prompts(OTHER, 3), *prompts([], 3)], 0) == []
    assert Prefixes().choose(prompts(SYSTEM[:15], 20), 0) == []
    assert Prefixes().choose(prompts(SYSTEM, 1), 0) == []


def test_two_tokens_stand_behind_it_in_every_row():
    assert Prefixes().choose([SYSTEM] * 4, 0) == SYSTEM[:38]
    assert Prefixes().choose([*prompts(SYSTEM, 5), SYSTEM, SYSTEM[:20]], 0) == SYSTEM[:38]


def test_what_is_kept_is_bounded_and_what_is_kept_already_costs_nothing():
    prefixes = Prefixes()
    long = [f"l{place}" for place in range(5000)]
    assert prefixes.choose(prompts(long, 3), 0) == long[:4096]
    assert prefixes.tokens == 4096
    assert prefixes.choose(prompts(SYSTEM, 3), 0) == []  # no room is left
    assert prefixes.choose(prompts(long, 3), 0) == long[:4096]
    prefixes.forget()
    assert prefixes.choose(prompts(SYSTEM, 3), 300) == SYSTEM[:30]  # a tenth of the budget
    assert prefixes.tokens == 30


rows = st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=12), min_size=1, max_size=12)


@given(rows, st.integers(0, 12))
def test_it_is_the_best_of_all_beginnings(found, longest):
    def count(prefix):
        return sum(row[: len(prefix)] == prefix and len(row) >= len(prefix) + 2 for row in found)

    beginnings = [row[:length] for row in found for length in range(1, longest + 1)]
    values = [count(one) * len(one) for one in beginnings if count(one) >= max(2, len(found) / 2)]
    many, prefix = best(found, longest)
    assert many * len(prefix) == max(values, default=0)
    assert not prefix or count(list(prefix)) == many
