"""The session screen and the tree of turns, driven by keys, on a real file."""

import pytest
from frozen_console import FrozenConsole
from support.resting import at_rest, painted_first
from support.waiting import until_shown as until
from textual.widgets import DataTable, Static

from phitui.engine.protocol.api import Finished, Timings, Usage
from phitui.storage.sessions.session_types import KeptTurn
from phitui.storage.sessions.sessions import SessionStore
from phitui.tui.screens.sessions import SessionsScreen
from phitui.tui.widgets.prompt import Prompt
from phitui.tui.widgets.session_list import SearchField
from phitui.tui.widgets.transcript import Transcript


@pytest.fixture
def file(tmp_path):
    """Three sessions, the last of them the newest."""
    path = tmp_path / "home" / "sessions.db"
    store = SessionStore(path)
    for title, prompt, text in (
        ("Rivers", "Name a river", "The Nile."),
        ("\x1b[2JEvil [b]title[/b]", "evil \x1b]0;t\x07prompt", "evil \x9b2J answer with a needle"),
        ("Caches", "What is a KV cache?", "Keys and values."),
    ):
        store.insert(title, "", 1e9, [KeptTurn(id=-1, prompt=prompt, text=text, model="tiny", reason="stop")], -1)
    store.close()
    return path


async def begun(pilot, app):
    await painted_first(pilot)
    app.sessions.start()
    app.load()
    await at_rest(pilot)


def titles(app):
    table = app.screen.query_one(DataTable)
    return [str(table.get_row_at(row)[0]).strip("● ") for row in range(table.row_count)]


def shown(app):
    return "\n".join(row.text.rstrip() for row in app.screen._compositor.render_strips())


def asked(app):
    return [str(widget.content) for widget in app.console_screen.query(".asked").results(Static)]


async def test_the_list_is_searched_while_one_types_and_resumed(file):
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot, app)
        await pilot.press("f6")
        await until(pilot, lambda: isinstance(app.screen, SessionsScreen) and titles(app))
        assert titles(app) == ["Caches", "Evil [b]title[/b]", "Rivers"]
        await pilot.press("slash", *"nil")
        await until(pilot, lambda: titles(app) == ["Rivers"])
        await until(pilot, lambda: "found in 1 turn" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: asked(app) == ["Name a river"])
        assert app.screen is app.console_screen
        app.begin("And another?", "The Congo.")
        app.workbench.take(Finished(1, "stop", Usage(24, 5), Timings(38.2, 11.1, 1090.0, 88.0)))
        await pilot.press("f6")
        await until(pilot, lambda: titles(app)[:1] == ["Rivers"])
        await until(pilot, lambda: "The Congo." in shown(app))


async def test_the_search_begins_with_the_key_in_force(file):
    app = FrozenConsole(keys={"sessions.search": "ctrl+g"})
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot, app)
        await pilot.press("f6")
        await until(pilot, lambda: isinstance(app.screen, SessionsScreen) and titles(app))
        await pilot.press("slash")
        assert app.screen.query_one(DataTable).has_focus
        await pilot.press("ctrl+g", *"nil")
        await until(pilot, lambda: titles(app) == ["Rivers"])


async def test_nothing_in_a_session_steers_the_terminal(file):
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot, app)
        await pilot.press("f6")
        await until(pilot, lambda: titles(app))
        await pilot.press("slash", *"needle")
        await until(pilot, lambda: "found in 1 turn" in shown(app))
        text = shown(app)
        assert "Evil [b]title[/b]" in text and "evil prompt" in text and "evil answer with a needle" in text
        assert not set(text) & {"\x1b", "\x9b", "\x07"}
        await pilot.press("enter")
        await until(pilot, lambda: asked(app) == ["evil prompt"])


