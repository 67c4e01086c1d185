"""The monitor driven by keys."""

import subprocess
import sys

import msgspec
import psutil
import pytest
from frozen_console import WITH_CARD, FrozenConsole
from frozen_monitor import BEGUN, CARD, CPU, LOST, FrozenMonitor, snapshots
from support.resting import at_rest
from support.waiting import until_shown as until
from textual.widgets import Input

from phitui.config.layers import load_config
from phitui.hardware.feed import SnapshotFeed
from phitui.hardware.recording import Recorder, Recording
from phitui.hardware.snapshot import Device, Process
from phitui.tui.app.monitor_app import MonitorApp
from phitui.tui.app.replay_app import ReplayApp
from phitui.tui.screens.monitor import MonitorScreen
from phitui.tui.widgets.dialogs import Confirm

SIZE = (120, 40)


def notes(app):
    return [note.message for note in app._notifications]


async def test_sort_filter_and_move():
    app = FrozenMonitor(snapshots(CARD, count=2))
    async with app.run_test(size=SIZE) as pilot:
        table = app.monitor.picture.table
        assert "MEMORY▼" in app.text
        await pilot.press("p")
        assert "PID▲" in app.text
        await pilot.press("p", "down")
        assert "PID▼" in app.text
        assert table.marked.process.pid == 4242
        await pilot.press("slash")
        await pilot.pause()
        await pilot.press(*"xorg")
        field = app.screen.query_one(Input)
        assert (field.size.height, field.region.height) == (
            1,
            1,
        )  # one sees what one types
        assert "Xorg :0" in app.text
        assert "4242" not in app.text
        await pilot.press("enter")
        assert not app.screen.query(Input)
        assert table.pattern == "xorg"
        await pilot.press("slash")
        await pilot.pause()
        await pilot.press("escape")
        await pilot.pause()
        assert not app._exit  # the same key closes the monitor, but not while the field is there
        assert table.pattern == ""
        assert "4242" in app.text


async def test_devices_reasons_scale_and_pause():
    app = FrozenMonitor(snapshots(CARD, LOST, count=9))
    async with app.run_test(size=SIZE) as pilot:
        assert "▶ GPU 0" in app.text
        await pilot.press("tab", "w")
        assert "▶ GPU 1" in app.text
        assert "Not available on GPU 1" in app.text
        assert "the GPU is lost" in app.text
        before = app.monitor.picture.scale
        await pilot.press("z", "space")
        assert app.monitor.picture.scale != before
        assert "paused" in app.text
        app._take(next(iter(snapshots(CPU, count=1))))
        assert "GPU 0" in app.text
        await pilot.press("space")
        assert "GPU 0" not in app.text.split("Processes")[0]
        assert "paused" not in app.text


async def test_paused_is_said_beside_the_recording():
    app = FrozenMonitor(snapshots(CARD, count=2))
    app._trouble = lambda: "● gpu.jsonl"
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("space")
        app._take(next(iter(snapshots(CARD, count=1))))
        await pilot.press("z")  # any key that paints
        assert "paused ● gpu.jsonl" in app.text
        await pilot.press("space")
        assert "paused" not in app.text and "● gpu.jsonl" in app.text


@pytest.mark.parametrize(("limit", "full"), [(0.98, False), (0.9, True)])
async def test_memory_is_full_from_the_tuners_limit_on(limit, full):
    feed = SnapshotFeed()
    app = MonitorApp(load_config(overrides={"tuner": {"limit": limit}}), feed, readonly=True, ascii_only=False)
    for snapshot in snapshots(CARD, count=2):  # 22 of 23.5 GiB that are usable
        feed.put(snapshot)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert ("VRAM is nearly full" in app.monitor._canvas.text()) is full


async def test_equal_readings_paint_nothing():
    shown = list(snapshots(CARD, count=3))
    app = FrozenMonitor(shown)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        painted = []
        refresh = app.monitor._canvas.refresh
        app.monitor._canvas.refresh = lambda *regions, **options: (
            painted.append(regions) or refresh(*regions, **options)
        )
        app.monitor.show_snapshot(shown[-1])
        assert painted == []
        other = app.monitor.picture.snapshot.__class__(shown[-1].time, shown[-1].host, [CARD, LOST])
        app.monitor.show_snapshot(other)
        assert painted


@pytest.mark.parametrize("readonly", [False, True])
async def test_readonly_has_neither_key_nor_command(readonly):
    app = FrozenMonitor(snapshots(CARD, count=2), readonly=readonly)
    async with app.run_test(size=SIZE) as pilot:
        assert ("End process" in app.text) is not readonly
        commands = [command.title for command in app.get_system_commands(app.screen)]
        assert ("End process" in commands) is not readonly
        await pilot.press("k")
        await at_rest(pilot)
        assert not isinstance(app.screen, Confirm)
        assert bool(notes(app)) is not readonly  # the marked process is not one of this machine


