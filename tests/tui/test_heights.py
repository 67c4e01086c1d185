"""Sums of heights are those of a plain list."""

from hypothesis import given
from hypothesis import strategies as st

from phitui.tui.widgets.heights import Heights


@given(st.lists(st.integers(0, 60), max_size=600), st.data())
def test_as_a_plain_list(plain, data):
    heights = Heights()
    heights.replace_from(0, plain)
    if plain:
        at = data.draw(st.integers(0, len(plain) - 1))
        plain[at] = heights[at] = data.draw(st.integers(0, 60))
        start = data.draw(st.integers(0, len(plain)))
        plain[start:] = more = data.draw(st.lists(st.integers(0, 60), max_size=300))
        heights.replace_from(start, more)
    first = data.draw(st.integers(0, len(plain)))
    end = data.draw(st.integers(first, len(plain)))
    assert len(heights) == len(plain) and heights.total == sum(plain)
    assert heights.between(first, end) == sum(plain[first:end])
    y = data.draw(st.integers(0, sum(plain) + 5))
    below = [i for i in range(len(plain)) if sum(plain[: i + 1]) > y]
    assert heights.index_at(y) == (below[0] if below else max(len(plain) - 1, 0))
