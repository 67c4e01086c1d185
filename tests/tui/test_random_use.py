"""Whatever is done to the real console with real engines, it lives, and answers afterwards.

Keys, typed and pasted text, clicks and sizes come by chance, from a seed, as fast as they are taken.
PHITUI_TEST_USES=20 has it done with so many seeds.
"""

import json
import os
import random
import sqlite3
import sys
from contextlib import closing, suppress
from functools import partial

import pytest
from support.resting import handled, painted_first
from support.waiting import until_shown as until
from test_random_keys import SIZES, keys, press, quietly
from textual import events
from textual.pilot import OutOfBounds
from tiny_phi3 import renamed_model

from phitui.config.layers import load_config
from phitui.tui.app import app as app_module
from phitui.tui.app.app import PhituiApp
from phitui.workbench.chat.exchanges import State

SEEDS, ACTS = int(os.environ.get("PHITUI_TEST_USES", "2")), 150
PASTES = ["pasted", "two\nlines\n", "\x1b[31mred\x1b[0m [b]x[/b]", "漢字 👩\u200d🚀", "/file in.jsonl", "word " * 3000]
# What has the engines work, each from the console. Beside them come the keys of test_random_keys.
WORK = [
    [*"tell me something", "enter"], [*"say more", "enter"], ["f8"], ["ctrl+n"], ["alt+c", "up", "r"], ["alt+c", "a"],
    ["f3", "s", "enter"], ["f3", "c"], ["f5", "a", *"in.jsonl", "enter"], ["f5", "a", *"other.jsonl", "enter"],
    ["f5", "c"], ["f5", "r"], ["f2", "down", "enter"], ["f2", "up", "enter"], ["f2", "v"], ["alt+e", "down", "enter"],
    ["alt+e", "up", "enter"], [*"/set max_tokens 9", "enter"], [*"/set temperature x", "enter"], ["ctrl+t"],
]  # fmt: skip


class Used(PhituiApp):
    """The real console. It does not quit, so that the rest is tried, too."""

    async def action_quit(self):
        """It stays."""


def acts(seed, count):
    """`count` keys, texts, clicks and sizes."""
    draw = random.Random(seed)
    typed = keys(seed, count)
    waiting = []
    for _ in range(count):
        if not waiting:
            kind = draw.choices(["typed", "work", "paste", "click", "size"], [60, 20, 8, 10, 2])[0]
            if kind == "typed":
                waiting = [next(typed)]
            elif kind == "work":
                waiting = ["escape", "escape", "alt+p", "ctrl+u", *draw.choice(WORK)]
            elif kind == "paste":
                waiting = [events.Paste(draw.choice(PASTES))]
            elif kind == "click":
                waiting = [(draw.random(), draw.random(), draw.choice([1, 1, 2, 3]))]
            else:
                waiting = [draw.choice(SIZES)]
        yield waiting.pop(0)


async def act(pilot, what):
    app = pilot.app
    if isinstance(what, str):
        await press(app, what)
    elif isinstance(what, events.Paste):
        app.post_message(what)
        await handled(app, 1.0)
    elif len(what) == 2:
        await pilot.resize_terminal(*what)
    else:
        x, y, times = what
        with suppress(OutOfBounds):
            await pilot.click(offset=(int(x * app.size.width), int(y * app.size.height)), times=times)


async def ended(pilot):
    """Back to the console, and all work comes to its end."""
    app, workbench = pilot.app, pilot.app.workbench
    for _ in range(20):
        if app.screen is app.console_screen:
            break
        await pilot.press("escape")
    assert app.screen is app.console_screen
    await until(pilot, lambda: not workbench.switching.busy)
    for entry in workbench.batches.entries:
        workbench.batches.cancel(entry)
    workbench.models.work.cancel()
    if workbench.tuner.busy:
        workbench.tuner.cancel()
    while workbench.chat.busy:
        workbench.chat.cancel()
        await pilot.pause(0.02)
    await until(pilot, lambda: not workbench.leases._held and not workbench.switching.busy)


async def answered(pilot):
    exchange = pilot.app.workbench.chat.submit("are you there?")
    await until(pilot, lambda: exchange.tokens or exchange.state.over)
    pilot.app.workbench.chat.cancel()
    await until(pilot, lambda: exchange.state.over)
    assert exchange.state is State.DONE, exchange.error


def check_files(home):
    load_config()
    for line in (home / "prompts.jsonl").read_text().splitlines():
        json.loads(line)
    with closing(sqlite3.connect(f"file:{home / 'sessions.db'}?mode=ro", uri=True)) as kept:
        assert kept.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert not kept.execute("SELECT prompt FROM turn WHERE state = 'answering'").fetchall()
    # Files are written beside their place, by a hidden name, before they take it.
    assert [file for file in home.rglob(".*") if file.is_file() and "lock" not in file.name] == []


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_it_lives_and_answers(seed, home, llama, tiny_folder, monkeypatch, tmp_path):
    quietly(monkeypatch, tmp_path)
    monkeypatch.setattr(app_module, "MonitorScreen", partial(_without_ending, app_module.MonitorScreen))
    for name in ("smollm2-135m", "tiny-phi3"):  # links to what other tests use
        (home / "models" / name).unlink()
    for name in ("tiny-phi3", "other-phi3"):
        renamed_model(tiny_folder, home / "models", name)
    for name in ("in", "other"):
        rows = [{"prompt": f"question {number}", "max_tokens": 50} for number in range(40)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    overrides = {"model": {"name": "tiny-phi3"}, "engine": {"device": "cpu"}, "engines": {"box": {"url": llama.url}}}
    app, done = Used(load_config(overrides={**overrides, "generation": {"max_tokens": 60}})), []
    try:
        async with app.run_test(size=SIZES[seed % 3]) as pilot:
            await painted_first(pilot)
            for what in acts(seed, ACTS):
                done.append(what)
                await act(pilot, what)
            await ended(pilot)
            await answered(pilot)
    except BaseException:
        print(f"seed {seed}: … {done[-40:]}", file=sys.stderr)
        raise
    check_files(home)


def _without_ending(kind, *arguments, **options):
    """A monitor that ends no processes."""
    return kind(*arguments, **{**options, "readonly": True})
