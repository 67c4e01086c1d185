"""The monitor and the tuner under the mouse: what is drawn is there to be clicked on."""

import msgspec
import pytest
from frozen_monitor import CARD, GIB, FrozenMonitor, snapshots
from frozen_tuner import FrozenTuner
from support.resting import at_rest
from textual.events import MouseScrollDown, MouseScrollUp

from phitui.hardware.snapshot import Process
from phitui.tui.screens.help import HelpScreen

SIZE = (120, 40)
MANY = [Process(1000 + number, "C", GIB - number, name=f"worker{number}") for number in range(60)]


async def click(pilot, words):
    """On the first cell of `words`."""
    rows = pilot.app.screen.query_one("Canvas").text().splitlines()
    y = next(number for number, row in enumerate(rows) if words in row)
    await pilot.click(offset=(rows[y].index(words), y))
    await pilot.pause()


async def test_a_key_of_the_last_row_is_pressed_by_a_click():
    app = FrozenMonitor(snapshots(CARD, count=2))
    async with app.run_test(size=SIZE) as pilot:
        await click(pilot, "w Why –")
        assert app.monitor.picture.show_reasons
        await click(pilot, "Why –")  # its word does the same
        assert not app.monitor.picture.show_reasons
        await click(pilot, "Space Pause")
        assert "paused" in app.text
        await click(pilot, "F1 Help")
        await at_rest(pilot)
        assert isinstance(app.screen, HelpScreen)


async def test_a_rebound_key_is_pressed_as_it_is_shown():
    app = FrozenMonitor(snapshots(CARD, count=2), keys={"monitor.reasons": "ctrl+g", "app.palette": "ctrl+o"})
    async with app.run_test(size=SIZE) as pilot:
        await click(pilot, "^g Why –")
        assert app.monitor.picture.show_reasons
        assert "^o Palette" in app.text


@pytest.mark.parametrize("size", [SIZE, (80, 24)], ids=["in full", "a row for each"])
async def test_a_device_is_chosen_by_its_head(size):
    cards = [msgspec.structs.replace(CARD, index=number, uuid=f"GPU-{number}") for number in range(3)]
    app = FrozenMonitor(snapshots(*cards, count=2))
    async with app.run_test(size=size) as pilot:
        for number in (2, 0, 1):
            await click(pilot, f"GPU {number} ")
            assert app.monitor.picture.selected == number
            assert f"▶ GPU {number} " in app.text.partition("Processes")[0]


async def test_a_process_is_marked_and_a_head_sorts():
    app = FrozenMonitor(snapshots(msgspec.structs.replace(CARD, processes=MANY), count=2))
    async with app.run_test(size=SIZE) as pilot:
        table = app.monitor.picture.table
        await click(pilot, "1004 ")
        assert table.marked.process.pid == 1004
        await pilot.press("pagedown", "pagedown", "pagedown")
        await click(pilot, "1030 ")
        assert table.marked.process.pid == 1030
        await click(pilot, "PID")
        assert "PID▲" in app.text
        await click(pilot, "PID▲")
        assert "PID▼" in app.text
        await click(pilot, "COMMAND")
        assert "COMMAND▲" in app.text
        assert not app.screen.selections  # two quick clicks select no text


async def test_the_wheel_scrolls_the_processes():
    app = FrozenMonitor(snapshots(msgspec.structs.replace(CARD, processes=MANY), count=2))
    async with app.run_test(size=SIZE) as pilot:
        assert "worker59" not in app.text
        for _ in range(20):
            await pilot._post_mouse_events([MouseScrollDown], offset=(60, 30))
        assert "  worker59" in app.text and "  worker0 " not in app.text.partition("Processes")[2]
        for _ in range(20):
            await pilot._post_mouse_events([MouseScrollUp], offset=(60, 30))
        assert app.monitor.picture.table.marked.process.pid == 1000


async def test_the_tuners_keys_are_pressed_by_a_click():
    app = FrozenTuner(None)
    async with app.run_test(size=SIZE) as pilot:
        await at_rest(pilot)
        before = app.screen.picture.pane
        await click(pilot, "Tab Table")
        assert app.screen.picture.pane != before
        await click(pilot, "F1 Help")
        await at_rest(pilot)
        assert isinstance(app.screen, HelpScreen)
