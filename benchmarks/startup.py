"""How long until something is seen: exec to the console's first painted frame, and to the first token of an answer.

The frame counts as painted when the status line's text has arrived at the terminal; the token when the first byte of
the answer has arrived at the pipe. Both with files in the page cache and the demo model in the store.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from pathlib import Path

from demo_home import demo_home
from report import machine, publish, summary
from terminal import Console, command, environment, wait_until

PROMPT = "Name three uses of a lighthouse."


def first_frame_s(home: Path) -> float:
    """Seconds from exec to the first frame at 120×40."""
    with Console(command(), environment(home)) as console:
        if not wait_until(lambda: b"phitui" in console.output, 30, 0.001):
            raise AssertionError("no frame")
        seconds = time.perf_counter() - console.started
        console.send("\x11")
        console.wait_ended()
        return seconds


def first_token_s(home: Path) -> float:
    """Seconds from exec to the first byte of an answer."""
    begun = time.perf_counter()
    with subprocess.Popen(command("ask", PROMPT), env=environment(home), stdout=subprocess.PIPE) as process:
        if process.stdout is None or not process.stdout.read(1):
            raise AssertionError("no answer")
        seconds = time.perf_counter() - begun
        process.stdout.read()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=11, help="counted runs of each, after one warm-up")
    runs = parser.parse_args().n
    home = demo_home()
    about = machine()
    frames, tokens = [], []
    for _ in range(runs + 1):
        frames.append(first_frame_s(home))
        tokens.append(first_token_s(home))
    publish(
        "startup",
        {
            "machine": about,
            "first_frame_s": {**summary(frames[1:]), "goal": 0.6},
            "first_token_s": {**summary(tokens[1:]), "goal": 1.5},
        },
    )


if __name__ == "__main__":
    main()
