"""Every screen in ASCII, without colours, with little motion; themes that are looked at before one is kept."""

import pytest
from frozen_console import ANSWER, WITH_CARD, FrozenConsole
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from support.resting import at_rest
from test_console_screen import ready, until
from textual.widgets import OptionList

from phitui.config.layers import config_dir
from phitui.tui.screens.theme_list import ThemeList
from phitui.tui.terminal.ascii_filter import to_ascii
from phitui.tui.terminal.display import graphs_in_ascii
from phitui.tui.widgets.prompt import Prompt
from phitui.tui.widgets.transcript import Transcript

SCREENS = ["", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "ctrl+p", "side by side"]


def frozen(**console):
    return FrozenConsole(snapshot=WITH_CARD, console=console)


async def shown(pilot, key):
    """The segments of the screen that a key opens."""
    if key:
        before = pilot.app.screen
        if key == "side by side":
            pilot.app.console_screen.branching.several(pilot.app.console_screen.chat.roots[0], 3)
        else:
            await pilot.press(key)
        await until(pilot, lambda: pilot.app.screen is not before)
    await at_rest(pilot)
    strips = pilot.app.screen._compositor.render_strips()
    return [segment for strip in strips for segment in strip]


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
@pytest.mark.parametrize("key", SCREENS)
async def test_every_screen_in_ascii(key, size):
    app = frozen(symbols="ascii")
    async with app.run_test(size=size) as pilot:
        await ready(pilot)
        app.load()
        app.answer("Füße, 漢字, 👩\u200d🚀 and e\u0301?", ANSWER)
        segments = await shown(pilot, key)
        assert "".join(segment.text for segment in segments).isascii()
        assert sum(segment.cell_length for segment in segments) == size[0] * size[1]


@pytest.mark.parametrize("key", SCREENS)
async def test_every_screen_without_colours(monkeypatch, key):
    monkeypatch.setenv("NO_COLOR", "1")
    app = frozen()
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        app.load()
        app.answer("What is a KV cache?", ANSWER)
        for segment in await shown(pilot, key):
            for color in (segment.style.color, segment.style.bgcolor) if segment.style else ():
                if color is not None and color.triplet is not None:
                    assert len(set(color.triplet)) == 1, segment


@given(st.text(max_size=30))
def test_ascii_is_as_wide_as_what_it_stands_for(text):
    plain = to_ascii(text)
    assert plain.isascii()
    assert text.isascii() or len(plain) == cell_len(text)


def test_letters_keep_their_shape():
    assert to_ascii("Füße │ → 漢 e\u0301…") == "Fu?e | > ?? e~"
    assert graphs_in_ascii("auto", "ascii") and graphs_in_ascii("ascii", "unicode")
    assert not graphs_in_ascii("braille", "unicode")


@pytest.mark.parametrize(
    ("motion", "ssh", "still"), [("auto", True, True), ("full", True, False), ("reduced", False, True)]
)
async def test_motion(monkeypatch, motion, ssh, still):
    if ssh:
        monkeypatch.setenv("SSH_CONNECTION", "somewhere")
    app = frozen(motion=motion)
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.pause()
        assert app.screen.query_one(Prompt).cursor_blink is not still
        assert (app.animation_level == "none") is still
        hz = 1 / app.screen.query_one(Transcript)._period_s
        assert hz == pytest.approx(4 if still else 12)
        assert app.console_screen._pace.repaint_hz == pytest.approx(hz)


async def test_a_theme_is_seen_before_it_is_kept():
    app = FrozenConsole()
    file = config_dir() / "config.toml"
    async with app.run_test() as pilot:
        await ready(pilot)
        for key, left in (("escape", "phitui-dark"), ("enter", None)):
            app.choose_theme()
            await until(pilot, lambda: isinstance(app.screen, ThemeList) and app.screen.query(OptionList))
            await pilot.press("down", "down")
            await until(pilot, lambda: app.theme != "phitui-dark")
            seen = app.theme
            await pilot.press(key)
            await until(pilot, lambda: not isinstance(app.screen, ThemeList))
            await until(pilot, lambda left=left, seen=seen: app.theme == (left or seen))
            assert file.exists() is (key == "enter")
        assert f'name = "{seen}"' in file.read_text()
