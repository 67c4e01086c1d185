"""The prompt: what comes in is drawn without controls, and is sent as it came until it is edited."""

import pytest
from frozen_console import FrozenConsole

from phitui.tui.widgets.prompt import Prompt

RAW = "log \x1b[31mred\x1b[0m\x1b]0;owned\x07\r\nnext\u202e"
CLEAN = "log red\nnext\u202e"  # which is drawn as something that has no width


async def sent_after(pilot, *keys):
    app = pilot.app
    await pilot.press(*keys, "enter")
    await pilot.pause()
    return [exchange.prompt for exchange in app.console_screen.chat.exchanges]


async def opened(pilot):
    await pilot.pause()
    pilot.app.load()
    return pilot.app.console_screen.query_one(Prompt)


@pytest.mark.parametrize("way", ["put back", "replaced", "draft"])
async def test_a_text_with_controls_is_drawn_without_and_sent_with_them(way):
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        prompt = await opened(pilot)
        {"put back": prompt.put_back, "replaced": prompt.replace_text, "draft": lambda t: prompt.remember([], t)}[way](
            RAW
        )
        assert prompt.text == CLEAN and prompt.whole == RAW
        assert await sent_after(pilot) == [RAW]
        assert prompt.whole == ""


async def test_the_history_keeps_what_was_sent_and_an_edit_is_what_is_seen():
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        prompt = await opened(pilot)
        prompt.remember([RAW], "")
        await pilot.press("up")
        assert prompt.text == CLEAN and prompt.whole == RAW
        await pilot.press("down", "up")
        assert await sent_after(pilot, "!") == [CLEAN + "!"]


async def test_what_is_typed_or_pasted_into_it_has_no_controls():
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        prompt = await opened(pilot)
        prompt.insert(RAW)
        assert prompt.text == prompt.whole == CLEAN


async def test_a_prompt_of_controls_alone_is_gone_once_it_is_sent_or_left():
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        prompt = await opened(pilot)
        for leave in (prompt.action_send, prompt.clear):
            prompt.put_back("\x1b[31m")
            assert (prompt.text, prompt.whole) == ("", "\x1b[31m")
            leave()
            assert prompt.whole == ""
