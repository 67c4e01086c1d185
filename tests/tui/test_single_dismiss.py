"""Keys that come in one burst: a screen is left once."""

from frozen_console import FrozenConsole
from test_console_screen import ready, until
from textual.widgets import Input

from phitui.tui.widgets.dialogs import Ask
from phitui.tui.widgets.single_dismiss import Palette


async def test_a_line_that_was_taken_and_left_in_one_burst_takes_nothing_else_along():
    app, answers = FrozenConsole(), []
    async with app.run_test() as pilot:
        await ready(pilot)
        app.push_screen(Ask("What?", "this", 10), answers.append)
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.query(Input))
        ask = app.screen
        ask.query_one(Input).post_message(Input.Submitted(ask.query_one(Input), "this"))
        ask.action_cancel()
        await pilot.pause()
        assert answers == [None] and app.screen is app.console_screen


async def test_the_palette_below_help_takes_nothing_off():
    app = FrozenConsole()
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("ctrl+p")
        palette = app.screen
        assert isinstance(palette, Palette)
        await pilot.press("f1")
        above = app.screen
        await palette.dismiss()
        assert app.screen is above is not palette
        await pilot.press("escape", "escape")
        await palette.dismiss()
        assert app.screen is app.console_screen
