"""Keys in the last line are whole or not there."""

import itertools

import pytest
from textual.app import App
from textual.widgets._footer import FooterKey

from phitui.tui.widgets.key_footer import KeyFooter

ALL = [*(f"f{number} Number {number}" for number in range(1, 11)), "^x X"]


class Keys(App):
    BINDINGS = [(f"f{number}", f"note({number})", f"Number {number}") for number in range(1, 11)] + [
        ("ctrl+x", "quit", "X")
    ]

    def compose(self):
        yield KeyFooter()


def shown(app):
    """(text, first column, column behind it) of the keys, the palette's last."""
    keys = sorted(app.query(FooterKey), key=lambda key: key.region.x)
    return [(str(key.render()).strip(), key.region.x, key.region.right) for key in keys]


async def settled(pilot):
    for _ in range(4):
        await pilot.pause()


@pytest.mark.parametrize("columns", [30, 47, 80, 119, 200])
async def test_no_key_is_cut_off(columns):
    async with Keys().run_test(size=(columns, 10)) as pilot:
        await settled(pilot)
        keys = shown(pilot.app)
        palette = 1 if keys[-1][0] == "^p palette" else 0  # goes before a key that leads to another screen
        assert keys[-1][2] - (1 - palette) <= columns and palette == (columns >= 200)
        for (_, _, end), (_, begin, _) in itertools.pairwise(keys):
            assert end - 1 <= begin  # the space behind a word
        assert [text for text, _, _ in keys[: len(keys) - palette]] == ALL[: len(keys) - palette]
        assert columns < 200 or len(keys) == len(ALL) + 1


class Mixed(App):
    BINDINGS = (("x", "quit", "Leave"), ("f2", "note(2)", "Models"), ("y", "note(1)", "Yes"), ("f1", "help", "Help"))

    def compose(self):
        yield KeyFooter()


async def test_help_comes_first_then_what_letters_do_then_other_screens():
    async with Mixed().run_test(size=(60, 10)) as pilot:
        await settled(pilot)
        texts = [text for text, _, _ in shown(pilot.app)]
        assert texts == ["f1 Help", "x Leave", "y Yes", "f2 Models", "^p palette"]


async def test_a_wider_terminal_has_more_of_them():
    async with Keys().run_test(size=(40, 10)) as pilot:
        await settled(pilot)
        few = len(shown(pilot.app))
        await pilot.resize_terminal(100, 10)
        await settled(pilot)
        more = len(shown(pilot.app))
        await pilot.resize_terminal(40, 10)
        await settled(pilot)
        assert few < more and len(shown(pilot.app)) == few


async def test_a_short_key_does_not_take_the_place_of_a_long_one():
    async with Keys().run_test(size=(60, 10)) as pilot:
        await settled(pilot)
        assert not any(text == "^x X" for text, _, _ in shown(pilot.app))