async def test_rename_delete_undo_export_import_by_keys(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot, app)
        await pilot.press("f6")
        await until(pilot, lambda: titles(app))
        await pilot.press("d")
        await until(pilot, lambda: titles(app) == ["Evil [b]title[/b]", "Rivers"])
        assert "u brings it back" in shown(app)
        await pilot.press("u")
        await until(pilot, lambda: len(titles(app)) == 3)
        await pilot.press("r", *" of keys", "enter")
        await until(pilot, lambda: "Caches of keys" in titles(app))
        await pilot.press("e", "enter")
        await until(pilot, lambda: (tmp_path / "caches-of-keys.md").exists())
        assert "## Prompt\n\nWhat is a KV cache?" in (tmp_path / "caches-of-keys.md").read_text()
        await pilot.press("e", "enter")
        await until(pilot, lambda: "is there already" in shown(app))
        await pilot.press("e", *["backspace"] * 2, *"json", "enter")
        await until(pilot, lambda: (tmp_path / "caches-of-keys.json").exists())
        await pilot.press("i", *"caches-of-keys.json", "enter")
        await until(pilot, lambda: titles(app).count("Caches of keys") == 2)
        await pilot.press("i", *"absent.json", "enter")
        await until(pilot, lambda: "no such file" in shown(app))


async def test_escape_leaves_the_search_and_then_the_screen(file):
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot, app)
        await pilot.press("f6")
        await until(pilot, lambda: titles(app))
        await pilot.press("slash", *"zzz")
        await until(pilot, lambda: titles(app) == [])
        assert "Nothing is found." in shown(app)
        await pilot.press("escape")
        await until(pilot, lambda: len(titles(app)) == 3)
        assert app.screen.query_one(SearchField).value == ""
        await pilot.press("escape")
        assert app.screen is app.console_screen


async def test_edit_again_fork_and_siblings_by_keys(tmp_path):
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot, app)
        app.answer("one", "first answer")
        app.answer("two", "second answer")
        await at_rest(pilot)
        chat, prompt = app.console_screen.chat, app.screen.query_one(Prompt)
        await pilot.press("shift+tab")
        assert app.screen.focused is app.screen.query_one(Transcript)
        await pilot.press("up", "e")
        assert prompt.text == "one" and "editing" in prompt.border_title
        await pilot.press("escape")
        assert prompt.text == "" and not prompt.border_title
        await pilot.press("shift+tab", "up", "e", *" more", "enter")
        await until(pilot, lambda: asked(app) == ["one more"])
        app.workbench.take(Finished(1, "stop", Usage(24, 5), Timings(38.2, 11.1, 1090.0, 88.0)))
        await until(pilot, lambda: "‹ 2/2 ›" in shown(app))
        await pilot.press("shift+tab", "left")
        await until(pilot, lambda: asked(app) == ["one", "two"])
        assert "‹ 1/2 ›" in shown(app)
        await pilot.press("up", "f")
        await until(pilot, lambda: asked(app) == ["one"])
        assert "the next prompt goes on from here" in prompt.border_title
        await pilot.press("escape")
        await until(pilot, lambda: asked(app) == ["one", "two"])
        await pilot.press("shift+tab", "up", "f", *"other two", "enter")
        await until(pilot, lambda: asked(app) == ["one", "other two"])
        assert [one.prompt for one in chat.roots[0].children] == ["two", "other two"]
        await pilot.press("shift+tab", "a")
        await until(pilot, lambda: len(chat.roots[0].children) == 5)


async def test_a_resumed_session_in_mid_edit_leaves_the_edit(file):
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot, app)
        app.answer("one", "first answer")
        await at_rest(pilot)
        await pilot.press("shift+tab", "e")
        await pilot.press("f6")
        await until(pilot, lambda: isinstance(app.screen, SessionsScreen) and len(titles(app)) >= 3)
        while titles(app)[app.screen.query_one(DataTable).cursor_row] != "Rivers":
            await pilot.press("down")
        await pilot.press("enter")
        await until(pilot, lambda: asked(app) == ["Name a river"])
        await pilot.press(*"next", "enter")
        await until(pilot, lambda: asked(app) == ["Name a river", "next"])


async def test_every_key_of_the_screen_has_an_id():
    own = [*SessionsScreen.__dict__["BINDINGS"], *SearchField.__dict__["BINDINGS"]]
    assert all(binding.id for binding in own)
    assert all(binding.show for binding in own if not binding.id.endswith(("up", "down")))
