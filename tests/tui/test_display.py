"""Outside text that has ended consoles: through every widget that shows it, nothing breaks."""

import random

import pytest
from frozen_console import FrozenConsole
from hypothesis import given
from hypothesis import strategies as st
from textual.content import Content

from phitui.tui.terminal.display import displayable
from phitui.tui.widgets.prompt import Prompt

NASTY = [
    *"ab *_`[]()#|>\n\t-.\\<&",
    *("\u200d", "\ufe0f", "\u200c", "漢", "👩", "🚀", "❤", "\u0301", "न", "\u094d", "🏽", "🇩", "ﷺ"),
    *("\x1b[31m", "\x9b2J", "\ud800", "\u202e"),
    *("```", "| a |\n|---|\n", "![x](y)", "<b>", "[red]", "[/]", "&#x202e;", "&zwj;", "&#27;"),
]


@pytest.mark.parametrize("text", ["👩\u200d🚀", "👩🏽\u200d🚀", "❤\ufe0f\u200d🔥", "क्\u200dष", "plain"])
def test_joiners_that_join_stay(text):
    assert displayable(text) == text


@pytest.mark.parametrize("text", ["\u200da", " \u200d漢", "a\u200d", "*a*\u200db", "a\u200d\u200d", "\n\u200d🚀"])
def test_joiners_that_join_nothing_go(text):
    assert displayable(text) == text.replace("\u200d", "")


@given(st.lists(st.sampled_from(NASTY), max_size=40), st.integers(1, 40))
def test_what_is_displayable_can_be_wrapped_to_any_width(pieces, width):
    Content(displayable("".join(pieces))).wrap(width)


@pytest.mark.parametrize("seed", range(4))
async def test_the_console_survives_any_answer_and_any_paste(seed):
    chance = random.Random(seed)
    app = FrozenConsole()
    async with app.run_test(size=(60, 24)) as pilot:
        while app._early is not None:
            await pilot.pause(0.05)
        app.load()
        for _ in range(12):
            text = "".join(chance.choice(NASTY) for _ in range(chance.randint(1, 120)))
            app.answer("prompt " + text.replace("\ud800", ""), text)
            app.screen.query_one(Prompt).replace(displayable(text), (0, 0), (0, 0))
            await pilot.pause(0.15)
        shown = app.screen._compositor.render_strips()
        assert not any(control in row.text for row in shown for control in ("\x1b", "\x9b", "\u202e"))
