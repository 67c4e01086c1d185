"""Whatever a model, a file, a server or an import has in its text: the terminal gets none of it raw.

What each screen would write to the terminal is taken where Textual hands it to its driver, and read as a terminal
does: of escape sequences only those that Textual writes itself, and of the rest only what is text.
"""

import random
import re

import frozen_models
import msgspec
import pytest
from frozen_console import CARD, HOST, FrozenConsole
from rich.console import RenderableType
from support.resting import at_rest
from test_batch_snapshots import order, progress
from test_console_screen import ready, until
from textual import events
from textual._compositor import CompositorUpdate
from textual.app import App
from textual.drivers.headless_driver import HeadlessDriver
from textual.widgets import DataTable

from phitui.config.layers import home
from phitui.core.ipc.messages import Failure
from phitui.core.text import sanitize
from phitui.engine.protocol.api import Delta, Finished, Started, Timings, Usage
from phitui.hardware.snapshot import Process, Snapshot
from phitui.storage.presets import FILE_NAME, Presets
from phitui.storage.sessions.session_types import KeptTurn
from phitui.storage.sessions.sessions import SessionStore
from phitui.tui.screens.several import SeveralScreen
from phitui.tui.widgets.prompt import Prompt
from phitui.workbench.batch.queue import BatchEntry
from phitui.workbench.models.inventory import ModelRow

MARK = "4242"  # in no sequence of Textual's own
PIECES = [
    f"\x1b[{MARK}m", f"\x1b[{MARK}H", f"\x9b{MARK}J", f"\x1b]0;{MARK}\x07", f"\x1b]52;c;{MARK}\x1b\\",
    f"\x1bP{MARK}\x1b\\",
    f"\x9d8;;{MARK}\x9c", "\x1bc", "\x1b", "\x00", "\x07", "\x08", "\r", "\x0b", "\x0e", "\x18", "\x7f", "\x85", "\x9b",
    "\u2028", "\u202a", "\u202e", "\u2066", "\u200b", "\u200d", "\u200d\u200d", "\u2060", "\ufeff", "\ufff9", "\xad",
    "\U000e0041", "\ud800", "\udfff", "[bold]M[/bold]", "[@click=app.quit]M[/]", "[/]", "[[", "\\[", "$primary", "漢字",
    "👩\u200d🚀", "e\u0301", "\u0301", "\u05e9\u05dc\u05d5\u05dd", "word ",
    "words, ", "\n", "\t", "**b**", "`c`", "<b>",
    f"\n\n| a | b |\n|---|---|\n| \x1b[{MARK}m | x |\n\n", f"\n```py\n\x9b{MARK}m x = 1\n```\n", "\n- item\n",
    f"[x](http://e/\x1b[{MARK}m)", f"![i](\x1b]8;;{MARK}\x07)", f"&#27;[{MARK}m",
    f"&#x9b;{MARK}m", "&#x202e;", "&zwnj;",
    "&shy;", "&#x200b;", "&ZeroWidthSpace;", "\n# ",
]  # fmt: skip
SEEDS = range(2)


def nasty(draw, most=12):
    """Pieces as they come, and one of each kind now and then."""
    text = "".join(draw.choices(PIECES, k=draw.randint(1, most)))
    return text + "".join(chr(draw.randrange(0x250)) for _ in range(draw.randint(0, 6)))


@pytest.fixture
def written(monkeypatch):
    """All that goes to the terminal: frames, and what is written beside them."""
    pieces = []

    def display(app, screen, renderable: RenderableType | None):
        if isinstance(renderable, CompositorUpdate):
            pieces.append(renderable.render_segments(app.console))
        elif renderable is not None:
            pieces.append(app.console._render_buffer(app.console.render(renderable)))

    monkeypatch.setattr(App, "_display", display)
    monkeypatch.setattr(HeadlessDriver, "write", lambda driver, data: pieces.append(data))
    return pieces


def assert_clean(written):
    """Textual's frames have colours (m) and places (H, C) alone; beside them it changes the pointer."""
    assert len(written) > 3
    for piece in written:
        piece.encode()  # no lone surrogates
        if re.fullmatch(r"\x1b\]22;\w+\x07", piece):
            continue
        rest = re.sub(rf"\x1b\[(?![0-9;]*{MARK})[0-9;]*[mHC]", "", piece)
        wrong = {character for character in rest if sanitize(character) != character}
        assert not wrong, (ascii(wrong), ascii(rest))


