"""Keys: every action has an id and is told of; [keys] rebinds; what is wrong with it is said."""

import importlib
import inspect
import json
import pkgutil

import pytest
from frozen_console import FrozenConsole
from support.waiting import until_shown as until
from textual.app import App
from textual.binding import Binding
from textual.command import CommandList
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import Input, TextArea

import phitui.tui
from phitui.config.layers import load_config
from phitui.config.schema import check_layer
from phitui.core.errors import UsageError
from phitui.tui.keys.catalog import PLACES, all_actions, chains, of_class
from phitui.tui.keys.judge import clashes, in_force, problems
from phitui.tui.keys.names import canonical, exists, shown, split_keys, why_not_sent
from phitui.tui.screens.help import HelpScreen
from phitui.tui.screens.monitor import MonitorScreen
from phitui.tui.widgets.prompt import Prompt
from phitui.tui.widgets.transcript import Transcript


def classes():
    """Every class of phitui's with keys of its own."""
    for module in pkgutil.walk_packages(phitui.tui.__path__, "phitui.tui."):
        for _, one in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(one, DOMNode) and one.__module__ == module.name:
                yield one


def own_bindings(one):
    return list(Binding.make_bindings(one.__dict__.get("BINDINGS", [])))


def test_every_binding_has_an_id_a_description_and_a_line_in_help():
    told = {(action.id, action.owner) for action in all_actions()}
    screens = [one for one in classes() if issubclass(one, Screen | App)]
    assert len(screens) >= 14
    for one in classes():
        for binding in own_bindings(one):
            assert binding.id and binding.description, (one, binding)
            assert (binding.id, f"{one.__module__}:{one.__qualname__}") in told, (one, binding.id)


def test_an_id_means_one_action():
    actions = {}
    for one in classes():
        for binding in own_bindings(one):
            assert actions.setdefault(binding.id, (one, binding.action)) == (one, binding.action)


def test_the_defaults_can_be_pressed_and_do_not_clash():
    for action in all_actions():
        for key in action.keys:
            assert exists(key), (action.id, key)
        assert any(not why_not_sent(key) for key in action.keys), action.id
    assert [(place, key, one.action.id, other.action.id) for place, key, one, other in clashes(in_force({}))] == []


# What a text field does with these keys itself is meant to be otherwise here: Ctrl-C copies for the whole screen, the
# pages are those of the pane beside it, the arrows lead through history and matches, F6 and F7 to other screens, and
# Ctrl-Z to the shell.
SHADOWED = {
    ("app.interrupt", "ctrl+c"), ("app.suspend", "ctrl+z"), ("parameters.back", "f7"),
    *((f"{place}.page_{way}", f"page{way}") for place in ("console", "sessions") for way in ("up", "down")),
    *((f"{place}.{way}", way) for place in ("sessions",) for way in ("up", "down")),
    ("prompt.older", "up"), ("prompt.newer", "down"), ("find.previous", "up"), ("find.next", "down"),
    ("find.done", "enter"), ("console.sessions", "f6"), ("console.parameters", "f7"),
}  # fmt: skip


def test_no_default_takes_a_key_that_a_text_field_needs():
    shadowed = set()
    for _, owners in chains():
        field = next((base for base in (TextArea, Input) if issubclass(of_class(owners[0]), base)), None)
        if field is None:
            continue
        theirs = {b.key for one in field.__mro__ for b in Binding.make_bindings(one.__dict__.get("BINDINGS", []))}
        heard = [one for one in all_actions() if one.owner == owners[0] or (one.owner in owners and one.priority)]
        shadowed |= {(one.id, key) for one in heard for key in one.keys if key in theirs}
    assert shadowed == SHADOWED


@pytest.mark.parametrize(
    ("typed", "key"),
    [("Ctrl+G", "ctrl+g"), ("?", "question_mark"), ("esc", "escape"), ("shift+g", "G"), ("alt+p", "alt+p"),
     ("PgUp", "pageup"), ("shift+ctrl+x", "ctrl+shift+x"), ("G", "G"), ("ctrl+[", "ctrl+left_square_bracket"),
     ("^g", "ctrl+g"), ("^", "circumflex_accent")],
)  # fmt: skip
def test_names_of_keys(typed, key):
    assert canonical(typed) == key
    assert exists(key)


