"""The panel of the chat's parameters, driven by keys, with real files behind it."""

import stat

import pytest
from frozen_console import FrozenConsole
from support.resting import painted_first
from support.waiting import until_shown as until
from textual.widgets import Input, OptionList, TextArea

from phitui.core.errors import UsageError
from phitui.engine.protocol.api import Remote
from phitui.storage.presets import FILE_NAME, Presets
from phitui.tui.screens.parameters import ParametersScreen
from phitui.tui.widgets.parameter_row import ParameterRow


async def begun(pilot, app):
    await painted_first(pilot)
    app.load()
    await pilot.pause()


def shown(app):
    return "\n".join(row.text.rstrip() for row in app.screen._compositor.render_strips())


async def opened(pilot, app):
    await begun(pilot, app)
    await pilot.press("f7")
    await until(pilot, lambda: isinstance(app.screen, ParametersScreen) and app.screen.focused is not None)


async def test_values_hold_for_the_next_prompt_and_reset_takes_them_back():
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        chat = app.console_screen.chat
        await pilot.press(*"be brief", "tab", *"0.9", "enter", *"7")
        await until(pilot, lambda: chat.sampling.temperature == 0.9)
        assert "default: 0.2 · 0 to 5" in shown(app)
        assert "of this chat alone" in shown(app)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.console_screen)
        assert chat.system == "be brief" and chat.sampling.top_k == 7
        await pilot.press("f7")
        await until(pilot, lambda: isinstance(app.screen, ParametersScreen))
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "are those of config.toml" in shown(app))
        assert app.parameters.parameters.own == {} and chat.system == "" and chat.sampling.temperature == 0.2
        assert app.screen.query_one("#top_k", Input).value == "50" and app.screen.query_one(TextArea).text == ""


async def test_what_is_no_value_is_told_while_it_is_typed_and_not_taken():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app)
        await pilot.press("tab", *"hot")
        await until(pilot, lambda: 'expected a number from 0 to 5, got "hot"' in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.console_screen and bool(app._notifications))
        (told,) = [note.message for note in app._notifications]
        assert told.startswith("Not taken: temperature: expected") and "temperature 0.2 stays" in told
        assert app.parameters.parameters.own == {}


async def test_presets_are_kept_taken_replaced_and_deleted_by_keys(tmp_path):
    app = FrozenConsole()
    file = tmp_path / "home" / FILE_NAME
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "There is no preset yet" in shown(app))
        for text in ("Arr.", "Arrr."):
            app.screen.query_one(TextArea).text = text
            await pilot.press("ctrl+s", *"pirate", "enter")
            if text == "Arrr.":
                await until(pilot, lambda: "There is a preset" in shown(app))
                await pilot.press("y")
            await until(pilot, lambda wanted=text: [one.text for one in Presets(file).all()] == [wanted])
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        app.screen.query_one(TextArea).text = ""
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "pirate — Arrr." in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.console_screen.chat.system == "Arrr.")
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen.focused, OptionList))
        await pilot.press("d")
        await until(pilot, lambda: "Delete the preset" in shown(app))
        await pilot.press("y")
        await until(pilot, lambda: Presets(file).all() == [])
        file.write_text("{")
        await until(pilot, lambda: isinstance(app.screen, ParametersScreen))
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "Repair it or move it away" in shown(app))


async def test_what_the_engine_does_not_honour_is_not_offered():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot, app)
        supported_parameters = ("temperature", "top_p", "max_tokens", "stop", "seed")
        app.load(device="remote", remote=Remote("box", "box:80", "TGI", "phi", [], supported_parameters))
        await pilot.press("f7")
        await until(pilot, lambda: isinstance(app.screen, ParametersScreen) and app.screen.focused is not None)
        assert [row.name_of for row in app.screen.query(ParameterRow)] == list(supported_parameters)
        assert "ignores top_k, repetition_penalty" in shown(app)


async def test_nothing_in_a_system_prompt_steers_the_terminal_and_looking_changes_nothing():
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot, app)
        evil = "be \x1b]0;t\x07brief \x9b2J [b]bold[/b]"
        app.parameters.set_system(evil)
        await pilot.press("f7")
        await until(pilot, lambda: "[b]bold[/b]" in shown(app))
        assert not set(shown(app)) & {"\x1b", "\x9b", "\x07"}
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.console_screen)
        assert app.console_screen.chat.system == evil


async def test_commands_set_them_by_text():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot, app)
        assert app.parameters.set_parameter("top-p", "0.5") == "top_p 0.5 (config.toml: 0.9)"
        app.parameters.set_system("x")
        with pytest.raises(UsageError, match="ignores seed"):
            app.parameters.set_parameter("seed", "1")
        await until(pilot, lambda: "set: top_p, system" in shown(app))
        app.parameters.reset()
        await until(pilot, lambda: "set: " not in shown(app).splitlines()[0])
