"""Themes: people and Textual can read the shipped ones; a user's wrong file is told of and harms nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.app import App, ComposeResult
from textual.color import Color
from textual.content import Content
from textual.widgets import DataTable, Footer, Input, Markdown, OptionList, Static, TextArea

from phitui.config.layers import config_dir, load_config, read_toml
from phitui.core.errors import UsageError
from phitui.core.resources import resource
from phitui.tui.terminal.fixed_colours import FixedColours, nearest
from phitui.tui.themes import (
    COLORS,
    DEFAULT,
    GAUGE_VARIABLES,
    ConsoleTheme,
    gauge_defaults,
    load_all,
    load_theme,
    theme_names,
)

SHIPPED = sorted(path.stem for path in resource("themes").glob("*.toml"))
READABLE = [name for name in SHIPPED if not load_theme(name).ansi]
LEVELS = ("gauge-light", "gauge-ok", "gauge-heavy", "gauge-warn", "gauge-bad")
BACKGROUNDS = ("background", "surface", "panel")
MINE = """
name = "mine"
title = "Mine"
dark = true
[colors]
primary = "#74c7b4"
secondary = "#93a7e6"
accent = "#e2b86b"
background = "#101010"
surface = "#181818"
panel = "#202020"
foreground = "#e0e0e0"
success = "green"
warning = "rgb(230, 160, 90)"
error = "hsl(0, 70%, 70%)"
"""


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2, from 1 to 21."""

    def luminance(text: str) -> float:
        parts = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
                 for channel in Color.parse(text).normalized]  # fmt: skip
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def user_theme(name: str, text: str) -> Path:
    path = config_dir(os.environ) / "themes" / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_contrast_is_measured_as_wcag_does() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_what_ships() -> None:
    assert len(SHIPPED) >= 6
    assert {DEFAULT, "phitui-light", "high-contrast", "gruvbox", "nord", "terminal"} <= set(SHIPPED)
    assert theme_names()[0] == DEFAULT == load_config().theme.name
    assert sorted(theme_names()) == SHIPPED
    themes, errors = load_all()
    assert not errors
    assert [theme.name for theme in themes] == theme_names()
    assert len({theme.title for theme in themes}) == len(SHIPPED)


def in_256(color: str) -> str:
    """What a terminal with 256 colours shows of it."""
    found = nearest(*Color.parse(color).rgb).get_truecolor()
    return Color(*found).hex


def in_true_colour(color: str) -> str:
    return color


SEEN = pytest.mark.parametrize("seen", [in_true_colour, in_256], ids=["true colour", "256"])


@SEEN
@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("behind", BACKGROUNDS)
def test_text_can_be_read(name: str, behind: str, seen: Callable[[str], str]) -> None:
    theme = load_theme(name)
    least = 7.0 if theme.name == "high-contrast" else 4.5
    shown = {**theme.to_color_system().generate(), **theme.variables}
    for text in ("foreground", "primary", "text-muted", "text-error", "text-warning", "text-success"):
        assert contrast(seen(shown[text]), seen(getattr(theme, behind))) >= least, text


@SEEN
@pytest.mark.parametrize("name", READABLE)
def test_marks_and_bars_can_be_told_from_what_is_behind(name: str, seen: Callable[[str], str]) -> None:
    """3:1 for what is not text (WCAG 2.2, 1.4.11); the unfilled part of a bar only has to show."""
    theme = load_theme(name)
    for color in (theme.secondary, theme.accent, theme.success, theme.warning, theme.error):
        assert contrast(seen(color), seen(theme.background)) >= 3
    for gauge in GAUGE_VARIABLES:
        faint = gauge in ("gauge-free", "gauge-track")
        assert contrast(seen(theme.variables[gauge]), seen(theme.background)) >= (1.3 if faint else 3), gauge
    for gauge in LEVELS:
        assert contrast(seen(theme.variables[gauge]), seen(theme.variables["gauge-track"])) >= 1.6, gauge


