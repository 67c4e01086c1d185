"""One prompt on the CPU: tokens/s by thread count, and which count phitui chose by its own measurement."""

from __future__ import annotations

import argparse
from contextlib import ExitStack

from bare_process import Bare
from console import PROMPT, threads_chosen
from demo_home import demo_home
from report import machine, publish, summary

from phitui.engine.worker.threads import candidates, usable_cores

TOKENS = 96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=7, help="counted rounds, after one warm-up")
    rounds = parser.parse_args().n
    home = demo_home()
    about = machine()
    folder = home / "models" / "smollm2-135m"
    counts = candidates(usable_cores())
    rates: dict[int, list[float]] = {count: [] for count in counts}
    with ExitStack() as stack:
        processes = {count: stack.enter_context(Bare(folder, count, PROMPT, TOKENS)) for count in counts}
        for _ in range(rounds + 1):
            for count, process in processes.items():
                rates[count].append(process.run()["tokens_per_s"])
    by_count = {str(count): summary(values[1:], 1) for count, values in rates.items()}
    fastest = max(counts, key=lambda count: by_count[str(count)]["median"])
    publish(
        "threads",
        {
            "machine": about,
            "tokens_per_s_by_threads": by_count,
            "fastest": fastest,
            "chosen_by_phitui": threads_chosen(home),
        },
    )


if __name__ == "__main__":
    main()
