"""What tells of long work that has ended, and what the status line says."""

import pytest
from frozen_console import LOADED, FrozenConsole
from msgspec.structs import replace
from support.resting import at_rest, painted_first
from support.waiting import until_shown
from textual.widgets._toast import Toast

from phitui.config.layers import load_config
from phitui.core.ipc.messages import Failure
from phitui.engine.protocol.api import (
    BatchEnded,
    BatchState,
    BrokeOff,
    Delta,
    Died,
    Finished,
    Rejected,
    Started,
    Timings,
    Usage,
)
from phitui.tui.terminal.notices import Notices
from phitui.tui.widgets.prompt import Prompt
from phitui.tui.widgets.status import fitted, model_pieces
from phitui.tui.widgets.transcript import Transcript

TIMINGS = Timings(38.2, 11.1, 1090.0, 88.0)


class Terminal:
    def __init__(self):
        self._driver = self
        self.app_focus = True
        self.written = []

    def write(self, data):
        self.written.append(data)


class Notifier(Notices):
    def __init__(self, how, after=10):
        self.now = 100.0
        self.terminal = Terminal()
        console = load_config(overrides={"console": {"notify": how, "notify_after_s": after}}).console
        super().__init__(self.terminal, console, lambda: self.now)


@pytest.mark.parametrize(
    ("how", "written"), [("off", []), ("bell", ["\a"]), ("osc9", ["\x1b]9;phitui: the batch xy: complete\a"])]
)
def test_long_work_is_told_of_in_the_way_that_is_set(how, written):
    notices = Notifier(how)
    notices.end("batch", "nothing has begun")
    notices.begin("batch")
    notices.now += 9
    notices.begin("batch")  # it goes on
    notices.now += 1
    notices.end("batch", "the batch x\x1b]0;t\x07y: complete")
    notices.end("batch", "twice")
    assert notices.terminal.written == written
    notices.begin("short")
    notices.end("short", "x")
    assert notices.terminal.written == written


def test_an_answer_is_told_of_where_nobody_looks():
    notices = Notifier("bell")
    notices.answered("x", 30, watched=True)
    assert notices.terminal.written == []
    notices.answered("x", 9, watched=False)
    assert notices.terminal.written == []
    notices.answered("x", 30, watched=False)
    notices.terminal.app_focus = False
    notices.answered("x", 30, watched=True)
    assert notices.terminal.written == ["\a", "\a"]


def status(app):
    return app.console_screen.query_one("#model").content, app.console_screen.query_one("#context").content


async def test_the_console_rings_for_a_long_answer_behind_another_screen(monkeypatch):
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await painted_first(pilot)
        app.load()
        told = []
        monkeypatch.setattr(app.notices, "tell", lambda text, seconds: told.append((text, seconds)))
        exchange = app.begin("a", "b")
        app.workbench.take(Finished(1, "stop", Usage(24, 3), TIMINGS))
        assert told == []
        exchange = app.begin("a", "b")
        exchange.created -= 60
        await pilot.press("f7")
        await pilot.pause()
        app.workbench.take(Finished(1, "stop", Usage(24, 3), TIMINGS))
        assert told[0][0] == "an answer is complete" and told[0][1] >= 60


async def started(pilot, monkeypatch):
    app = pilot.app
    await painted_first(pilot)
    app.load()
    told = []
    monkeypatch.setattr(app.notices, "tell", lambda text, seconds: told.append(text))
    app.console_screen.query_one(Transcript).focus()
    return told


async def test_what_was_refused_lost_or_stopped_is_not_told_of_as_complete(monkeypatch):
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        told = await started(pilot, monkeypatch)
        await pilot.press("f7")
        failure = Failure("too long", "", 2)
        for end in (
            Rejected(1, failure),
            BrokeOff(1, failure),
            Died("killed", [1], True),
            Finished(1, "cancelled", Usage(24, 3), TIMINGS),
        ):
            app.load()
            app.begin("a", "b")
            app.workbench.take(end)
            assert not app.console_screen.chat.busy
        assert told == []


