"""Makes the pictures of the real screen that the documentation shows: `python docs/make_pictures.py`.

The console runs as it is, in a home of its own that is gone afterwards, with the demo model answering and tuned, the
monitor on the tests' stand-in for the NVIDIA driver with two moving cards; Textual draws what they show as SVG. Each
screen is drawn at two sizes, in the 256 colours that it has over SSH.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input

from phitui.config.layers import load_config
from phitui.hardware.feed import SnapshotFeed
from phitui.hardware.sampler import Sampler
from phitui.tui.app.app import PhituiApp
from phitui.tui.app.monitor_app import MonitorApp
from phitui.tui.widgets.prompt import Prompt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
from demo_home import demo_home
from monitor import Cards

PICTURES = Path(__file__).resolve().parent / "pictures"
PROMPTS = (
    "In two sentences: what is a KV cache?",
    "Write a Python function that adds two numbers.",
)
MINUTE_S = 60.0
SIZES = {"120x40": (120, 40), "80x24": (80, 24)}
WIDE = {"200x50": (200, 50)}
# What keys show above the console, after an answer.
ABOVE = {
    "parameters": ["f7"],
    "help": ["f1"],
    "palette": ["ctrl+p"],
    "find": ["alt+c", "slash", *"cache"],
    "completion": [*"/m"],
    "themes": ["ctrl+p", *"themes", "wait:800", "enter"],
    "engines": ["ctrl+p", *"engines", "wait:800", "enter"],
}


@contextmanager
def own_home() -> Iterator[None]:
    """A user's home with nothing but the demo model in it: no chat of anybody's is shown, and none is written to."""
    before = dict(os.environ)
    model_home = demo_home()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, ".local", "share", "phitui")
        home.mkdir(parents=True)
        (home / "models").symlink_to(model_home / "models")
        for name in [name for name in os.environ if name.startswith(("PHITUI", "XDG_", "SSH_"))]:
            del os.environ[name]
        os.environ["HOME"] = folder  # shown as ~
        os.environ["TERM"] = "xterm-256color"
        os.environ.pop("COLORTERM", None)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


async def console_picture(name: str, theme: str, sizes: dict[str, tuple[int, int]], symbols: str = "auto") -> None:
    """Ask the prompts and save the screen."""
    overrides = {
        "generation": {"temperature": 0.0, "max_tokens": 120},
        "theme": {"name": theme},
        "console": {"symbols": symbols},
    }
    app = PhituiApp(load_config(overrides=overrides))
    async with app.run_test(size=SIZES["120x40"]) as pilot:
        while app.workbench.engine.loaded is None:
            await pilot.pause(0.1)
        for prompt in PROMPTS:
            await ask(pilot, prompt)
        await pilot.pause(1.5)  # the last Markdown, and a gauge reading after it
        await _save(pilot, name, sizes)


async def ask(pilot: Pilot[None], prompt: str) -> None:
    """Send a prompt, in place of a draft that another picture has left, and wait for the end of its answer."""
    console = pilot.app.screen
    chat = console.chat  # type: ignore[attr-defined]
    before = len(chat.exchanges)
    field = console.query_one(Prompt)
    field.clear()
    field.insert(prompt)
    await pilot.press("enter")
    while len(chat.exchanges) == before or chat.busy:
        await pilot.pause(0.1)


async def pictures_above(theme: str) -> None:
    """What stands above the console, each over the same answer."""
    overrides = {"generation": {"temperature": 0.0, "max_tokens": 60}, "theme": {"name": theme}}
    for name, keys in ABOVE.items():
        app = PhituiApp(load_config(overrides=overrides))
        async with app.run_test(size=SIZES["120x40"]) as pilot:
            while app.workbench.engine.loaded is None:
                await pilot.pause(0.1)
            await ask(pilot, PROMPTS[0])
            await pilot.pause(1.5)
            await pilot.press(*keys)
            await pilot.pause(1.0)
            await _save(pilot, name)


async def several_picture(name: str, theme: str) -> None:
    """Three answers to one prompt, drawn side by side."""
    overrides = {"generation": {"temperature": 0.7, "max_tokens": 60}, "theme": {"name": theme}}
    app = PhituiApp(load_config(overrides=overrides))
    async with app.run_test(size=SIZES["120x40"]) as pilot:
        while app.workbench.engine.loaded is None:
            await pilot.pause(0.1)
        await ask(pilot, PROMPTS[0])
        await pilot.press("alt+c", "a")
        await pilot.pause(0.5)
        while app.console_screen.chat.busy:
            await pilot.pause(0.1)
        await pilot.press("right")
        await pilot.pause(0.5)
        await _save(pilot, name)


async def models_picture(name: str, theme: str) -> None:
    """Open the model screen on the store as it is and save it."""
    app = PhituiApp(load_config(overrides={"theme": {"name": theme}}))
    async with app.run_test(size=SIZES["120x40"]) as pilot:
        while app.workbench.engine.loaded is None or not any(row.loaded for row in app.workbench.models.rows):
            await pilot.pause(0.1)
        await pilot.press("f2")
        await pilot.pause(1.0)
        await _save(pilot, name)


async def tuner_picture(name: str, theme: str) -> None:
    """Tune the demo model within 1.2 GB and save the screen with the answer."""
    app = PhituiApp(load_config(overrides={"theme": {"name": theme}}))
    async with app.run_test(size=SIZES["120x40"]) as pilot:
        while app.workbench.switching.busy or app.workbench.engine.loaded is None:
            await pilot.pause(0.1)
        await pilot.press("f3", "s")
        await pilot.pause(0.5)
        for key, text in (("prompt", "128"), ("answer", "64"), ("limit", "1.2GB"), ("latency", "250")):
            app.screen.query_one(f"#{key}", Input).value = text
        await pilot.press("enter")
        await pilot.pause(0.5)
        while app.workbench.tuner.run_state is None or app.workbench.tuner.busy:
            await pilot.pause(0.5)
        await _save(pilot, name)


async def sessions_picture(name: str, theme: str) -> None:
    """Two chats, and the list of all that are kept."""
    overrides = {"generation": {"temperature": 0.0, "max_tokens": 60}, "theme": {"name": theme}}
    app = PhituiApp(load_config(overrides=overrides))
    async with app.run_test(size=SIZES["120x40"]) as pilot:
        while app.workbench.engine.loaded is None:
            await pilot.pause(0.1)
        for prompt in PROMPTS:
            await pilot.press("ctrl+n")
            await ask(pilot, prompt)
        await pilot.pause(1.0)
        await pilot.press("f6")
        await pilot.pause(1.0)
        await _save(pilot, name)


async def batch_picture(name: str, theme: str) -> None:
    """A file of prompts that runs, after one that is through."""
    overrides = {"generation": {"temperature": 0.0, "max_tokens": 40}, "engine": {"batch": 8}, "theme": {"name": theme}}
    files = [_prompts(Path.home() / f"{title}.jsonl", rows) for title, rows in (("few", 4), ("questions", 200))]
    app = PhituiApp(load_config(overrides=overrides))
    async with app.run_test(size=SIZES["120x40"]) as pilot:
        while app.workbench.engine.loaded is None:
            await pilot.pause(0.1)
        entries = [app.workbench.batches.add(path) for path in files]
        await pilot.press("f5")
        while entries[1].progress.done < 8 and not entries[1].error:
            await pilot.pause(0.2)
        await pilot.press("down")
        await pilot.pause(1.5)
        await _save(pilot, name)


def _prompts(path: Path, rows: int) -> Path:
    lines = [json.dumps({"id": n, "prompt": f"Name a city with {n + 3} letters."}) for n in range(rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


async def _save(pilot: Pilot[None], name: str, sizes: dict[str, tuple[int, int]] = SIZES) -> None:
    """The screen at each size."""
    for suffix, size in sizes.items():
        await pilot.resize_terminal(*size)
        await pilot.pause(1.5)
        pilot.app.clear_notifications()
        await pilot.pause(0.5)
        PICTURES.mkdir(exist_ok=True)
        (PICTURES / f"{name}-{suffix}.svg").write_text(pilot.app.export_screenshot(title="phitui"), encoding="utf-8")


async def monitor_picture(name: str, theme: str) -> None:
    """Watch the cards for a minute and save the screen."""
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(["sleep", "90"]) as child:  # noqa: ASYNC220
        cards = Cards(Path(folder), child.pid)
        cards.move(True)
        feed = SnapshotFeed()
        app = MonitorApp(load_config(overrides={"theme": {"name": theme}}), feed, readonly=False, ascii_only=False)
        app.monitor.picture.place = "stand-in driver"
        with cards.driver.installed():
            sampler = Sampler(1.0, feed.put)
            sampler.start()
            async with app.run_test(size=SIZES["120x40"]) as pilot:
                await pilot.press("z", "z")  # a second for each column of dots
                await pilot.pause(MINUTE_S)
                await _save(pilot, name)
            sampler.stop()
            cards.move(False)
        child.terminate()


def main() -> None:
    theme = sys.argv[1] if len(sys.argv) > 1 else "phitui-dark"
    with own_home():
        make(theme)


def make(theme: str) -> None:
    """Make all pictures in a theme."""
    asyncio.run(models_picture("models", theme))
    asyncio.run(tuner_picture("tuner", theme))
    asyncio.run(console_picture("console", theme, SIZES | WIDE))
    asyncio.run(console_picture("console-light", "phitui-light", SIZES))
    asyncio.run(console_picture("console-ascii", theme, SIZES, "ascii"))
    asyncio.run(pictures_above(theme))
    asyncio.run(several_picture("several", theme))
    asyncio.run(sessions_picture("sessions", theme))
    asyncio.run(batch_picture("batch", theme))
    asyncio.run(monitor_picture("monitor", theme))


if __name__ == "__main__":
    main()
