"""Whatever is typed, on whatever screen, nothing fails: as many keys as a fast typist (5 a second) makes in 20 minutes.

They are typed as fast as the console takes them. `python tests/tui/test_random_keys.py 20` types other ones for so many
minutes of that typist's time, and prints each seed.
"""

import asyncio
import itertools
import random
import sys
import unicodedata

import frozen_models
import psutil
import pytest
from frozen_console import ANSWER, CARD, HOST, LOADED, FrozenConsole, QuietEngine
from textual import events
from textual.keys import REPLACED_KEYS, _character_to_key, _get_unicode_name_from_key

from phitui.config.layers import home
from phitui.engine.protocol.api import Delta, Finished, Started, Timings, Usage
from phitui.hardware.history import History
from phitui.hardware.snapshot import Snapshot
from phitui.storage.presets import FILE_NAME, Presets
from phitui.tui.keys.catalog import PLACES, all_actions
from phitui.tui.screens.monitor import MonitorScreen

KEYS, SEEDS = 6000, 12
SIZES = [(120, 40), (80, 24), (45, 13), (200, 50), (30, 8)]
# Where keys lead to, but by chance too seldom; each begins at the console.
WAYS = [
    ["f2", "p"], ["f3", "s"], ["f4", "slash"], ["f5", "a"], ["f6", "slash"], ["f6", "r"], ["f6", "d"], ["f7", "ctrl+o"],
    ["ctrl+p", *"theme"], ["ctrl+p", *"themes", "enter"], ["ctrl+p", *"engines", "enter"], ["f1", *"key"],
    ["alt+c", "up", "a"], ["alt+c", "c"], ["alt+c", "v"], ["alt+c", "slash", *"cache", "enter"], ["alt+c", "e"],
    [*"/find key", "enter"], [*"/theme", "enter"], [*"/file a", "tab", "enter"], [*"/set top_k 1", "enter"],
    [*"words", "enter"], [*"two", "ctrl+j", *"lines", "enter"],
]  # fmt: skip
# Not those that leave the console.
PRESSED = sorted({key for one in all_actions() if one.id not in ("app.quit", "app.interrupt") for key in one.keys})
MOVES = ["up", "down", "left", "right", "home", "end", "pageup", "pagedown", "tab", "shift+tab", "enter", "escape"]
TEXT = [*"abcdefghijklmnopqrstuvwxyzGU/?0123 ", "é", "漢", "👩", "\u200d", "[", "delete", "backspace", "space"]
WORDS = ["cache ", "[red]", "/find", "12.5", "no", "wait, ", "Stadtbücherei ", "漢字", "qzg", "\\n"]
ANSWERS = [
    ANSWER,
    "Short.",
    "漢字 👩\u200d🚀 e\u0301\n\n```python\nprint(1)\n",
    "\x1b[2J[red]x[/] | a | b |\n|---|---|\n",
    "",
]
KINDS = {place.screen.partition(":")[2] for place in PLACES} - {"ReplayApp"} | {"Palette"}
seen: dict[int, set[str]] = {}


class Answering(QuietEngine):
    """Answers at once, now and then an error's way."""

    def __init__(self, app, draw):
        self._app, self._draw, self._ids = app, draw, itertools.count(1)

    async def generate(self, turns, sampling, answers=1):
        ids = list(itertools.islice(self._ids, answers))
        for number in ids:
            text, reason = self._draw.choice(ANSWERS), self._draw.choice(["stop", "length", "cancelled"])
            for event in (
                Started(number, 24),
                Delta(number, text, 9),
                Finished(number, reason, Usage(24, 9), Timings(38.2, 11.1, 1090.0, 88.0)),
            ):
                asyncio.get_running_loop().call_later(0.02, self._app.workbench.take, event)
        return ids[0]

    async def load(self, wish):
        self.loaded = LOADED
        asyncio.get_running_loop().call_later(0.02, self._app.workbench.take, LOADED)