@pytest.mark.parametrize("name", SHIPPED)
def test_a_bar_that_is_full_is_no_bar_at_its_limit(name: str) -> None:
    """Load and limits are told apart, in 256 colours as well."""
    colors = [load_theme(name).variables[gauge] for gauge in LEVELS]
    assert len(set(colors)) == len(LEVELS)
    if name in READABLE:
        assert len(set(map(in_256, colors))) == len(LEVELS)


@pytest.mark.parametrize("name", READABLE)
def test_a_grey_stays_grey_in_256_colours(name: str) -> None:
    """Rich's own way makes #005f5f of nord's background and #00005f of tokyo-night's."""
    theme = load_theme(name)
    for behind in map(str, (theme.background, theme.surface, theme.panel)):
        saturation = [max(color.rgb) - min(color.rgb) for color in map(Color.parse, (behind, in_256(behind)))]
        assert saturation[1] <= saturation[0], behind


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_file_names_every_gauge(name: str) -> None:
    assert set(GAUGE_VARIABLES) <= set(read_toml(resource("themes") / f"{name}.toml")["variables"])


class Sampler(App[None]):
    """Widgets that use most variables of a theme, and every gauge's colour in CSS and in content."""

    CSS = "\n".join(f".{name} {{ color: ${name}; }}" for name in GAUGE_VARIABLES)

    def __init__(self, theme: ConsoleTheme) -> None:
        super().__init__()
        self.register_theme(theme)
        self.theme = theme.name

    def compose(self) -> ComposeResult:
        for name in GAUGE_VARIABLES:
            yield Static(Content.styled("━━━━", f"${name}"), classes=name)
        yield Static(Content.styled("a reason", "$text-muted italic"))
        yield Input("text")
        yield Markdown("# one\n\n## two\n\n### three\n\n`code` and [a link](https://example.org)")
        yield OptionList("a", "b")
        yield TextArea("text")
        yield DataTable()
        yield Footer()


@pytest.mark.parametrize("name", SHIPPED)
async def test_textual_shows_every_theme(name: str) -> None:
    theme = load_theme(name)
    app = Sampler(theme)
    async with app.run_test(size=(80, 40)) as pilot:
        await pilot.pause()
        for gauge in GAUGE_VARIABLES:
            assert app.query_one(f".{gauge}").styles.color == Color.parse(theme.variables[gauge])
        assert app.screen.styles.background.hex == Color.parse(theme.background or "").hex
        assert app.native_ansi_color == (name == "terminal")


async def test_switching_through_all_themes_while_running() -> None:
    app = Sampler(load_theme(DEFAULT))
    async with app.run_test(size=(80, 40)) as pilot:
        for theme in load_all()[0]:
            app.register_theme(theme)
            app.theme = theme.name
            await pilot.pause()
            assert app.query_one(".gauge-bad").styles.color == Color.parse(theme.variables["gauge-bad"])


async def test_a_theme_of_the_user_with_only_the_colours() -> None:
    user_theme("mine", MINE)
    theme = load_theme("mine")
    assert {name: theme.variables[name] for name in GAUGE_VARIABLES} == gauge_defaults(theme)
    async with Sampler(theme).run_test() as pilot:
        assert pilot.app.query_one(".gauge-bad").styles.color == Color.parse("hsl(0, 70%, 70%)")


