"""What a terminal shows after partial repaints is what the screen holds: nothing is missing, nothing is left behind."""

import random
import re

import pyte
import pytest
from frozen_console import ANSWER, LOADED, WITH_CARD, WITHOUT_CARD, FrozenConsole
from support.resting import at_rest, handled, painted_first
from support.waiting import until, until_shown
from textual._compositor import ChopsUpdate, CompositorUpdate
from textual.widgets import Static

from phitui.engine.protocol.api import Delta, Finished, Timings, Usage
from phitui.tui.app.painting import PaintingApp
from phitui.tui.terminal.screen_diff import DiffUpdate

TEXT = (
    ANSWER + "\n\nIn this code, `get_cache` is a function.\n\n```python\nx = 1\n\n\nprint(x)\n```\n"
    "漢字 and \u05d0\u05d1, 🚀.\n"
    "- one\n  - two\n\ta tab\n" + "a long line of words that goes on and on " * 8 + "\n\n"
)


class Painted(FrozenConsole):
    """Writes what it would write to a terminal into an emulator."""

    def __init__(self, columns, rows, **options):
        super().__init__(**options)
        self.terminal = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self.terminal)

    def _display(self, screen, renderable):
        if screen is self.screen and isinstance(renderable, CompositorUpdate):
            update = renderable
            if isinstance(renderable, ChopsUpdate):
                update = DiffUpdate(renderable, self._terminal_cells)
            self._stream.feed(update.render_segments(self.console).replace("\n", "\r\n"))
        super()._display(screen, renderable)

    def held(self):
        return [row.text.rstrip() for row in self.screen._compositor.render_strips()]

    def shown(self):
        return [row.rstrip() for row in self.terminal.display]


async def settled(pilot):
    await pilot.pause()
    await pilot.wait_for_scheduled_animations()


async def same(pilot):
    app = pilot.app
    await settled(pilot)
    await until_shown(pilot, lambda: app.shown() == app.held())  # a repaint may be on its way


@pytest.mark.parametrize(
    ("size", "snapshot"), [((80, 24), WITHOUT_CARD), ((120, 40), WITH_CARD)], ids=["80x24", "120x40"]
)
async def test_an_answer_that_streams(size, snapshot):
    draw = random.Random(size[0])
    app = Painted(*size, snapshot=snapshot)
    async with app.run_test(size=size) as pilot:
        await painted_first(pilot)
        app.load(LOADED.title)
        app.begin("Say something.", "")
        pieces = re.findall(r"\n+|[^\n]{1,9}", TEXT)  # as tokens: a line begins with one of its own
        for number, piece in enumerate(pieces):
            app.workbench.take(Delta(1, piece, number))
            if piece[0] == "\n" or pieces[number - 1][0] == "\n" or draw.random() < 0.1:
                await pilot.pause(0.1)  # it is painted
                await same(pilot)
            if draw.random() < 0.1:
                await pilot.press(draw.choice(["a", "b", "backspace", "pageup", "pagedown", "up"]))
        app.workbench.take(Finished(1, "stop", Usage(24, len(pieces)), Timings(38.2, 11.1, 1090.0, 88.0)))
        await same(pilot)


async def test_what_streams_below_a_screen_paints_nothing_on_it():
    app = FrozenConsole(snapshot=WITHOUT_CARD)
    async with app.run_test(size=(80, 24)) as pilot:
        await painted_first(pilot)
        app.load(LOADED.title)
        app.begin("Say something.", "")
        app.action_monitor()
        await at_rest(pilot)
        painted = []
        display = app._display
        app._display = lambda screen, update: (painted.append(update), display(screen, update))
        for number in range(60):
            app.workbench.take(Delta(1, "a line\n", number))
            await pilot.pause(0.01)
        assert painted == []
        assert app._background_screens == []
        app.action_command_palette()
        await at_rest(pilot)
        assert app._background_screens == [app.monitor]  # which is seen through it
        await pilot.press("escape", "escape")
        await at_rest(pilot)
        assert app.screen is app.console_screen
        assert any("a line" in row.text for row in app.screen._compositor.render_strips())


class Changing(PaintingApp):
    """A screen with one line, which is changed."""

    def __init__(self):
        super().__init__()
        self.repaints = []

    def compose(self):
        yield Static("before")

    def _display(self, screen, renderable):
        if renderable is not None and not self._batch_count:
            self.repaints.append([row.text.rstrip() for row in screen._compositor.render_strips()])
        super()._display(screen, renderable)


@pytest.mark.parametrize("kind", ["update", "layout"])
async def test_what_changes_in_a_batch_of_updates_is_painted_after_it(kind):
    app = Changing()
    async with app.run_test(size=(40, 10)) as pilot:
        await handled(app)
        with app.batch_update():
            app.query_one(Static).update("after")
            if kind == "layout":
                app.screen._refresh_layout(app.size)
            await handled(app, 0.2)  # its screen has heard of it, and paints nothing
            assert "after" not in app.repaints[-1][0]
        await until_shown(pilot, lambda: "after" in app.repaints[-1][0])


async def test_nothing_else_has_to_happen_for_it():
    app = Changing()
    async with app.run_test(size=(40, 10)):
        await handled(app)
        with app.batch_update():
            app.query_one(Static).update("after")
            await handled(app, 0.2)
        await until(lambda: "after" in app.repaints[-1][0])  # without a message of a pilot's
