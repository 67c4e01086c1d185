"""Answers that stream at once at 60 tokens/s each: how fast a key is seen, what the console takes of a core, and how
many bytes it sends to the terminal.

A server on the loopback, in a process of its own, streams by the clock: prose, lists, a table, wide characters, and a
code fence that stays open for a fifth of the answer. The console runs in a real pseudo-terminal.

- "one", "26", "64": 120×40. One of the answers is the chat's: it is painted, and the view follows its end. The others
  are its siblings (as by "a", several answers to a prompt): every token of theirs is received over HTTP, taken apart,
  put into its exchange and recorded in the session, twice a second as ever, but none of their text is painted, because
  the chat shows one answer in a place. The siblings are begun here, side by side; nothing else is changed.
- "side by side 8": the screen of several answers, 320×40, so that eight columns stand beside each other and all of
  their text is painted.

A key's time is from the write to the terminal until it is seen: a letter that has come back (capitals that no answer
has), side by side the frame of the column that → marks. With so few keys (`keys`) the 99th percentile is nearly their
maximum, so both are given. CPU is that of the console's process alone; the server's is not counted, nor the emulator's.
At the end every answer must have had its 60 tokens/s: a console that lags would look fast.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import psutil
from remote import server
from report import machine, publish
from terminal import Console, environment, wait_until

from phitui.config.layers import load_config
from phitui.engine.protocol.api import Delta, Event, Finished
from phitui.tui.app.app import PhituiApp
from phitui.tui.app.base_app import run_app
from phitui.workbench.chat.exchanges import Exchange, State
from phitui.workbench.front import Front

RATE, TOKENS = 60, 3600
ARRIVED = 0.95  # of the tokens that were due
LETTERS = "QXYVZ"  # neither in the sequences of a repaint nor in what else changes on the screen
COLUMNS, WIDE = 8, 320
# Name of the case: (answers, columns of the terminal, side by side).
CASES = {
    "one": (1, 120, False),
    "26": (26, 120, False),
    "side by side 8": (COLUMNS, WIDE, True),
    "64": (64, 120, False),
}
GOALS = {"key_p99_ms": 50, "cpu_pct": 35, "bytes_per_s": 25_000, "cpu_pct of 64": 50}
_WORDS = "the cache holds keys and values of all tokens so far 漢字 かな 👩‍🚀 e\u0301 *both* `code` **bold**".split()  # noqa: SIM905
_TABLE = "\n\n| a | b |\n|---|---|\n| one | 漢字 |\n| two | words |\n\n"
_LIST = "\n\n- first\n- second `x`\n\n"


def texts(count: int) -> list[str]:
    """An answer of `count` tokens."""
    draw = random.Random(5)
    found: list[str] = []
    while len(found) < count:
        share = len(found) / count
        if 0.1 < share < 0.3:  # within the open fence
            found += ["\n    ", "result ", "= ", "combine(", "value, ", "other) ", "* ", "2 ", "# ", "漢字 "]
        else:
            found += [f"{word} " for word in draw.choices(_WORDS, k=draw.randint(20, 60))]
            found.append(draw.choice(["\n\n", "\n\n", "\n\n## a heading\n\n", _LIST, _TABLE]))
        if share <= 0.1 < len(found) / count:
            found.append("\n\n```python\ndef f(value):")
        if share < 0.3 <= len(found) / count:
            found.append("\n```\n\n")
    return [*found[: count - 1], "\n\n**The end.**\n"]


class Hears(Front):
    """Hands the engine's events to the application below."""

    def __init__(self, app: Streams) -> None:
        self._app = app

    def show_event(self, event: Event) -> None:
        self._app.note_event(event)


class Streams(PhituiApp):
    """As soon as the chat's answer streams, its siblings are asked for beside it; or all are asked for together, and
    shown side by side. Writes to `report` which share of its tokens each answer had in the end."""

    def __init__(self, answers: int, together: bool, report: Path) -> None:
        config = load_config(overrides={"engine": {"name": "box"}, "generation": {"max_tokens": TOKENS}})
        super().__init__(config)
        self.workbench.subscribe(Hears(self))
        self.config = config
        self._wanted = answers - 1
        self._report = report
        self._siblings: dict[int, Exchange] = {}
        self._asking: asyncio.Task[None] | None = None
        self._begun: dict[int, float] = {}
        self._characters: dict[int, int] = {}
        if together:
            self._wanted = 0
            self.console_screen.branching.send = partial(self._ask_together, answers)  # type: ignore[method-assign]

    def _ask_together(self, answers: int, text: str) -> None:
        queued = self.console_screen.chat._queue(text, None, answers)
        self.console_screen.branching.side_by_side(queued)

    def note_event(self, event: Event) -> None:
        if isinstance(event, Delta):
            self._begun.setdefault(event.id, time.monotonic())
            self._characters[event.id] = self._characters.get(event.id, 0) + len(event.text)
        chat = self.console_screen.chat
        if isinstance(event, Delta) and self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        sibling = self._siblings.get(getattr(event, "id", -1))
        if sibling is None:
            return
        if isinstance(event, Delta):
            sibling.state, sibling.tokens = State.ANSWERING, event.tokens
            sibling.text += event.text
            chat._tell(sibling)
        elif isinstance(event, Finished):
            sibling.state, sibling.usage, sibling.timings = State.DONE, event.usage, event.timings
            chat._tell(sibling)

    async def _ask(self) -> None:
        chat = self.console_screen.chat
        for _ in range(self._wanted):
            sibling = Exchange(chat.number(), chat.roots[0].prompt)
            chat.roots.append(sibling)
            self._siblings[await self.workbench.engine.generate(chat.turns("go"), chat.sampling)] = sibling

    def exit(self, *args: Any, **options: Any) -> None:
        now, ends = time.monotonic(), list(accumulate(map(len, texts(TOKENS))))
        shares = [
            bisect_right(ends, self._characters[one]) / (RATE * (now - begun)) for one, begun in self._begun.items()
        ]
        self._report.write_text(json.dumps(shares), encoding="utf-8")
        super().exit(*args, **options)