@pytest.mark.parametrize(
    ("key", "words"),
    [("ctrl+g", "^g"), ("ctrl+underscore", "^_"), ("alt+p", "Alt+p"), ("f12", "F12"), ("escape", "Esc"), ("G", "G"),
     ("shift+enter", "Shift+Enter"), ("pageup", "PgUp"), ("up", "↑"), ("space", "Space"), ("slash", "/"),
     ("ctrl+pageup", "Ctrl+PgUp"), ("ctrl+shift+g", "Ctrl+Shift+g"), ("ctrl+up", "Ctrl+↑")],
)  # fmt: skip
def test_how_keys_are_written(key, words):
    assert shown(key) == words


@pytest.mark.parametrize("setting", ["", "none", " None "])
def test_no_key(setting):
    assert split_keys(setting) == ()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"console.moniter": "ctrl+g"}, "did you mean console.monitor?"),
        ({"console.monitor": "ctrl+pageupp"}, "did you mean ctrl+pageup?"),
        ({"console.monitor": "ctrl+i"}, "sends ctrl+i as tab"),
        ({"console.monitor": "ctrl+m"}, "sends ctrl+m as enter"),
        ({"console.monitor": "ctrl+shift+g"}, "most terminals do not send ctrl+shift+g"),
        ({"console.monitor": "alt+1"}, "is read as ¡"),
        ({"console.monitor": "alt+b"}, "is read as ctrl+left"),
        ({"console.monitor": "f2"}, "f2 is both console.models and console.monitor"),
        ({"app.quit": "none"}, "no key quits any more"),
        ({"app.quit": "ctrl+i"}, "no key quits any more"),
        ({"prompt.send": "x"}, "can then not be typed"),
        ({"console.monitor": "ctrl+q"}, "ctrl+q is both"),
    ],
)
def test_what_is_wrong_is_said(settings, said):
    assert any(said in line for line in problems(settings)), problems(settings)


def test_what_is_right_is_not():
    right = {"console.monitor": "f2", "console.models": "f4, ctrl+g", "app.quit": "f10", "transcript.down": "down,j"}
    assert problems({**right, "transcript.mark_newer": "none"}) == []


def test_the_section_in_the_file():
    assert check_layer({"keys": {"console": {"monitor": "f9"}, "app.quit": "f10"}}, "here")["keys"] == {
        "console.monitor": "f9",
        "app.quit": "f10",
    }
    with pytest.raises(UsageError, match=r"keys\.app\.quit|keys\.quit"):
        check_layer({"keys": {"app.quit": 3}}, "here")
    with pytest.raises(UsageError, match="expected a section"):
        check_layer({"keys": 3}, "here")


def console(keys):
    return FrozenConsole(keys=keys)


async def test_a_rebound_key_works_and_the_default_no_longer():
    app = console({"console.monitor": "ctrl+g"})
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press("f4")
        assert app.screen is app.console_screen
        await pilot.press("ctrl+g")
        assert isinstance(app.screen, MonitorScreen)


async def test_keys_that_change_places_and_one_that_is_taken_away():
    app = console({"prompt.send": "ctrl+g", "prompt.newline": "enter", "console.monitor": "none"})
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.load()
        await pilot.press("a", "enter", "b", "f4")
        assert app.screen is app.console_screen
        assert app.console_screen.query_one(Prompt).text == "a\nb"
        await pilot.press("ctrl+g")
        await pilot.pause()
        assert [one.prompt for one in app.console_screen.chat.exchanges] == ["a\nb"]


async def test_a_letter_on_the_screen_is_still_typed_in_the_prompt():
    app = console({"console.monitor": "m"})
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press("m")
        assert app.console_screen.query_one(Prompt).text == "m"
        app.console_screen.query_one(Transcript).focus()
        await pilot.press("m")
        assert isinstance(app.screen, MonitorScreen)


async def test_help_lists_the_keys_in_force_and_searches():
    app = console({"console.monitor": "ctrl+g"})
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("f1")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        text = str(app.screen.query_one("#lines").content)
        assert text.startswith("Console")
        flat = " ".join(text.split())
        for action in all_actions():
            assert action.about in flat
        for place in PLACES:
            assert place.about in flat, place
        assert "/theme [NAME]" in text
        assert "console.monitor" not in text.split("Your own keys")[0]  # ids are for config.toml alone
        columns = {line.index("  ", 2) for line in text.splitlines() if line.startswith("  F")}
        assert max(len(line) for line in text.splitlines()) <= 80 and columns
        await pilot.press(*"console.sess")
        await pilot.pause()
        text = str(app.screen.query_one("#lines").content)
        assert "F6 " in text and "F2" not in text  # found by its id all the same
        await pilot.press("ctrl+u")
        await pilot.press(*"monitor")
        await pilot.pause()
        text = str(app.screen.query_one("#lines").content)
        assert "^g " in text and "F6" not in text
        await pilot.press("escape")
        assert app.screen is app.console_screen


