"""What watching costs: phitui monitor against nvitop and gpustat, on the same stand-in driver with two RTX 4090.

Each tool runs in a terminal of 200×50 at 1 Hz, with the driver's figures moving each second and with them at rest, in
turn, so that a drift of the machine meets all. CPU is the time of the tool's processes (user and system) over the wall
time, in percent of one core; bytes are what arrives at the terminal. The first frame is there when the card's name is.
The peers are installed into an environment of the benchmark's own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from report import CACHE, RESULTS, machine, publish, summary
from terminal import Console, command, environment, wait_until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "drivers"))
import standin  # type: ignore[import-not-found]

# gpustat's terminal library: newer ones ask the terminal for what it can do and wait for answers that a bare one never
# gives.
PEERS = {"nvitop": "1.7.2", "gpustat": "1.1.1", "blessed": "1.20.0"}
SETTLE_S = 5.0
MEMORY = 25_757_220_864 - 379_584_512


class Cards:
    """The stand-in's state, rewritten each second while it moves: waves with noise, as under a changing load. Process
    `pid` is on both cards."""

    def __init__(self, folder: Path, pid: int) -> None:
        state: dict[str, object] = dict(standin.profile("2x4090"))
        state.update({f"{card}.processes.compute": f"{pid}:5100273664" for card in (0, 1)})
        self.driver = standin.Driver(standin.build(folder), folder / "state", state)
        self._random = random.Random(7)
        self._moving = threading.Event()
        self._second = 0
        threading.Thread(target=self._run, daemon=True).start()

    def move(self, moving: bool) -> None:
        """Let the figures move, or rest."""
        if moving:
            self._moving.set()
        else:
            self._moving.clear()

    def _run(self) -> None:
        while True:
            self._moving.wait()
            self._second += 1
            self.driver.change({key: value for card in (0, 1) for key, value in self._figures(card).items()})
            time.sleep(1)

    def _figures(self, card: int) -> dict[str, object]:
        noise, wave = self._random.randint, self._second / 9 + 2 * card
        util = 52 + round(38 * math.sin(wave)) + noise(-6, 6)
        used = round((9 + 6 * math.sin(wave / 2)) * 2**30) + noise(0, 2**28)
        figures = {
            "util_gpu": util, "util_mem": max(util - 25, 0), "power_mw": 60_000 + 3_500 * util + noise(0, 9_000),
            "temperature": 44 + util // 4, "fan": 30 + util // 5, "sm_clock": 2520 + 15 * noise(-6, 6),
            "mem_used": used, "mem_free": MEMORY - used,
        }  # fmt: skip
        return {f"{card}.{key}": value for key, value in figures.items()}


def tools() -> dict[str, list[str]]:
    """The command line of each tool; the peers are installed once."""
    home = CACHE / "peers"
    if not (home / "bin" / "gpustat").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        wanted = [f"{name}=={version}" for name, version in PEERS.items()]
        subprocess.run([str(home / "bin" / "pip"), "install", "--quiet", *wanted], check=True)
    return {
        "phitui": command("monitor"),
        "nvitop": [str(home / "bin" / "nvitop")],
        "gpustat": [str(home / "bin" / "gpustat"), "-i", "1"],
    }


def open_tool(words: list[str], cards: Cards) -> Console:
    """Start a tool in its terminal."""
    return Console(words, environment(CACHE / "home", **cards.driver.environment()), 200, 50)


def close(console: Console, name: str) -> None:
    """Leave by its key."""
    console.send("q" if name != "gpustat" else "\x03")
    wait_until(lambda: console.process.poll() is not None, 3)


def first_frame(words: list[str], name: str, cards: Cards) -> tuple[float, float]:
    """Wall seconds and CPU seconds from exec until a card is shown."""
    with open_tool(words, cards) as console:
        if not wait_until(lambda: b"4090" in console.output, 30, 0.001):
            raise AssertionError(f"{name}: no frame")
        seconds = time.perf_counter() - console.started
        used = _cpu_s(console)
        close(console, name)
    return seconds, used


def watch(words: list[str], name: str, cards: Cards, seconds: float) -> dict[str, float]:
    """CPU %, bytes/s and resident MB over `seconds`, once the tool has settled."""
    with open_tool(words, cards) as console:
        console.wait_for("4090")
        time.sleep(SETTLE_S)
        bytes_before, cpu_before, begun = len(console.output), _cpu_s(console), time.perf_counter()
        time.sleep(seconds)
        wall = time.perf_counter() - begun
        figures = {
            "cpu_pct": 100 * (_cpu_s(console) - cpu_before) / wall,
            "bytes_per_s": (len(console.output) - bytes_before) / wall,
            "rss_mb": sum(process.memory_info().rss for process in console.family()) / 1e6,
        }
        close(console, name)
    return figures


def key_delays(words: list[str], cards: Cards, presses: int = 60) -> list[float]:
    """Seconds from a key to what it paints, while one of the driver's calls takes 2 s."""
    delays = []
    cards.driver.change({"delay_us.nvmlDeviceGetPowerUsage": 2_000_000})
    try:
        with open_tool(words, cards) as console:
            console.wait_for("4090", 30)
            time.sleep(SETTLE_S)
            for press in range(presses):
                wanted = "Not available on" if press % 2 == 0 else "─ Hints"
                begun = time.perf_counter()
                console.send("w")
                if not wait_until(lambda text=wanted: text in console.text(), 10, 0.001):  # type: ignore[misc]
                    raise AssertionError(f"the key showed no {wanted!r}")
                delays.append(time.perf_counter() - begun)
                time.sleep(0.15)
            close(console, "phitui")
    finally:
        cards.driver.change({"delay_us.nvmlDeviceGetPowerUsage": None})
    return delays