async def test_of_answers_side_by_side_one_hears_when_the_last_is_there_and_nobody_looks(monkeypatch):
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        told = await started(pilot, monkeypatch)
        app.answer("Name a river.", "The Nile.")
        await at_rest(pilot)
        for looked_at in (True, False):
            app.console_screen.query_one(Transcript).focus()
            await pilot.press("a")
            await at_rest(pilot)
            app.console_screen.chat._request_id = 1
            if not looked_at:
                await pilot.press("f1")
                await pilot.pause()
            for number in (1, 3, 2):
                assert told == []
                app.workbench.take(Started(number, 24))
                app.workbench.take(Delta(number, "x", 1))
                app.workbench.take(Finished(number, "stop", Usage(24, 3), TIMINGS))
            await pilot.press("escape")
            await at_rest(pilot)
        assert told == ["3 answers are complete"]


async def test_the_status_line_says_what_the_engine_does():
    app = FrozenConsole()
    async with app.run_test(size=(160, 40)) as pilot:
        await painted_first(pilot)
        assert str(status(app)[0]) == "starting…"
        app.load()
        ready = "Phi-3 Mini 4K Instruct · int8_float16 · CUDA · batch 26"
        assert str(status(app)[0]) == ready and str(status(app)[1]) == "context – of 4,096 tokens"
        app.begin("a", "b")
        assert str(status(app)[0]) == f"{ready} · answering"
        app.workbench.take(Finished(1, "stop", Usage(24, 40), TIMINGS))
        assert str(status(app)[0]) == ready
        app.workbench.take(BatchState(9, 26, 4, 100, 5000))
        assert str(status(app)[0]) == f"{ready} · 26 batch rows"
        app.workbench.take(BatchEnded(9, "done"))
        app.console_screen.show_budget(replace(app.workbench.config.now.engine, batch=8, kv_tokens=12345))
        assert str(status(app)[0]).endswith("batch 8, 12,345 KV tokens")
        await pilot.resize_terminal(80, 24)
        await at_rest(pilot)
        assert str(status(app)[0]) == "Phi-3 Mini 4K Instruct · int8_float16 · CUDA"
        assert str(status(app)[1]) == "context 2 %"


@pytest.mark.parametrize("width", range(10, 140, 7))
def test_a_status_line_is_as_wide_as_there_is_room_and_leaves_out_the_last_first(width):
    pieces = [*model_pieces(LOADED), "batch 26", "own system", "answering"]
    contexts = ["context 64 (2 %) of 4,096 tokens", "context 64 (2 %) of 4,096", "context 2 %"]
    text, context = fitted(pieces, 3, contexts, width)
    kept = text.split(" · ")
    assert kept == pieces[: len(kept)]
    assert len(kept) == 1 or len(text) + len(context) <= width
    if len(kept) < 3:
        assert context == contexts[-1]


@pytest.mark.parametrize(
    ("keys", "named"),
    [({}, "F12 gives"), ({"app.mouse": "ctrl+g"}, "^g gives"), ({"app.mouse": "none"}, "palette")],
)
async def test_the_line_about_the_mouse_names_the_key_in_force(keys, named):
    app = FrozenConsole(keys=keys)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        said = []
        app.notify = lambda text, **_: said.append(text)
        app._driver._mouse = False
        app.action_toggle_mouse()
        assert named in said[0]


async def test_the_mouse_is_toggled_by_a_key():
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await painted_first(pilot)
        said = []
        app.notify = lambda text, **_: said.append(text)
        before = app._driver._mouse
        await pilot.press("f12")
        await pilot.press("f12")
        assert app._driver._mouse is before and len(said) == 2
        assert {"selects text" in text for text in said} == {True, False}


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
async def test_notices_never_cover_the_prompt(size):
    app = FrozenConsole()
    async with app.run_test(size=size, notifications=True) as pilot:
        await painted_first(pilot)
        app.load()
        prompt = app.console_screen.query_one(Prompt)
        prompt.text = "one\ntwo\nthree\nfour\nfive"
        for number in range(4):
            app.notify(f"Notice {number} in words that take more than a line where the terminal is narrow")
        await until_shown(pilot, lambda: len(app.screen.query(Toast)) == 4)
        await at_rest(pilot)
        rows = [row.text for row in app.screen._compositor.render_strips()]
        top, bottom = prompt.region.y, prompt.region.bottom
        assert "Notice 0" in "".join(rows[:top]) and "three" in "".join(rows[top:bottom])
        assert not any("▌" in row or "Notice" in row for row in rows[top:])
