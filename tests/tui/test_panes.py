"""One key leads to each screen from each other one; a question has to be answered first."""

import pytest
from frozen_console import FrozenConsole
from support.waiting import until_shown as until

from phitui.tui.screens.batches import BatchScreen
from phitui.tui.screens.help import HelpScreen
from phitui.tui.screens.models import ModelsScreen
from phitui.tui.screens.monitor import MonitorScreen
from phitui.tui.screens.parameters import ParametersScreen
from phitui.tui.screens.sessions import SessionsScreen
from phitui.tui.screens.tuner import TunerScreen
from phitui.tui.widgets.prompt import Prompt

SCREENS = {
    "f2": ModelsScreen, "f3": TunerScreen, "f4": MonitorScreen, "f5": BatchScreen, "f6": SessionsScreen,
    "f7": ParametersScreen, "f1": HelpScreen,
}  # fmt: skip


async def there(pilot, key):
    await pilot.press(key)
    await until(pilot, lambda: isinstance(pilot.app.screen, SCREENS[key]) and pilot.app.screen.is_mounted)
    await pilot.pause()


@pytest.mark.parametrize("start", SCREENS)
async def test_from_each_screen_to_each_other_one(start):
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.load()
        for key in SCREENS:
            if key in (start, "f1"):
                continue
            await there(pilot, start)
            await there(pilot, key)
            over_tuner = start == "f3" and key == "f4"  # which stays below it
            assert len(app.screen_stack) == (3 if over_tuner else 2)
            await pilot.press("alt+p")
            await until(pilot, lambda: app.screen is app.console_screen)
            assert app.console_screen.query_one(Prompt).has_focus


async def test_alt_m_from_wherever_and_not_twice():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        for key in ("f6", "f7"):
            await there(pilot, key)
            await pilot.press("alt+m", "alt+m")
            await until(pilot, lambda: app.screen is app.monitor)
            assert len(app.screen_stack) == 2


async def test_a_question_has_to_be_answered_first():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await there(pilot, "f6")
        await pilot.press("i")
        await until(pilot, lambda: len(app.screen_stack) == 3)
        await pilot.press(*"/tmp/x", "f2")
        await pilot.pause()
        assert len(app.screen_stack) == 3
        assert any("Answer what is asked first" in one.message for one in app._notifications)


async def test_a_rebound_key_leads_there_but_a_letter_is_still_typed():
    app = FrozenConsole(keys={"console.models": "x, ctrl+g"})
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await there(pilot, "f1")
        await pilot.press("x")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("ctrl+g")
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen))


async def test_what_the_palette_offers_on_another_screen_is_done():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        for key, screen in (("F2", ModelsScreen), ("F6", SessionsScreen), ("F5", BatchScreen)):
            await there(pilot, "f7")
            offered = {one.help: one.callback for one in app.get_system_commands(app.screen)}
            await offered[key]()
            await until(pilot, lambda wanted=screen: isinstance(app.screen, wanted) and app.screen.is_mounted)
            await pilot.pause()
            assert len(app.screen_stack) == 2