def _cpu_s(console: Console) -> float:
    """From the scheduler's own account, in nanoseconds; the usual one counts in hundredths of a second."""
    total = 0.0
    for process in console.family():
        for thread in Path(f"/proc/{process.pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0]) / 1e9
    return total


def start_figures(starts: list[tuple[float, float]]) -> dict[str, Any]:
    """Wall and processor time to the first frame, without the first start."""
    return {
        "first_frame_s": summary([wall for wall, _ in starts[1:]]),
        "first_frame_cpu_s": summary([used for _, used in starts[1:]]),
    }


def with_starts(starts: dict[str, list[tuple[float, float]]], about: dict[str, Any]) -> dict[str, Any]:
    """The stored result with other starts, and what they were taken on."""
    report: dict[str, Any] = json.loads((RESULTS / "monitor.json").read_text(encoding="utf-8"))
    for name, times in starts.items():
        report[name] |= start_figures(times)
    report["starts_taken_on"] = about
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=3, help="rounds of watching")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each is watched")
    parser.add_argument("--starts", type=int, default=7, help="counted starts of each, after one warm-up")
    parser.add_argument("--only-starts", action="store_true", help="take the starts anew; the rest stays as it was")
    args = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / "home").mkdir(exist_ok=True)
    cards, words, about = Cards(CACHE, os.getpid()), tools(), machine()
    seen: dict[tuple[str, str], list[dict[str, float]]] = {}
    starts: dict[str, list[tuple[float, float]]] = {name: [] for name in words}
    for _ in range(args.starts + 1):
        for name in words:
            starts[name].append(first_frame(words[name], name, cards))
    if args.only_starts:
        publish("monitor", with_starts(starts, about))
        return
    keys = key_delays(words["phitui"], cards)
    for _ in range(args.n):
        for state in ("moving", "static"):
            cards.move(state == "moving")
            for name in words:
                seen.setdefault((name, state), []).append(watch(words[name], name, cards, args.seconds))
    report: dict[str, Any] = {
        "machine": about,
        "peers": PEERS,
        "seconds": args.seconds,
        "load_after": os.getloadavg()[0],
    }
    for name in words:
        report[name] = start_figures(starts[name])
        for state in ("moving", "static"):
            rounds = seen[name, state]
            report[name][state] = {key: summary([figures[key] for figures in rounds], 2) for key in rounds[0]}
    report["key_delay_s_while_a_call_takes_2_s"] = summary(keys)
    report["goal"] = (
        "phitui: CPU and bytes at most nvitop's, moving and static; first frame within 0.5 s; a key within 50 ms"
    )
    publish("monitor", report)


if __name__ == "__main__":
    main()
