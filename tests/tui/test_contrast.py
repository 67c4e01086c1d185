"""What the console shows can be read, in every theme, in true colour and in 256: each cell that it paints, with the
cursor on it, chosen, empty or off. 4.5:1 for text and 3:1 for bars and marks (WCAG 2.2, 1.4.3 and 1.4.11)."""

from functools import cache

import frozen_models
import pytest
from frozen_console import ANSWER, FrozenConsole
from frozen_monitor import CARD, LOST, FrozenMonitor, snapshots
from frozen_tuner import FrozenTuner, run_state_of
from support.resting import at_rest, painted_first
from test_batch_snapshots import entries
from test_dialog_snapshots import SHOWN, on_batch, on_find, on_help, on_palette, on_pull
from test_themes import READABLE, SEEN, contrast
from textual.color import Color
from textual.screen import ModalScreen

# Borders and rules only order what is there; the unfilled part of a bar only has to show.
LINES = set("─│┌┐└┘├┤┬┴┼╷╵╶╴╭╮╰╯▔▁▏▕▎▊▌▐━")
MARKS = set("█▓▒░━╸●○◆×▇▆▅▄▃▂▶▲▼≈…·‥") | {chr(dots) for dots in range(0x2800, 0x2900)}
# The themes differ in nothing but colours: what each kind of widget has is looked at in all, every dialog in two.
WHOLE = ("phitui-dark", "phitui-light")
SOME = [on_help, on_palette, on_batch, on_pull, on_find]
FAINT = ("gauge-track", "gauge-free", "border-blurred")


def least(text, front, theme):
    """The contrast that this text needs."""
    drawn = set(text) - {" "}
    if drawn <= LINES and (drawn != {"━"} or front in {Color.parse(theme[name]).hex for name in FAINT}):
        return 0.0
    return 3.0 if drawn <= MARKS | LINES else 4.5


def cells(app):
    """Each text of the topmost screen with its colours: not what a dialog stands above."""
    screen = app.screen
    own = [node.region for node in screen.children] if isinstance(screen, ModalScreen) else [screen.region]
    for y, strip in enumerate(screen._compositor.render_strips()):
        x = 0
        for text, style, _ in strip:
            if text.strip() and style and any(region.contains(x, y) for region in own):
                pair = [Color(*color.get_truecolor()).hex for color in (style.color, style.bgcolor)]
                yield text, *(reversed(pair) if style.reverse else pair), (x, y)
            x += len(text)


@cache
def ratio_of(front, behind, seen):
    return contrast(seen(front), seen(behind))


def faults(app, seen):
    for text, front, behind, place in cells(app):
        ratio = ratio_of(front, behind, seen)
        if ratio < least(text, front, app.theme_variables):
            yield f"{ratio:.2f}:1 {text.strip()[:40]!r} at {place}, {front} on {behind}"


async def home(pilot):
    """Back to the console, nothing typed."""
    while pilot.app.screen is not pilot.app.console_screen:
        await pilot.app.pop_screen()
    await pilot.press("escape", "alt+p", "ctrl+u")


async def states(pilot, dialogs):
    """The console's screens, dialogs and lists, one after the other; the name of each."""
    app = pilot.app
    app.load()
    yield "an empty chat"
    app.begin("And on?", "an answer on its way")
    app.decode()
    yield "an answer on its way"
    app.die()
    yield "an engine that died"
    app.load()
    app.answer("What is a KV cache?", ANSWER)
    yield "an answer"
    frozen_models.fill(app)
    app.workbench.batches.entries += entries()
    for shown in dialogs:
        await shown(pilot)
        yield shown.__name__
        await home(pilot)
    for key in ("f2", "f3", "f5", "f6", "f7"):
        await pilot.press(key)
        yield key
        for _ in range(2):
            await pilot.press("down")
            yield f"{key} with the cursor down"
        await home(pilot)


@pytest.mark.parametrize("name", READABLE)
async def test_all_of_the_console_can_be_read(name):
    app, found = FrozenConsole(name, engines={"box": {"url": "http://127.0.0.1:9"}}), []
    async with app.run_test(size=(120, 40)) as pilot:
        await painted_first(pilot)
        async for state in states(pilot, SHOWN if name in WHOLE else SOME):
            await at_rest(pilot)
            for seen in SEEN.args[1]:
                found += [f"{state}, {seen.__name__}: {fault}" for fault in faults(app, seen)]
    assert not found, "\n".join(dict.fromkeys(found))


@SEEN
@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("app", ["monitor", "tuner"])
async def test_monitor_and_tuner_can_be_read(app, name, seen):
    made = FrozenMonitor(snapshots(CARD, LOST), name) if app == "monitor" else FrozenTuner(run_state_of(), name)
    async with made.run_test(size=(120, 40)) as pilot:
        await painted_first(pilot)
        found = []
        for key in ("down", "tab", "down"):
            await pilot.press(key)
            await at_rest(pilot)
            found += [f"after {key}: {fault}" for fault in faults(made, seen)]
    assert not found, "\n".join(dict.fromkeys(found))


@pytest.mark.parametrize("key", ["f2", "f5"])
async def test_rows_with_colours_take_those_of_another_theme(key):
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await painted_first(pilot)
        frozen_models.fill(app)
        app.workbench.batches.entries += entries()
        await pilot.press(key)
        await at_rest(pilot)
        app.use_theme("phitui-light")
        await at_rest(pilot)
        assert [*faults(app, str)] == []