async def test_every_action_of_the_console_is_in_the_palette():
    app = console({})
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press("a")
        offered = list(app.get_system_commands(app.console_screen))
        titles = [one.title for one in offered]
        for action in all_actions():
            if action.id.startswith(("console.", "transcript.")):
                assert (action.about in titles) is not only_moves(action.id), action.id
        assert len(set(titles)) == len(titles)
        assert [one.help for one in offered[:8]] == ["^n", "F2", "F3", "F4 Alt+m", "F5", "F6", "F7", "Alt+e"]
        assert all(len(title) <= 62 for title in titles if not title.startswith(("Model", "Theme", "Engine: ")))


async def test_the_palette_lists_them_in_that_order_one_line_each_with_its_key():
    def first():
        return " ".join(str(one.prompt) for one in app.screen.query_one(CommandList).options[:1]).strip()

    app = console({"console.models": "ctrl+g"})
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("ctrl+p")
        await until(pilot, lambda: app.screen.query_one(CommandList).option_count > 8)
        lines = [str(option.prompt) for option in app.screen.query_one(CommandList).options]
        assert [line.split()[0] for line in lines[:3]] == ["New", "Models:", "Tuner:"]
        assert lines[1].endswith(" ^g") and all("\n" not in line for line in lines)
        assert lines[0].index("^n") == lines[1].index("^g")
        app.screen.query_one(Input).value = "monitor"
        await until(pilot, lambda: first().startswith("Monitor"))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))


async def test_the_palette_above_the_console_begins_with_that_screens_own_acts():
    app = console({})
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press("f2")
        await pilot.pause()
        offered = list(app.get_system_commands(app.screen))
        assert offered[0].help == "p" and offered[0].title.startswith("Pull")
        keys = [one.help for one in offered]
        assert "^n" in keys and "F2" not in keys  # which leads back to the console here
        new_chat = next(one for one in offered if one.help == "^n")
        await new_chat.callback()
        await until(pilot, lambda: app.screen is app.console_screen)


def only_moves(name):
    return name.startswith("console.page") or name.rpartition(".")[2] in {
        "up", "down", "half_up", "half_down", "page_up", "page_down", "first", "last", "mark_older", "mark_newer",
        "next_pane",
    }  # fmt: skip


@pytest.mark.parametrize(("key", "screen"), [("alt+t", "ThemeList"), ("alt+e", "EngineDialog"), ("f1", "HelpScreen")])
async def test_themes_engines_and_help_have_keys_of_their_own(key, screen):
    app = console({})
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press(key)
        await pilot.pause()
        assert type(app.screen).__name__ == screen
        await pilot.press("alt+t", "alt+e")
        await pilot.pause()
        assert len(app.screen_stack) == (3 if key == "f1" else 2)  # nothing on top of a question
        if key == "f1":
            await pilot.press("escape", "f1")
            await pilot.pause()
            assert app.screen is app.console_screen


async def test_one_chord_to_each_pane():
    app = console({})
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press("alt+c")
        assert app.console_screen.query_one(Transcript).has_focus
        await pilot.press("alt+m")
        assert isinstance(app.screen, MonitorScreen)
        await pilot.press("alt+p")
        await pilot.pause()
        assert app.screen is app.console_screen and app.console_screen.query_one(Prompt).has_focus
        await pilot.press("f9")
        assert app.console_screen.query_one(Transcript).has_focus


def test_the_command_line(capsys):
    from argparse import Namespace

    from phitui.cli import keys

    config = load_config(overrides={"keys": {"console.monitor": "ctrl+g", "nonsense": "x"}})
    assert keys.run(config, Namespace(json=True)) == 1
    out, err = capsys.readouterr()
    told = json.loads(out)
    monitor = next(one for one in told["actions"] if one["id"] == "console.monitor")
    assert monitor["keys"] == ["ctrl+g"] and monitor["default"] == ["f4", "alt+m"]
    assert "no action" in err and len(told["problems"]) == 1
    assert keys.run(load_config(), Namespace(json=False)) == 0
    assert "console.monitor\tf4 alt+m\t" in capsys.readouterr().out
