"""TTFT, TPOT, ITL and throughput of known token times, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phitui.engine.protocol.latency import decode_rate, gaps, output_rate, percentile, spread, tpot, ttft

# Two rows of a batch; the second stops early. Seconds since the batch was begun.
ROWS = [[0.5, 0.6, 0.8, 1.2], [0.5, 0.7, 0.8]]


def test_the_times_of_a_row():
    assert ttft(ROWS[0]) == 0.5
    assert tpot(ROWS[0]) == pytest.approx(0.7 / 3)
    assert tpot([0.5]) is None
    assert gaps(ROWS) == pytest.approx([0.1, 0.2, 0.4, 0.2, 0.1])


def test_throughput_with_and_without_prefill():
    assert output_rate(ROWS) == pytest.approx(7 / 1.2)
    assert decode_rate(ROWS) == pytest.approx(5 / 0.7)
    assert decode_rate([[0.5], [0.6]]) is None


def test_percentiles_are_nearest_ranks():
    hundred = [float(number) for number in range(100, 0, -1)]
    assert [percentile(hundred, share) for share in (0.5, 0.9, 0.95, 0.99, 1)] == [50, 90, 95, 99, 100]
    assert percentile([3.0], 0.99) == 3.0
    assert spread([2.0, 1.0, 6.0]) == (3.0, 2.0, 6.0, 6.0, 6.0, 3)
    assert spread([]) is None


@given(st.lists(st.floats(0.001, 10), min_size=2, max_size=50), st.floats(0.001, 5), st.integers(1, 8))
def test_the_figures_of_one_row_hang_together(steps, first, count):
    """e2e = TTFT + TPOT × (n - 1), and rows in lock-step decode at rows / TPOT."""
    row = [first]
    for step in steps:
        row.append(row[-1] + step)
    tokens = len(row)
    assert ttft(row) + tpot(row) * (tokens - 1) == pytest.approx(row[-1])
    assert sum(gaps([row])) / (tokens - 1) == pytest.approx(tpot(row))
    rows = [row] * count
    assert output_rate(rows) == pytest.approx(count * tokens / row[-1])
    assert decode_rate(rows) == pytest.approx(count / tpot(row))
