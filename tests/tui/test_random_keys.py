"""Whatever is typed, on whatever screen, nothing fails.

What stays in the suite is short; `python tests/tui/test_random_keys.py 20` types for as long as 20 minutes of a fast
typist (5 keys a second) take, and prints each seed.
"""

import asyncio
import random
import sys

import psutil
import pytest
from frozen_console import CARD, HOST

from phitui.config import load_config
from phitui.hardware.history import History
from phitui.hardware.snapshot import Snapshot
from phitui.tui.app import PhituiApp
from phitui.tui.screens.monitor import MonitorScreen

# Not those that leave: ctrl+q, ctrl+c.
SCREENS = ["f2", "f3", "f4", "f5", "f6", "f8", "ctrl+p", "ctrl+n", "ctrl+t"]
MOVES = ["up", "down", "left", "right", "home", "end", "pageup", "pagedown", "tab", "shift+tab", "enter", "escape"]
LETTERS = [*"abcdefghijklmnopqrstuvwxyzGU/?0123 ", "é", "漢", "👩", "\u200d", "[", "delete", "backspace", "ctrl+u"]
PER_SEED = 70


class Typed(PhituiApp):
    """The real console without an engine: there is no model of that name. Its monitor ends no processes, and the
    readings are always the same."""

    def __init__(self):
        super().__init__(load_config(overrides={"model": {"name": "not-there"}}))
        self.monitor = MonitorScreen(History(), "here", readonly=True, ascii_only=False)

    def _on_snapshot_thread(self, snapshot):
        super()._on_snapshot_thread(Snapshot(snapshot.time, HOST, [CARD]))


def keys(seed, count):
    draw = random.Random(seed)
    for _ in range(count):
        yield draw.choice(draw.choices([SCREENS, MOVES, LETTERS], [2, 4, 4])[0])


async def type_keys(seed, count):
    """Returns the names of the screens that were seen."""
    app, typed, seen = Typed(), [], set()
    size = [(120, 40), (80, 24), (200, 50), (45, 13)][seed % 4]
    try:
        async with app.run_test(size=size) as pilot:
            while app._early is not None:
                await pilot.pause(0.02)
            for key in keys(seed, count):
                typed.append(key)
                await pilot.press(key)
                seen.add(type(app.screen).__name__)
            await pilot.pause(0.2)
    except BaseException:
        print(f"seed {seed} at {size}: … {typed[-30:]}", file=sys.stderr)
        raise
    return seen


@pytest.mark.parametrize("seed", range(4))
async def test_random_keys_find_no_traceback(seed, monkeypatch, tmp_path):
    quietly(monkeypatch, tmp_path)
    seen = await type_keys(seed, PER_SEED)
    assert len(seen) > 1, seen


def quietly(patch, folder):
    """No network, no file outside `folder`, no signal to anybody."""

    def refused(*_):
        raise AssertionError("a process was to be ended")

    patch.chdir(folder)
    patch.setenv("HF_HUB_OFFLINE", "1")
    patch.setenv("PIP_NO_INDEX", "1")
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
