"""Long chats: how fast a session of 10 000 turns opens and scrolls, and how fast 100 000 turns are searched.

- In a pseudo-terminal, 120×40, with real keys: from exec with `--resume ID` to the end of the chat on the screen; from
  Enter in the list of sessions to the same, the first time (cold); from a Page Up to the first other frame.
- Headless, with the real transcript, thread and file, but nothing written to a terminal: opening again and again
  (warm), scrolling, `/` in a chat of 10 000 turns, and the searches as the list of sessions asks for them. A frame is
  what keeps the event loop from its next turn: a task that wakes every 2 ms notes by how much it is late, and how much
  processor time the loop's thread took meanwhile, which does not depend on what else the machine does.

The texts have 20 000 different words, drawn as words are (the n-th most frequent 1/n as often as the first). Two
frequent ones never stand in the same turn, so that looking for both finds nothing and has to look at all of each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from contextlib import asynccontextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from report import machine, publish, summary
from terminal import Console, command, environment, wait_until

from phitui.config.layers import load_config
from phitui.storage.sessions.session_types import KeptTurn
from phitui.storage.sessions.sessions import SessionStore
from phitui.tui.app.app import PhituiApp
from phitui.tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

TURNS, SESSIONS = 10_000, 10
WORDS = """
memory bandwidth cache kernel token batch decode prefill weights quantized tensor stream sequence attention head layer
model prompt answer latency throughput driver sensor device context window sampling greedy beam scale
""".split()  # noqa: SIM905 - a line of words is easier to read
WORDS += ["".join(pair) + str(i) for i, pair in enumerate(zip(WORDS * 624, sorted(WORDS * 624), strict=True))]
_WEIGHTS = list(accumulate(1 / (i + 1) for i in range(len(WORDS))))
EVEN, ODD = "sunrise", "sunset"  # every turn has one of them
SEARCHES = (
    "bandwidth", "quanti", "tensor attention", "lighthouse", "a", "prefill decode la", "nothinglikethis",
    f"{EVEN} {ODD}", "東京", "灯台",
)  # fmt: skip


def text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(WORDS, cum_weights=_WEIGHTS, k=words)).capitalize() + "."


def answer(draw: random.Random, number: int) -> str:
    """About 900 characters: prose, every third with a list, every fifth with code, every fiftieth with Japanese."""
    parts = [text(draw, 60), f"{text(draw, 50)} {ODD if number % 2 else EVEN}"]
    if draw.random() < 1 / 50:
        parts.append("東京の夜は明るい。")
    if draw.random() < 1 / 3:
        parts.append("\n".join(f"- **{text(draw, 2)}** {text(draw, 6)}" for _ in range(4)))
    if draw.random() < 1 / 5:
        parts.append("```python\ndef f(x):\n    return [x * 2 for _ in range(10)]\n```")
    if draw.random() < 1 / 1000:
        parts.append("The lighthouse keeper has a cat. 灯台守には猫がいる。")
    return "\n\n".join(parts)


def fill(path: Path) -> int:
    """Ten sessions of 10 000 turns; returns the id of one."""
    store = SessionStore(path)
    draw = random.Random(7)
    session = 0
    for number in range(SESSIONS):
        turns = [
            KeptTurn(id=-i, parent=1 - i if i > 1 else None,
                 prompt=text(draw, 9) if i < TURNS else "the last prompt of all", text=answer(draw, i), reason="stop",
                 model="m", created=1.7e9, tokens=200, prompt_tokens=100, completion_tokens=200, ttft_ms=40.0,
                 tpot_ms=12.0, total_ms=2400.0, tokens_per_s=83.0)
            for i in range(1, TURNS + 1)
        ]  # fmt: skip
        session, _ = store.insert(f"Session {number}", "", 1.7e9, turns, -TURNS)
    store.close()
    return session


async def search_ms(app: PhituiApp) -> dict[str, dict[str, float | int]]:
    """Each search nine times, as the list asks for them, in ms."""
    found = {}
    for wanted in SEARCHES:
        times = []
        for _ in range(9):
            begun = time.perf_counter()
            hits, _ = await app.workbench.sessions.find(wanted)
            times.append((time.perf_counter() - begun) * 1000)
        found[wanted] = {**summary(times, 1), "sessions": len(hits)}
    return found


def without_index_ms(path: Path) -> dict[str, float | int]:
    """A search on a Python whose SQLite has no FTS5."""
    store = SessionStore(path)
    store.has_index = False
    begun = time.perf_counter()
    store.search("lighthouse", 400)
    found = summary([(time.perf_counter() - begun) * 1000], 1)
    store.close()
    return found


async def find_ms(app: PhituiApp) -> dict[str, dict[str, float]]:
    """`/` in the open chat: how long each search keeps the event loop."""
    found = {}
    for wanted in ("bandwidth", "lighthouse", "東京", "nothinglikethis"):
        stalls = Stalls()
        await asyncio.sleep(0.05)
        app.console_screen.find(wanted)
        await asyncio.sleep(1.0)
        app.console_screen.action_stop()
        await asyncio.sleep(0.3)
        found[wanted] = stalls.end()
    return found


def in_terminal(folder: Path, session: int, pages: int) -> dict[str, object]:
    """With real keys in a pseudo-terminal."""
    last = r"(?s)the last prompt of all.*Ask something"
    begun = time.perf_counter()
    with Console(command("--resume", str(session), "--model", "not-there"), environment(folder)) as console:
        console.wait_for(last, 60)
        resumed = time.perf_counter() - begun
        time.sleep(2.0)
        console.send("\x1bc")  # to the transcript
        time.sleep(0.5)
        times = []
        for _ in range(pages):
            before, begun = console.text(), time.perf_counter()
            console.send("\x1b[5~")
            if not wait_until(partial(_other, console, before), 10, 0.001):
                raise SystemExit(f"Page Up changed nothing:\n{console.text()}")
            times.append((time.perf_counter() - begun) * 1000)
            time.sleep(0.1)
    opened = []
    for _ in range(3):
        with Console(command("--model", "not-there"), environment(folder)) as console:
            console.wait_for("Ask something", 60)
            time.sleep(2.0)
            console.send("\x1b[17~")  # F6
            console.wait_for(r"Sessions · 10\b", 60)
            time.sleep(1.0)
            begun = time.perf_counter()
            console.send("\r")
            console.wait_for(last, 60)
            opened.append(time.perf_counter() - begun)
    return {
        "exec_with_resume_s": round(resumed, 3),
        "first_open_s": {**summary(opened), "goal": 0.3},
        "page_up_to_frame_ms": {**summary(times, 1), "goal_max": 100},
    }


def _other(console: Console, before: str) -> bool:
    return console.text() != before


@asynccontextmanager
async def console() -> AsyncIterator[PhituiApp]:
    app = PhituiApp(load_config(overrides={"model": {"name": "not-there"}}))  # no engine
    async with app.run_test(size=(120, 40)) as pilot:
        while app._early is not None:
            await pilot.pause(0.05)
        await pilot.pause(1.0)
        yield app


async def open_s(app: PhituiApp, session: int) -> float:
    """From the wish to resume to the frame with the end of the chat."""
    transcript = app.console_screen.query_one(Transcript)
    begun = time.perf_counter()
    await app.sessions.resume(session)
    painted = asyncio.Event()
    while not (transcript._tops and transcript.scroll_y and transcript.scroll_y == transcript.max_scroll_y):  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    transcript.call_after_refresh(painted.set)
    await painted.wait()
    return time.perf_counter() - begun


class Stalls:
    """The longest times in which the event loop did not come round, in ms."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.busy: list[float] = []
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            begun, used = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.002)
            self.late.append((time.perf_counter() - begun - 0.002) * 1000)
            self.busy.append((time.thread_time() - used) * 1000)

    def end(self) -> dict[str, float]:
        self._task.cancel()
        ordered = sorted(self.late)
        return {
            "max_ms": round(ordered[-1], 1),
            "p99_ms": round(ordered[int(0.99 * len(ordered))], 1),
            "cpu_max_ms": round(max(self.busy), 1),
        }


