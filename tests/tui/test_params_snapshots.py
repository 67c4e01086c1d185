"""Pictures of the panel of parameters, and of answers side by side."""

import pytest
from frozen_console import FrozenConsole, noon
from pictured import each_look
from support.resting import at_rest
from support.waiting import until_shown as until

from phitui.engine.protocol.api import Delta, Finished, Started, Timings, Usage
from phitui.tui.screens.parameters import ParametersScreen
from phitui.tui.screens.several import AnswerColumn, SeveralScreen


@each_look
def test_the_panel(snap_compare, size, theme):
    async def fill(pilot):
        app = pilot.app
        await until(pilot, lambda: app._early is None)
        app.load()
        app.parameters.set_system("You are brief.\nYou answer in one sentence.")
        app.parameters.set_parameter("temperature", "0.9")
        app.parameters.set_parameter("stop", r"END, \nUser:")
        await pilot.press("f7")
        await until(pilot, lambda: isinstance(app.screen, ParametersScreen) and app.screen.focused is not None)
        await pilot.press("tab", "tab", *"none")
        await at_rest(pilot)

    assert snap_compare(FrozenConsole(theme), run_before=fill, terminal_size=size)


@each_look
def test_answers_side_by_side(snap_compare, size, theme):
    async def fill(pilot):
        app = pilot.app
        await until(pilot, lambda: app._early is None)
        app.load()
        exchange = app.answer("Name a river.", "The Nile.")
        app.console_screen.branching.several(exchange, 3)
        await until(pilot, lambda: isinstance(app.screen, SeveralScreen))
        app.console_screen.chat._request_id = 1
        for one in app.console_screen.chat.on_its_way:
            one.created = noon()
        for number, text in enumerate(("The Congo, in Africa.", "The Rhine.\n\nIt is in Europe.", "The")):
            app.workbench.take(Started(1 + number, 24))
            app.workbench.take(Delta(1 + number, text, 12 + number))
        app.workbench.take(Finished(2, "stop", Usage(24, 13), Timings(38.2, 11.1, 1090.0, 88.0)))
        await pilot.press("right")
        await at_rest(pilot)

    assert snap_compare(FrozenConsole(theme), run_before=fill, terminal_size=size)


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (200, 50)], ids=["120x40", "80x24", "200x50"])
def test_eight_answers_side_by_side(snap_compare, size):
    async def fill(pilot):
        app = pilot.app
        await until(pilot, lambda: app._early is None)
        app.load()
        app.console_screen.branching.several(app.answer("Name a river.", "The Nile."), 8)
        await until(pilot, lambda: isinstance(app.screen, SeveralScreen))
        app.console_screen.chat._request_id = 1
        for number in range(1, 9):
            app.workbench.take(Started(number, 24))
            app.workbench.take(
                Delta(number, f"River number {number} of the eight, which is in {number} countries.", 12)
            )
        await until(pilot, lambda: len(app.screen.query(AnswerColumn)) == 8)
        await at_rest(pilot)
        await pilot.press("left")  # the last one
        await until(pilot, lambda: app.screen._at == 7)
        await at_rest(pilot)
        view = app.screen.query_one("#answers")
        view.scroll_end(animate=False, immediate=True)  # where the key leads; the layout may come after the key
        await until(pilot, lambda: view.scroll_y == view.max_scroll_y)
        await at_rest(pilot)

    assert snap_compare(FrozenConsole(), run_before=fill, terminal_size=size)
