"""Whatever a keyboard, an input method or an emoji picker sends arrives."""

import subprocess

import pytest
from frozen_console import FrozenConsole
from raw_server import raw_server
from terminal import command, environment
from test_console_screen import ready
from textual._xterm_parser import XTermParser
from textual.widgets import Input

from phitui.core.text import without_controls
from phitui.tui.screens.parameters import SystemArea
from phitui.tui.terminal.display import displayable, drawn
from phitui.tui.themes import ConsoleTheme
from phitui.tui.widgets.prompt import Prompt

TYPED = {
    "ideographic space": "日本\u3000語",
    "no-break spaces": "10\u00a0km\u202f½",
    "Persian": "می\u200cخواهم",
    "joiner at the beginning, between figures, at the end": "\u200da1\u200d2\u200d",
    "family": "👩\u200d👩\u200d👧",
    "selectors": "❤\ufe0f ☎\ufe0e",
    "skin and sex": "🤷🏽\u200d♀\ufe0f",
    "flag of Scotland": "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "Khmer": "ភាសា\u200bខ្មែរ",
    "directions": "\u2067אב\u2069 \u200ea\u200f",
    "soft hyphen and word joiner": "Donau\u00addampf\u2060schiff",
    "combining": "e\u0301 क्\u200dष",
    "spaces": "a\u2003b\u2009c\u205fd",
    "private": "\ue0b0\U000f0001",
}


async def type_into(pilot, text):
    """As it comes from a terminal, through Textual's own reader of it."""
    for event in XTermParser().feed(text):
        event.set_sender(pilot.app)
        pilot.app.post_message(event)
    await pilot.pause(0.1)


@pytest.mark.parametrize("text", TYPED.values(), ids=TYPED.keys())
async def test_all_that_is_typed_is_sent(text):
    app = FrozenConsole()
    async with app.run_test(size=(40, 24)) as pilot:
        await ready(pilot)
        app.load()
        await type_into(pilot, text)
        prompt = app.console_screen.query_one(Prompt)
        assert prompt.text == text
        await pilot.press("home", "right", "end", "enter")
        await pilot.pause()
        assert [one.prompt for one in app.console_screen.chat.exchanges] == [text]
        prompt.put_back(text)  # and in a prompt that comes back and is edited
        await pilot.press("x")
        assert prompt.whole == text + "x"


async def test_a_line_that_is_longer_than_the_prompt():
    """Wrapped in the middle of what joins."""
    app = FrozenConsole()
    text = "👩\u200d🚀\u200d" * 60 + "\u200d" * 50 + "\U000e0041" * 50 + "1\u200d" * 50
    async with app.run_test(size=(40, 24)) as pilot:
        await ready(pilot)
        for part in (text, text[1:], text[2:]):
            prompt = app.console_screen.query_one(Prompt)
            prompt.replace_text(part)
            await pilot.press("home", "left", "up", "end", "backspace", "a")
            await pilot.pause()
            prompt.clear()


async def test_the_system_prompt_and_a_line_of_text_take_them_too():
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        app.load()
        await pilot.press("f7")
        await pilot.pause()
        await type_into(pilot, "a\u3000b\U000e0067")
        assert app.screen.query_one(SystemArea).text == "a\u3000b\U000e0067"
        assert app.console_screen.chat.system == "a\u3000b\U000e0067"
        await pilot.press("escape", "f6")
        await pilot.pause(0.2)
        await pilot.press("slash")
        field = app.screen.query_one(Input)
        field.focus()
        await type_into(pilot, "\u200dx\u3000y\u200d")
        await pilot.pause()
        assert field.value == "\u200dx\u3000y\u200d"


@pytest.mark.parametrize("text", [*TYPED.values(), "\u202e\u00ad\ufeff" * 3])
def test_what_is_drawn_is_safe_and_as_long(text):
    assert len(drawn(text)) == len(text)
    assert displayable(drawn(text)) == drawn(text)
    assert without_controls(text) == text


def test_controls_are_no_text():
    assert without_controls("a\x1b[31mb\x07c\x9bd\ud800e\tf\ng\u2028h") == "abc\ufffde\tf\ng\nh"


async def test_undo_has_a_key_of_its_own():
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press(*"my draft", "ctrl+underscore")
        assert app.console_screen.query_one(Prompt).text == ""
        await pilot.press("ctrl+y")
        assert app.console_screen.query_one(Prompt).text == "my draft"


def asked(home, stdin, *arguments):
    """The prompt that `ask` sends, and what it says."""
    bodies = []

    def answer(connection):
        bodies.append(connection.request.json())
        connection.head()
        connection.piece("ok", "stop")
        connection.usage(5, 3)
        connection.done()

    with raw_server(answer) as server:
        done = subprocess.run(
            command("ask", "--engine", server.url, *arguments),
            env=environment(home), capture_output=True, timeout=60, check=False, **stdin,
        )  # fmt: skip
    assert done.returncode == 0, done
    return bodies[-1]["messages"][-1]["content"], done.stderr.decode()


@pytest.mark.parametrize(
    ("data", "arguments", "prompt"),
    [
        (b"some text\n", ["What is it?"], "some text\n\nWhat is it?"),
        (b"\xef\xbb\xbfsome text\r\n", ["What is it?"], "some text\n\nWhat is it?"),
        (b"", ["What is it?"], "What is it?"),
        (b"\n", ["What is it?"], "What is it?"),
        (b"\xef\xbb\xbfa question", ["-"], "a question"),
        ("a question ½".encode("utf-16"), ["-"], "a question ½"),
    ],
)
def test_what_is_piped_in_goes_with_the_question(home, data, arguments, prompt):
    assert asked(home, {"input": data}, *arguments) == (prompt, "")


def test_a_file_and_nothing(home, tmp_path):
    (tmp_path / "text").write_text("of a file")
    with (tmp_path / "text").open() as file:
        assert asked(home, {"stdin": file}, "Why?")[0] == "of a file\n\nWhy?"
    assert asked(home, {"stdin": subprocess.DEVNULL}, "Why?")[0] == "Why?"


async def test_a_click_on_an_answer_leaves_the_typing_in_the_prompt():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        app.load()
        app.answer("p", "An answer.")
        await pilot.pause(0.3)
        await pilot.click(".facts")
        await pilot.press(*"are you sure?")
        assert app.console_screen.query_one(Prompt).text == "are you sure?"
        assert len(app.console_screen.chat.exchanges) == 1 and len(app.screen_stack) == 1


async def test_words_that_were_looked_for_end_where_they_began():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        app.load()
        app.answer("p", "An answer.")
        await pilot.press(*"/find answer", "enter", "escape", *"are")
        assert app.console_screen.query_one(Prompt).text == "are"


@pytest.mark.parametrize("name", ["nord", "gruvbox", "catppuccin-mocha", "tokyo-night"])
async def test_a_theme_whose_name_textual_has_too_is_phituis(name):
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        if name not in app.theme_names():
            pytest.skip("not shipped")
        await pilot.press(*f"/theme {name}", "enter")
        await pilot.pause()
        assert app.theme == name
        assert isinstance(app.current_theme, ConsoleTheme)