def test_the_users_theme_comes_before_the_shipped_one() -> None:
    user_theme("nord", MINE.replace('"mine"', '"nord"'))
    assert load_theme("nord").background == "#101010"
    assert theme_names().count("nord") == 1
    assert [theme.background for theme in load_all()[0] if theme.name == "nord"] == ["#101010"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("primary =", "primry ="), "colors.primry: no such key; did you mean colors.primary?"),
        (('"#74c7b4"', '"#74c7b"'), 'colors.primary: expected a colour such as "#74c7b4", got "#74c7b"'),
        (('"#74c7b4"', "7"), 'colors.primary: expected a colour such as "#74c7b4", got 7'),
        (('primary = "#74c7b4"', ""), 'colors.primary: is missing; expected a colour such as "#74c7b4"'),
        (("dark = true", 'dark = "yes"'), 'dark: expected true or false, got "yes"'),
        (('title = "Mine"', ""), "title: is missing; expected a string"),
        (("title", "titel"), "titel: no such key; did you mean title?"),
        (('"mine"', '"other"'), 'name: expected "mine", as the file is called, got "other"'),
        (("[colors]", "colors = 3\n[x]"), "colors: expected a section, got 3"),
        (("[colors]", "[colors"), "not TOML"),
        (("[colors]", "[variables]\ngauge-okay = 'red'\n[colors]"), "did you mean variables.gauge-ok?"),
        (("[colors]", "[variables]\ngauge-ok = 'rod'\n[colors]"), "variables.gauge-ok: expected a colour"),
        (("[colors]", "[variables]\nborder = '#fff 300%'\n[colors]"), "variables.border: expected a colour"),
        (
            ("[colors]", "[variables]\nborder = 'red; width: 0'\n[colors]"),
            "variables.border: expected a colour",
        ),
        (
            ("[colors]", "[variables]\nlink-style = 'shiny'\n[colors]"),
            "variables.link-style: expected a style",
        ),
        (("[colors]", "[variables]\nborder = []\n[colors]"), "variables.border: expected a colour"),
    ],
)
def test_a_wrong_theme_is_told_of_and_the_others_stay(change: tuple[str, str], told: str) -> None:
    path = user_theme("mine", MINE.replace(*change, 1))
    with pytest.raises(UsageError) as caught:
        load_theme("mine")
    assert str(caught.value).startswith(f"{path}: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    themes, errors = load_all()
    assert sorted(theme.name for theme in themes) == SHIPPED
    assert [str(error) for error in errors] == [str(caught.value)]


def test_a_wrong_theme_over_a_shipped_one_leaves_the_shipped_one() -> None:
    user_theme("nord", "name = 3")
    themes, errors = load_all()
    assert sorted(theme.name for theme in themes) == SHIPPED
    assert len(errors) == 1


def test_files_that_are_no_themes() -> None:
    folder = user_theme("mine", MINE).parent
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.toml").write_text("x")
    (folder / "bad name.toml").write_text(MINE)
    (folder / "folder.toml").mkdir()
    (folder / "gone.toml").symlink_to(folder / "nowhere")
    themes, errors = load_all()
    assert sorted(theme.name for theme in themes) == sorted([*SHIPPED, "mine"])
    told = " ".join(map(str, errors))
    assert "bad name.toml: expected a file name of letters" in told
    assert "folder.toml: cannot be read: Is a directory" in told
    assert "gone.toml: no such file" in told
    assert len(errors) == 3


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nrod", "; did you mean nord?"),
        ("zzz", "; there are phitui-dark, "),
        ("../../config", "; there are phitui-dark, "),
        ("\x1b[2J\n", "; there are phitui-dark, "),
        ("n" * 5000, "; there are phitui-dark, "),
    ],
)
def test_a_name_that_is_no_theme(name: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_theme(name)
    message = str(caught.value)
    assert message.startswith('no theme is called "')
    assert told in message
    assert message.isprintable()


def test_every_colour_of_the_default_is_its_own() -> None:
    theme = load_theme(DEFAULT)
    assert len({getattr(theme, color) for color in COLORS}) == len(COLORS)


def test_every_colour_of_256_is_itself_and_the_terminals_own_stay() -> None:
    for number in (16, 23, 88, 109, 231, 232, 255):
        assert nearest(*RichColor.from_ansi(number).get_truecolor()).number == number
    own = Style(color=RichColor.parse("red"), bgcolor=RichColor.default(), bold=True)
    grey = Style(color=RichColor.from_rgb(46, 52, 64), italic=True, meta={"a": 1})
    first, second, third = FixedColours().apply(
        [Segment("a", own), Segment("b", grey), Segment("c", None)], Color.parse("black")
    )
    assert first.style == own and third.style is None
    assert second.style == Style(color=RichColor.from_ansi(237), italic=True, meta={"a": 1})