@pytest.fixture(params=SEEDS)
def draw(request):
    return random.Random(request.param)


async def begun(pilot):
    await ready(pilot)
    pilot.app.load()


async def test_answers_as_they_stream_and_as_markdown(written, draw):
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        for _ in range(4):
            text = nasty(draw, 40)
            exchange = app.begin("p" + _no_surrogate(nasty(draw)), "")
            for start in range(0, len(text), 7):
                app.workbench.take(Delta(1, text[start : start + 7], start))
                await pilot.pause(0.01)
            app.workbench.take(Finished(1, "stop", Usage(24, 9), Timings(38.2, 11.1, 1090.0, 88.0), [nasty(draw)]))
            await until(pilot, lambda exchange=exchange: exchange.state.over)
            await at_rest(pilot)
        await pilot.press("shift+tab", "up", "up", "e")
        await at_rest(pilot)
    assert_clean(written)


async def test_prompts_that_are_lost_pasted_or_attached(written, draw, tmp_path):
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        prompt = app.console_screen.query_one(Prompt)
        app.begin("p" + _no_surrogate(nasty(draw)), "")
        app.die()
        await until(pilot, lambda: prompt.text)
        prompt.clear()
        app.post_message(events.Paste(nasty(draw, 40)))
        await at_rest(pilot)
        prompt.clear()
        for number in range(3):
            name = "".join(c for c in nasty(draw, 6) if c not in "/\x00\n")[:40].encode("utf-8", "replace").decode()
            file = tmp_path / f"{number}{name}"
            file.write_bytes(nasty(draw, 30).replace("\x00", "").encode("utf-8", "replace"))
            app.console_screen.prompting.spawn(app.console_screen.prompting.attach(str(file)))
            await at_rest(pilot)
        prompt.insert(f"/file {tmp_path}/")  # its completions
        await at_rest(pilot)
    assert_clean(written)


async def test_find_and_every_other_field_that_takes_a_paste(written, draw):
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        app.answer("p" + _no_surrogate(nasty(draw)), nasty(draw, 30))
        app.console_screen.find(nasty(draw))
        await at_rest(pilot)
        app.console_screen.find("M")
        await pilot.press("n", "escape")
        for keys in (
            ["alt+c", "slash"],
            ["f6", "slash"],
            ["f2", "p"],
            ["f5", "a"],
            ["f1"],
            ["f7"],
            ["f3", "s"],
            ["ctrl+p"],
        ):
            await pilot.press("escape", "escape", "escape", "alt+p", *keys)
            app.post_message(events.Paste(nasty(draw)))
            app.post_message(events.Paste(nasty(draw).replace("\n", "").replace("\r", "")))
            await at_rest(pilot)
        await pilot.press("escape")
    assert_clean(written)


async def test_sessions_from_elsewhere(written, draw, tmp_path):
    store = SessionStore(tmp_path / "home" / "sessions.db")
    for _ in range(5):
        turns = [
            KeptTurn(id=-1, prompt="M" + nasty(draw), text=nasty(draw, 30), model=nasty(draw)),
            KeptTurn(
                id=-2, parent=-1, prompt=nasty(draw), text="M" + nasty(draw), model=nasty(draw), error=nasty(draw)
            ),
        ]
        store.insert(_no_surrogate(nasty(draw)), _no_surrogate(nasty(draw)), 1.7e9, _no_surrogates(turns), -2)
    store.close()
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot)
        app.sessions.start()
        await at_rest(pilot)
        await pilot.press("f6")
        await until(pilot, lambda: app.screen.query(DataTable) and app.screen.query_one(DataTable).row_count == 5)
        await pilot.press("down", "down", "down", "r", "escape", "e", "escape", "slash", "M")
        await at_rest(pilot)
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.screen is app.console_screen)
        await at_rest(pilot)
        await pilot.press("f7")
        await at_rest(pilot)
    assert_clean(written)


def _no_surrogate(text):
    return text.encode("utf-8", "replace").decode()


