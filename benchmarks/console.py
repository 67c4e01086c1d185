"""What the console costs: tokens/s of an answer in the real console ÷ the engine alone in a bare process.

Same model, prompt, thread count and greedy decoding, so the same tokens; runs in turn, so that a drift of the machine
meets both; the ratio is taken pair by pair. The console's figure is the one on its screen.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bare_process import Bare
from demo_home import demo_home
from report import machine, publish, summary
from terminal import Console, command, environment

PROMPT = "Tell me a long story about a lighthouse keeper and her cat."
TOKENS = 192
SETTINGS = f"""
[generation]
temperature = 0.0
repetition_penalty = 1.0
max_tokens = {TOKENS}
"""


def threads_chosen(home: Path) -> int:
    """The thread count that phitui measured to be fastest here."""
    profiles = json.loads((home / "profiles.json").read_text(encoding="utf-8"))
    return next(int(value["threads"]) for key, value in profiles.items() if key.startswith("threads/"))


def ask(console: Console) -> tuple[int, float]:
    """Tokens and tok/s of one answer in a fresh chat, read from the screen."""
    console.send("\x0e")
    console.wait_for(r"context – of")
    console.send(PROMPT + "\r")
    match = console.wait_for(r"(\d+) tokens · ([\d.]+) tok/s", 120)
    return int(match[1]), float(match[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=9, help="counted pairs, after one warm-up")
    pairs = parser.parse_args().n
    home = demo_home()
    settings = home / "bench.toml"
    settings.write_text(SETTINGS, encoding="utf-8")
    threads = threads_chosen(home)
    about = machine()
    through, alone = [], []
    folder = home / "models" / "smollm2-135m"
    with (
        Console(command("--config", str(settings)), environment(home)) as console,
        Bare(folder, threads, PROMPT, TOKENS) as bare,
    ):
        console.wait_for("is ready on", 60)
        for _ in range(pairs + 1):
            through.append(ask(console))
            alone.append(bare.run())
    ratios = [seen[1] / run["tokens_per_s"] for seen, run in zip(through, alone, strict=True)]
    publish(
        "console",
        {
            "machine": about,
            "threads": threads,
            "tokens": {"console": through[-1][0], "bare": alone[-1]["tokens"]},
            "console_tokens_per_s": summary([rate for _, rate in through[1:]], 1),
            "bare_tokens_per_s": summary([run["tokens_per_s"] for run in alone[1:]], 1),
            "ratio": {**summary(ratios[1:]), "goal": 0.97},
        },
    )


if __name__ == "__main__":
    main()