async def scroll(app: PhituiApp, seconds: float) -> dict[str, dict[str, float]]:
    """Keys as held down: page up 20 times a second, lines up 30 times a second, jumps with rests for the Markdown."""
    transcript = app.console_screen.query_one(Transcript)

    def jump() -> None:
        transcript.scroll_to(y=random.randrange(transcript.max_scroll_y), animate=False)

    ways: dict[str, tuple[float, Callable[[], None]]] = {
        "pages": (0.05, lambda: transcript.page(-1)),
        "lines": (0.033, transcript.action_scroll_up),
        "pages_with_rests": (0.6, lambda: transcript.page(-1)),
        "jumps": (0.8, jump),
    }
    found = {}
    for name, (pause, step) in ways.items():
        stalls = Stalls()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            step()
            await asyncio.sleep(pause)
        found[name] = stalls.end()
    return found


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=9, help="how often the session is opened")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each way to scroll")
    parser.add_argument("--dry", action="store_true", help="print the figures and keep none")
    args = parser.parse_args()
    about = machine()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PHITUI_HOME"] = os.environ["XDG_CONFIG_HOME"] = folder
        path = Path(folder) / "sessions.db"
        session = fill(path)
        terminal = in_terminal(Path(folder), session, 60)
        async with console() as app:
            opened = []
            for _ in range(args.n):
                opened.append(await open_s(app, session))
                await asyncio.sleep(1.0)  # the Markdown of what is in view comes meanwhile
            scrolled = await scroll(app, args.seconds)
            looked = await find_ms(app)
            searched = await search_ms(app)
        searched["lighthouse, without the index"] = without_index_ms(path)
    figures = {
        "machine": about,
        "turns": {"session": TURNS, "all": TURNS * SESSIONS},
        "terminal": terminal,
        "open_again_s": {**summary(opened), "goal": 0.3},
        "scroll_frame": {**scrolled, "goal_max_ms": 100},
        "find_in_chat": {**looked, "goal_max_ms": 100},
        "search_ms": {**searched, "goal": 100},
    }
    if args.dry:
        print(json.dumps(figures, indent=2, ensure_ascii=False))
    else:
        publish("sessions", figures)


if __name__ == "__main__":
    asyncio.run(main())