class Typed(FrozenConsole):
    """The real console, whose engine answers what it has in store. It does not quit, its monitor ends no processes,
    and its readings are always the same."""

    def __init__(self, seed):
        super().__init__()
        self.monitor = MonitorScreen(History(), "here", readonly=True, ascii_only=False)
        self.snapshot = Snapshot(0.0, HOST, [CARD])
        self.use(Answering(self, random.Random(seed)))

    async def _start(self):
        await super()._start()
        self.sessions.start()
        await self._recall_prompts()

    async def action_quit(self):
        """It stays."""


def keys(seed, count):
    """`count` keys, or a size to change to."""
    draw = random.Random(seed)
    waiting = []
    for _ in range(count):
        if not waiting:
            kind = draw.choices(["key", "move", "text", "word", "way", "size"], [25, 25, 20, 20, 5, 1])[0]
            if kind == "size":
                waiting = [draw.choice(SIZES)]
            elif kind == "word":
                waiting = [*draw.choice(WORDS)]
            elif kind == "way":
                waiting = ["escape", "escape", "alt+p", "ctrl+u", *draw.choice(WAYS)]
            else:
                waiting = [draw.choice({"key": PRESSED, "move": MOVES, "text": TEXT}[kind])]
        yield waiting.pop(0)


async def press(app, key):
    """As Textual's pilot does, which then waits until the process rests: too long for so many."""
    name = _character_to_key(key) if len(key) == 1 and not key.isalnum() else key
    try:
        character = unicodedata.lookup(_get_unicode_name_from_key(REPLACED_KEYS.get(name, name)))
    except KeyError:
        character = key if len(key) == 1 else None
    event = events.Key(name, character)
    event.set_sender(app)
    app._driver.send_message(event)
    for _ in range(200):
        await asyncio.sleep(0.002)
        if all(node is None or node._message_queue.empty() for node in (app, app.screen, app.screen.focused)):
            return


async def type_keys(seed, count):
    """Returns the names of the screens that were seen."""
    app, typed, found = Typed(seed), [], set()
    Presets(home() / FILE_NAME).keep("brief", "Answer in one sentence.")
    size = SIZES[seed % 3]
    try:
        async with app.run_test(size=size) as pilot:
            while app._early is not None:
                await pilot.pause(0.02)
            app.load()
            frozen_models.fill(app)
            app.answer("What is a KV cache?", ANSWER)
            app.answer("And in short?", "Keys and values.")
            for key in keys(seed, count):
                typed.append(key)
                if isinstance(key, tuple):
                    await pilot.resize_terminal(*key)
                else:
                    await press(app, key)
                found.add(type(app.screen).__name__)
            await pilot.pause(0.2)
    except BaseException:
        print(f"seed {seed} at {size}: … {typed[-40:]}", file=sys.stderr)
        raise
    return found


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_random_keys_find_no_traceback(seed, monkeypatch, tmp_path):
    quietly(monkeypatch, tmp_path)
    seen[seed] = await type_keys(seed, KEYS // SEEDS)
    assert len(seen[seed]) > 3, seen


def test_every_kind_of_screen_was_reached():
    if len(seen) < SEEDS:
        pytest.skip("not all seeds ran here")
    assert not KINDS - set().union(*seen.values())


def quietly(patch, folder):
    """No network, no file outside `folder`, no signal to anybody."""

    def refused(*_):
        raise AssertionError("a process was to be ended")

    patch.chdir(folder)
    patch.setenv("HF_HUB_OFFLINE", "1")
    patch.setenv("PIP_NO_INDEX", "1")
    patch.setenv("EDITOR", "true")
    patch.setenv("VISUAL", "")
    patch.setenv("PHITUI_HOME", str(folder / "home"))
    patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    for name in ("send_signal", "terminate", "kill"):
        patch.setattr(psutil.Process, name, refused)


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    total = int(float(sys.argv[1]) * 60 * 5)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        quietly(patch, Path(name))
        for number in range(100, 100 + -(-total // 500)):
            print(number, sorted(asyncio.run(type_keys(number, min(500, total)))), flush=True)
            patch.chdir(name)
