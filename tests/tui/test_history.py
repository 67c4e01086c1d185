"""Walking through earlier prompts."""

from hypothesis import given
from hypothesis import strategies as st

from phitui.tui.widgets.history import PromptHistory


def test_back_and_forth_with_the_draft_kept():
    history = PromptHistory(10)
    history.add("one")
    history.add("two")
    assert history.older("draft") == "two"
    assert history.older("two") == "one"
    assert history.older("one") is None
    assert history.newer() == "two"
    assert history.newer() == "draft"
    assert history.newer() is None


def test_the_same_prompt_twice_is_one_entry_and_old_ones_fall_off():
    history = PromptHistory(2)
    for prompt in ["a", "b", "b", "c"]:
        history.add(prompt)
    assert [history.older(""), history.older(""), history.older("")] == ["c", "b", None]


def test_a_size_of_none_keeps_none():
    history = PromptHistory(0)
    history.add("a")
    assert history.older("") is None


@given(st.lists(st.one_of(st.text(max_size=3), st.sampled_from([None, True]))))
def test_any_walk_stays_within_the_entries(steps):
    history = PromptHistory(5)
    for step in steps:
        if step is None:
            history.older("draft")
        elif step is True:
            history.newer()
        else:
            history.add(step)
    while history.newer() is not None:
        pass
    assert history.newer() is None
