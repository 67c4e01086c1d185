"""26 answers that stream at once at 60 tokens/s each: how fast a key is seen, what the console takes of a core, and how
many bytes it sends to the terminal.

A server on the loopback, in a process of its own, streams by the clock. The console runs in a real pseudo-terminal of
120×40. One of the answers is the chat's: it is painted, and the view follows its end. The other 25 are its siblings
(as by "n", several answers to a prompt): every token of theirs is received over HTTP, taken apart, put into its
exchange and recorded in the session, twice a second as ever, but none of their text is painted, because the chat shows
one answer in a place. The siblings are begun here, side by side; nothing else is changed.

A key's time is from the write to the terminal until the letter has come back; the letters are capitals, which no
answer has. CPU is that of the console's process alone; the server's is not counted, nor the emulator's.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from remote import server
from report import machine, publish
from terminal import Console, environment, wait_until

from phitui.config import load_config
from phitui.engine.api import Delta, Event, Finished
from phitui.jobs.exchanges import Exchange, State
from phitui.tui.app import PhituiApp
from phitui.tui.base_app import run_app

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWERS, RATE, TOKENS = 26, 60, 3000
LETTERS = "QXYVZ"  # neither in the sequences of a repaint nor in what else changes on the screen


class Streams(PhituiApp):
    """As soon as the chat's answer streams, 25 siblings are asked for beside it."""

    def __init__(self, answers: int) -> None:
        config = load_config(overrides={"engine": {"name": "box"}, "generation": {"max_tokens": TOKENS}})
        super().__init__(config)
        self.config = config
        self._wanted = answers - 1
        self._siblings: dict[int, Exchange] = {}
        self._asking: asyncio.Task[None] | None = None

    def _on_event(self, event: Event) -> None:
        super()._on_event(event)
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
            self._siblings[await self.engine.generate(chat.turns("go"), chat.sampling)] = sibling


def keys(console: Console, seconds: float) -> Iterator[float]:
    """The time of each key in ms, five in two seconds; it is taken back before the next."""
    end, number = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        letter = LETTERS[number % len(LETTERS)]
        place, begun = len(console.output), time.perf_counter()
        console.send(letter)
        if not wait_until(partial(_seen, console, place, letter.encode()), 5, 0.0005):
            raise AssertionError(f"{letter} was not seen; the screen:\n{console.text()}")
        yield (time.perf_counter() - begun) * 1000
        time.sleep(0.2)
        console.send("\x7f")
        time.sleep(0.2)
        number += 1


def _seen(console: Console, place: int, letter: bytes) -> bool:
    return letter in console.output[place:]


def measure(answers: int, seconds: float) -> dict[str, float | int]:
    """One run's figures."""
    with tempfile.TemporaryDirectory() as folder, server(1 / RATE, TOKENS) as url:
        settings = Path(folder, "config", "phitui", "config.toml")
        settings.parent.mkdir(parents=True)
        settings.write_text(f'[engines.box]\nurl = "{url}"\n', encoding="utf-8")
        run = [sys.executable, __file__, "--answers", str(answers), "--child"]
        with Console(run, environment(Path(folder))) as console:
            console.wait_for("answers through", 60)
            console.send("go\r")
            console.wait_for("answering", 60)
            time.sleep(3.0)  # all are on their way, and a screenful stands
            process = psutil.Process(console.process.pid)
            used, sent, begun = sum(process.cpu_times()[:2]), len(console.output), time.perf_counter()
            times = sorted(keys(console, seconds))
            wall = time.perf_counter() - begun
            console.wait_for("answering")  # to the end
            figures = {
                "keys": len(times),
                "key_p50_ms": round(statistics.median(times), 1),
                "key_p99_ms": round(times[min(len(times) - 1, int(0.99 * len(times)))], 1),
                "key_max_ms": round(times[-1], 1),
                "cpu_pct": round((sum(process.cpu_times()[:2]) - used) / wall * 100, 1),
                "bytes_per_s": round((len(console.output) - sent) / wall),
            }
            console.send("\x11")
            console.wait_ended()
            return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=ANSWERS)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--dry", action="store_true", help="print the figures and keep none")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        app = Streams(args.answers)
        sys.exit(run_app(app, app.config))
    about = machine()
    figures = {
        "machine": about,
        "tokens_per_s_each": RATE,
        "one": measure(1, args.seconds),
        str(args.answers): measure(args.answers, args.seconds),
        "goals": {"key_p99_ms": 50, "cpu_pct": 35, "bytes_per_s": 25_000},
    }
    if args.dry:
        print(figures)
    else:
        publish("streams", figures)


if __name__ == "__main__":
    main()
