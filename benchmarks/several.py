"""Several answers to one prompt: made as rows of one batch against one after the other, on the demo model.

Wall time at the client, from the request to the end of the last answer, through the engine's real process. Each answer
is drawn (temperature 0.7) and cut at the same number of tokens, so that both ways make as many; rounds take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from demo_home import demo_home
from report import machine, publish, summary

from phitui.core.ipc.messages import Failure
from phitui.engine.local.client import EngineClient
from phitui.engine.protocol.api import Event, Finished, Load, Loaded, Rejected, Sampling, Turn

ANSWERS, TOKENS = 3, 96
STORY = [Turn("user", "Tell me a very long story about a lighthouse and all who have ever lived in it.")]
DRAW = Sampling(max_tokens=TOKENS, temperature=0.7, top_k=50, top_p=0.9, repetition_penalty=1.0)


class Timed:
    """The engine, and how long it takes for so many answers."""

    def __init__(self, log: Path) -> None:
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self.client = EngineClient(log, self._events.put_nowait)

    async def load(self, folder: Path, threads: int, profiles: Path) -> None:
        await self.client.load(Load(str(folder), "cpu", "auto", threads, str(profiles)))
        while not isinstance(event := await self._events.get(), Loaded):
            if isinstance(event, Failure):
                raise SystemExit(event.message)

    async def together(self) -> float:
        """Seconds for all by one request."""
        begun = time.perf_counter()
        await self.client.generate(STORY, DRAW, ANSWERS)
        await self._ended(ANSWERS)
        return time.perf_counter() - begun

    async def in_turn(self) -> float:
        """Seconds for all, each asked for when the one before is complete."""
        begun = time.perf_counter()
        for _ in range(ANSWERS):
            await self.client.generate(STORY, DRAW)
            await self._ended(1)
        return time.perf_counter() - begun

    async def _ended(self, answers: int) -> None:
        while answers:
            event = await self._events.get()
            if isinstance(event, Rejected):
                raise SystemExit(event.failure.message)
            if isinstance(event, Finished):
                answers -= 1
                if event.usage.completion_tokens != TOKENS:
                    raise SystemExit(f"an answer of {event.usage.completion_tokens} tokens: the ways do not compare")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=5, help="counted rounds, after one warm-up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dry", action="store_true", help="print the figures and keep none")
    args = parser.parse_args()
    about = machine()
    home = demo_home()
    with tempfile.TemporaryDirectory() as folder:
        timed = Timed(Path(folder) / "engine.log")
        await timed.load(home / "models" / "smollm2-135m", args.threads, Path(folder) / "profiles.json")
        rounds = [(await timed.in_turn(), await timed.together()) for _ in range(args.n + 1)][1:]
        await timed.client.stop()
    figures = {
        "machine": about,
        "answers": ANSWERS,
        "tokens_each": TOKENS,
        "threads": args.threads,
        "in_turn_s": summary([one for one, _ in rounds]),
        "one_batch_s": summary([both for _, both in rounds]),
        "in_turn_over_one_batch": summary([one / both for one, both in rounds]),
    }
    if args.dry:
        print(figures)
    else:
        publish("several", figures)


if __name__ == "__main__":
    asyncio.run(main())
