"""The console's memory over half an hour of chats: whether it stays what it is after the first five minutes.

A server on the loopback, in a process of its own, answers each of 500 prompts with 300 tokens (prose, lists, a table,
wide characters, an open code fence) at 100 tokens/s; every 50 prompts a new chat begins. The console runs in a real
pseudo-terminal of 120×40 and is typed at as a person would. Memory is the resident set of its process (/proc), read
each half minute between two answers.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import psutil
from remote import server
from report import machine, publish
from streams import texts
from terminal import Console, command, environment, wait_until

RATE, TOKENS, PROMPTS, TOGETHER = 100, 300, 500, 50
EVERY_S = 30.0
SETTLED_S = 300.0
GOAL = 1.3  # times what it had after five minutes


def soak(prompts: int, rate: int) -> list[tuple[float, float]]:
    """Seconds since the start, and MB."""
    curve: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder, server(1 / rate, TOKENS, texts(TOKENS)) as url:
        home = Path(folder) / "home"
        words = command("--engine", url)
        settings = Path(folder) / "soak.toml"
        settings.write_text(f"[generation]\nmax_tokens = {TOKENS}\n")
        with Console([*words, "--config", str(settings)], environment(home), 120, 40) as console:
            console.wait_for("Ask something")
            process, started = psutil.Process(console.process.pid), time.perf_counter()
            for number in range(1, prompts + 1):
                console.send(f"prompt {number}\r")
                console.wait_for("Esc stops")
                if not wait_until(lambda: "Esc stops" not in console.text(), 60 + 10 * TOKENS / rate):
                    raise SystemExit(console.text())
                console.wait_for(rf"{TOKENS} tokens · ")
                now = time.perf_counter() - started
                if not curve or now - curve[-1][0] >= EVERY_S or number == prompts:
                    curve.append((now, process.memory_info().rss / 1e6))
                    print(f"{now / 60:5.1f} min  {number:4} prompts  {curve[-1][1]:6.1f} MB", flush=True)
                console.forget()
                if number % TOGETHER == 0 and number < prompts:
                    console.send("/new\r")
                    if not wait_until(lambda: f"{TOKENS} tokens · " not in console.text(), 60):
                        raise SystemExit(console.text())
    return curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--rate", type=int, default=RATE, help="tokens/s")
    args = parser.parse_args()
    curve = soak(args.prompts, args.rate)
    settled = next((mb for at, mb in curve if at >= SETTLED_S), curve[0][1])
    figures = {
        "rate_tokens_per_s": args.rate,
        "tokens": TOKENS,
        "prompts": args.prompts,
        "minutes": round(curve[-1][0] / 60, 1),
        "mb_after_five_minutes": round(settled, 1),
        "mb_at_the_end": round(curve[-1][1], 1),
        "ratio": round(curve[-1][1] / settled, 3),
        "goal": GOAL,
        "curve": [[round(at / 60, 1), round(mb, 1)] for at, mb in curve],
    }
    publish("soak", {"machine": machine(), **figures})


if __name__ == "__main__":
    main()