def letters(console: Console, seconds: float) -> Iterator[float]:
    """The time of each key in ms, about four a second; each is taken back before the next."""
    end, number = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        letter = LETTERS[number % len(LETTERS)]
        place = len(console.output)
        yield _timed(console, letter, partial(_came, console, place, letter.encode()))
        time.sleep(0.12)
        console.send("\x7f")
        time.sleep(0.12)
        number += 1


def marks(console: Console, seconds: float) -> Iterator[float]:
    """The time of each → in ms, about four a second: until the frame of the next column is in another colour."""
    end, at = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        at = (at + 1) % COLUMNS
        before = _frame(console, at)
        yield _timed(console, "\x1b[C", partial(_changed, console, at, before))
        time.sleep(0.24)


def _came(console: Console, place: int, letter: bytes) -> bool:
    return letter in console.output[place:]


def _changed(console: Console, column: int, before: str) -> bool:
    return _frame(console, column) != before


def _frame(console: Console, column: int) -> str:
    """The colour of the corner of a column's frame."""
    with console._lock:
        return str(console._screen.buffer[1][column * WIDE // COLUMNS].fg)


def _timed(console: Console, key: str, seen: Callable[[], object]) -> float:
    begun = time.perf_counter()
    console.send(key)
    if not wait_until(seen, 5, 0.0005):
        raise SystemExit(f"{key!r} was not seen; the screen:\n{console.text()}")
    return (time.perf_counter() - begun) * 1000


def measure(name: str, seconds: float) -> dict[str, float | int]:
    """One run's figures."""
    answers, columns, together = CASES[name]
    with tempfile.TemporaryDirectory() as folder, server(1 / RATE, TOKENS, texts(TOKENS)) as url:
        settings = Path(folder, "config", "phitui", "config.toml")
        settings.parent.mkdir(parents=True)
        settings.write_text(f'[engines.box]\nurl = "{url}"\n', encoding="utf-8")
        report = Path(folder, "report.json")
        run = [sys.executable, __file__, "--child", name, "--report", str(report)]
        with Console(run, environment(Path(folder)), columns) as console:
            console.wait_for("answers through", 60)
            console.send("go\r")
            console.wait_for("answering", 60)
            time.sleep(4.0)  # all are on their way, and a screenful stands
            process = psutil.Process(console.process.pid)
            used, sent, begun = sum(process.cpu_times()[:2]), len(console.output), time.perf_counter()
            times = sorted((marks if together else letters)(console, seconds))
            wall = time.perf_counter() - begun
            figures = {
                "keys": len(times),
                "key_p50_ms": round(statistics.median(times), 1),
                "key_p99_ms": round(times[min(len(times) - 1, int(0.99 * len(times)))], 1),
                "key_max_ms": round(times[-1], 1),
                "cpu_pct": round((sum(process.cpu_times()[:2]) - used) / wall * 100, 1),
                "bytes_per_s": round((len(console.output) - sent) / wall),
            }
            console.wait_for("answering")  # to the end
            console.send("\x11")
            console.wait_ended()
            shares = json.loads(report.read_text(encoding="utf-8"))
            if len(shares) != answers or min(shares) < ARRIVED:
                raise SystemExit(f"{name}: not all tokens arrived: {sorted(round(one, 2) for one in shares)[:5]} …")
            return {**figures, "arrived_min_share": round(min(shares), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40.0, help="of each case")
    parser.add_argument("--only", choices=list(CASES), help="this case alone")
    parser.add_argument("--dry", action="store_true", help="print the figures and keep none")
    parser.add_argument("--child", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        answers, _, together = CASES[args.child]
        app = Streams(answers, together, args.report)
        sys.exit(run_app(app, app.config))
    about = machine()
    cases = {name: measure(name, args.seconds) for name in CASES if args.only in (None, name)}
    figures = {"machine": about, "tokens_per_s_each": RATE, **cases, "goals": GOALS}
    if args.dry:
        print(json.dumps(figures, indent=2))
    else:
        publish("streams", figures)


if __name__ == "__main__":
    main()