async def test_every_key_has_an_id_and_is_in_the_last_row_or_the_palette():
    app = FrozenMonitor(snapshots(CARD, count=2))
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.pause()
        own = [binding for kind in (MonitorScreen, ReplayApp, Confirm) for binding in kind.__dict__["BINDINGS"]]
        assert all(binding.id for binding in own)
        titles = {command.title for command in app.get_system_commands(app.screen)}
        last = app.text.splitlines()[-1]
        only_moving = {"monitor.up", "monitor.down", "monitor.page_up", "monitor.page_down", "monitor.device_before"}
        for binding in MonitorScreen.__dict__["BINDINGS"]:
            shown = binding.description in (last if binding.show else titles)
            assert shown or binding.id in only_moving, binding.id
        for once in ("Close", "Quit", "Theme", "Palette"):
            assert last.count(once) == 1, last


async def test_a_process_is_ended_only_after_yes():
    code = "print('up', flush=True); import time; time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)  # noqa: ASYNC220
    child.stdout.readline()
    try:
        listed = Process(child.pid, "C", 5, name="x", started=psutil.Process(child.pid).create_time())
        app = FrozenMonitor(snapshots(Device("gpu", 0, "card", processes=[listed]), count=2))
        async with app.run_test(size=SIZE) as pilot:
            await pilot.press("k")
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            assert str(child.pid) in str(app.screen.query_one("#question").content)
            await pilot.press("enter", "n")
            await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
            assert child.poll() is None
            await pilot.press("k")
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            await pilot.press("y")
            await until(pilot, lambda: notes(app))
            assert notes(app) == [f"Process {child.pid} has ended."]
            assert child.wait(5) == -15
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


async def test_the_console_opens_it_and_it_closes_again():
    app = FrozenConsole(snapshot=WITH_CARD)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app._early is None)
        await pilot.press("f4")
        await until(pilot, lambda: app.screen is app.monitor)
        assert "NVIDIA GeForce RTX 4090" in app.monitor._canvas.text()
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert "Filter processes" in titles
        assert not any(title.startswith("Stop") for title in titles)  # the console's own
        await pilot.press("f4")
        await until(pilot, lambda: app.screen is app.console_screen)
        assert "F4 Alt+m" in [command.help for command in app.get_system_commands(app.screen)]
        await pilot.press("f4")
        await until(pilot, lambda: app.screen is app.monitor)
        await pilot.press("q")
        await until(pilot, lambda: app.screen is app.console_screen)


async def test_in_the_console_the_history_has_what_is_painted():
    app = FrozenConsole(snapshot=WITH_CARD)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app._early is None)
        newest = []
        show = app.monitor.show_snapshot
        app.monitor.show_snapshot = lambda *args: (newest.append(app.workbench.telemetry.history.newest), show(*args))
        app.read(msgspec.structs.replace(WITH_CARD, time=77.0))
        assert newest == [77.0]


async def test_a_recording_plays_pauses_and_seeks(tmp_path):
    recorder = Recorder(tmp_path / "r.jsonl")
    for snapshot in snapshots(CARD, count=120):
        recorder.write(snapshot)
    recorder.close()
    with (tmp_path / "r.jsonl").open("a") as file:
        file.write("not a snapshot\n")
    app = ReplayApp(load_config(), Recording(tmp_path / "r.jsonl"), ascii_only=False)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.place >= 1)  # at its own pace: one a second
        assert "recording ▶ ×1" in app.monitor._canvas.text()
        await until(pilot, lambda: any("line 121" in note for note in notes(app)))
        await pilot.press("space")
        here = app.place
        await pilot.press("right", "right")
        assert app.place == here + 20
        assert f"0:00:{here + 20:02} of 0:01:59" in app.monitor._canvas.text()
        assert app._history.newest == BEGUN + here + 20
        await pilot.press("left")
        assert app.place == here + 10
        await pilot.press("end")
        assert app.place == 119
        await pilot.press("right", "home", "left")
        assert app.place == 0
        await pilot.press("plus", "plus", "plus", "plus", "space")  # 60 times as fast
        assert "×60" in app.monitor._canvas.text()
        await until(pilot, lambda: app.place == 119)
        await pilot.press("k")
        await at_rest(pilot)
        assert not isinstance(app.screen, Confirm)


async def test_a_filter_can_have_the_letters_that_are_keys_of_the_player(tmp_path):
    recorder = Recorder(tmp_path / "r.jsonl")
    for snapshot in snapshots(CARD, count=3):
        recorder.write(snapshot)
    recorder.close()
    app = ReplayApp(load_config(), Recording(tmp_path / "r.jsonl"), ascii_only=False)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("space", "slash")
        await pilot.pause()
        await pilot.press("a", "minus", "space", "b", "home", "plus")
        assert app.monitor.picture.table.pattern == "+a- b"
        assert (app.speed, app.playing, app.place) == (1.0, False, 0)
        await pilot.press("enter", "minus")
        assert app.speed == 0.5


async def test_nothing_in_a_recording_steers_the_terminal():
    card = msgspec.structs.replace(
        CARD, name="\x1b]0;owned\x07card", throttle_reasons=["\x1b]0;owned\x07HOT\x9b2J"], mig="\x1b[2J1g"
    )
    app = FrozenMonitor(snapshots(card, count=2))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert "HOT" in app.text
        app.notify("a\x1b]0;owned\x07 b")
        await pilot.pause()
        assert notes(app) == ["a b"]
        assert app.text.replace("\n", "").isprintable()
