"""What colours reach a terminal that has few: SSH does not say that there are more than 256."""

import re

import pytest
from rich.color import Color
from terminal import wait_until

pytestmark = pytest.mark.terminal

CTRL_Q = "\x11"
SCREENS = {"\x1bOQ": "Models", "\x1bOS": "Processes", "\x1b[15~": "Batch"}


def backgrounds(console):
    """The colours behind what was drawn, as the numbers of SGR 48."""
    return set(re.findall(r"[\[;]48;(5;\d+|2;\d+;\d+;\d+)", console.output.decode(errors="replace")))


@pytest.mark.parametrize("theme", ["phitui-dark", "nord", "tokyo-night", "catppuccin-mocha"])
def test_what_is_grey_in_a_theme_is_grey_in_256_colours(open_console, theme):
    console = open_console("--theme", theme, columns=80, rows=24, COLORTERM="")
    console.wait_for("Ask something")
    for key, shown in SCREENS.items():
        console.send(key)
        console.wait_for(shown)
    assert wait_until(lambda: backgrounds(console), 60)
    for number in backgrounds(console):
        kind, _, place = number.partition(";")
        assert kind == "5"
        red, green, blue = Color.from_ansi(int(place)).get_truecolor()
        dark = max(red, green, blue) < 128
        assert not dark or max(red, green, blue) - min(red, green, blue) < 48, number
    console.send(CTRL_Q)
    assert console.wait_ended() == 0


@pytest.mark.parametrize("term", ["xterm", "linux", "screen"])
def test_sixteen_colours_are_the_terminals_own(open_console, term, home):
    settings = home / "config" / "phitui" / "config.toml"
    before = settings.read_text()
    console = open_console(columns=80, rows=24, COLORTERM="", TERM=term)
    console.wait_for("Ask something")
    assert not backgrounds(console)
    assert not re.search(rb"[\[;]38;", console.output)
    console.send(CTRL_Q)
    assert console.wait_ended() == 0
    assert settings.read_text() == before