def _no_surrogates(turns):
    texts = ("prompt", "text", "model", "error")
    return [
        msgspec.structs.replace(t, **{name: _no_surrogate(getattr(t, name) or "") for name in texts}) for t in turns
    ]


async def test_models_and_engines(written, draw):
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot)
        for _ in range(2):
            app.load(nasty(draw), name=nasty(draw), why=nasty(draw), device=nasty(draw), compute_type=nasty(draw))
            await at_rest(pilot)
        app.workbench.take(Failure("unavailable", nasty(draw), nasty(draw)))
        frozen_models.fill(app)
        manifest = msgspec.structs.replace(
            frozen_models.ROWS[0].manifest, title=nasty(draw), source=nasty(draw), license=nasty(draw),
            quantization=nasty(draw), context_note=nasty(draw), end_tokens=[nasty(draw)], converter=nasty(draw),
        )  # fmt: skip
        app.workbench.models.rows = [
            ModelRow(nasty(draw), frozen_models.STORE / "x", manifest),
            ModelRow(nasty(draw), frozen_models.STORE / "y", error=nasty(draw)),
        ]
        await pilot.press("f2", "down", "up", "d", "escape", "p", "escape", "escape")
        app.engines.open()
        await at_rest(pilot)
    assert_clean(written)


async def test_messages_readings_and_processes(written, draw):
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot)
        for _ in range(3):
            app.notify(nasty(draw))
            app.warn(nasty(draw))
            app.console_screen.say(nasty(draw), "bad")
        processes = [Process(n, "C", 1 << 30, 1.0, nasty(draw), nasty(draw), nasty(draw)) for n in (1, 2)]
        reasons = {name: nasty(draw) for name in ("temperature_c", "gpu", "name")}
        card = msgspec.structs.replace(CARD, name=nasty(draw), processes=processes, throttle_reasons=[nasty(draw)])
        host = msgspec.structs.replace(HOST, unavailable=reasons)
        app.snapshot = Snapshot(0.0, host, [card], reasons, nasty(draw), nasty(draw))
        app.read(app.snapshot)
        await pilot.press("f4", "w", "down", "w")
        app.read(app.snapshot)
        await at_rest(pilot)
    assert_clean(written)


async def test_answers_side_by_side_and_parts_of_an_answer(written, draw):
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot)
        exchange = app.answer("p" + _no_surrogate(nasty(draw)), "M\n```\n" + nasty(draw) + "\n```\n")
        await pilot.press("shift+tab", "c")
        await at_rest(pilot)
        await pilot.press("enter", "escape")  # into the clipboard, as one coded sequence
        written[:] = [piece for piece in written if not re.fullmatch(r"\x1b\]52;c;[A-Za-z0-9+/=]*\x07", piece)]
        app.console_screen.branching.several(exchange, 3)
        await until(pilot, lambda: isinstance(app.screen, SeveralScreen))
        app.console_screen.chat._request_id = 1
        for number in (1, 2, 3):
            app.workbench.take(Started(number, 24))
            app.workbench.take(Delta(number, nasty(draw, 40), 12))
        app.workbench.take(Finished(2, "stop", Usage(24, 13), Timings(38.2, 11.1, 1090.0, 88.0)))
        await pilot.press("right")
        await at_rest(pilot)
    assert_clean(written)


async def test_batches_presets_and_parameters(written, draw):
    Presets(home() / FILE_NAME).keep("p" + _no_surrogate(nasty(draw))[:30], "text" + _no_surrogate(nasty(draw)))
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot)
        name = _no_surrogate(nasty(draw)).replace("/", "").replace("\x00", "")
        app.workbench.batches.entries.append(
            BatchEntry(
                order(name),
                "failed",
                nasty(draw),
                error=nasty(draw),
                progress=progress(rows=9, failed=1, reasons=[nasty(draw)]),
            )
        )
        await pilot.press("f5")
        await at_rest(pilot)
        await pilot.press("escape")
        app.parameters.set_system(_no_surrogate(nasty(draw, 30)))
        await pilot.press("f7")
        await at_rest(pilot)
        await pilot.press("ctrl+o", "down")
        await at_rest(pilot)
    assert_clean(written)
