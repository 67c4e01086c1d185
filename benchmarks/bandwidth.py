"""The modelled bandwidth of a CPU run against step times measured from outside the engine.

phitui's engine answers through its client. Modelled: what the gauges compute, from the pulses of the engine's own clock
and the model's bytes per step. Outside, the same bytes over two other step times: between the arrivals of the first and
the last token at the client, in the same run; and between the callbacks of the engine alone in a bare process, whose
runs take turns with ours. Greedy, so the same tokens each time.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import NamedTuple

import psutil
from bare_process import Bare
from console import PROMPT, threads_chosen
from demo_home import demo_home
from report import machine, publish, summary

from phitui.engine.local.client import EngineClient
from phitui.engine.protocol.api import Delta, Event, Finished, Load, Pulse, Sampling, Turn
from phitui.hardware.analysis.roofline import DecodeLoad as DecodeLoad
from phitui.hardware.analysis.roofline import engine_gb_s, useful_gb_s
from phitui.hardware.host.copy_rate import measure

TOKENS = 96
GOAL = 0.03


class Run(NamedTuple):
    """One answer: GB/s as modelled from the pulses, useful and engine's, and from the tokens' arrivals."""

    modelled: float
    modelled_engine: float
    arrivals: float
    bytes_per_step: float


class Outside:
    """The client's side: events with the time they came at."""

    def __init__(self, home: Path) -> None:
        self.events: asyncio.Queue[tuple[float, Event]] = asyncio.Queue()
        self.client = EngineClient(home / "logs" / "bench.log", self._note, restart_limit=0)

    def _note(self, event: Event) -> None:
        self.events.put_nowait((time.perf_counter(), event))

    async def load(self, folder: Path, threads: int) -> None:
        await self.client.load(Load(str(folder), "cpu", "int8", threads, ""))
        while self.client.loaded is None:
            await self.events.get()

    async def answer(self) -> Run:
        await self.client.generate([Turn("user", PROMPT)], Sampling(TOKENS, 0.0, 0, 1.0, 1.0))
        arrivals: list[tuple[float, int]] = []
        pulses: list[Pulse] = []
        while True:
            at, event = await self.events.get()
            if isinstance(event, Delta) and event.tokens is not None:
                arrivals.append((at, event.tokens))
            elif isinstance(event, Pulse):
                pulses.append(event)
            elif isinstance(event, Finished):
                return self._run(pulses, arrivals)

    def _run(self, pulses: list[Pulse], arrivals: list[tuple[float, int]]) -> Run:
        loaded = self.client.loaded
        if loaded is None or loaded.footprint is None:
            raise AssertionError("the engine is gone, or its footprint is not known")
        steps = sum(pulse.steps for pulse in pulses)
        context = sum((pulse.context_tokens or 0.0) * pulse.steps for pulse in pulses) / steps
        load = DecodeLoad(loaded.footprint.weight_step, loaded.footprint.kv_token, 1, context)
        rate = steps / sum(pulse.decode_s for pulse in pulses)
        (first_at, first), (last_at, last) = arrivals[0], next(each for each in arrivals if each[1] == arrivals[-1][1])
        outside = (last - first) / (last_at - first_at)
        return Run(useful_gb_s(load, rate), engine_gb_s(load, rate), useful_gb_s(load, outside), load.useful_bytes)


async def take_turns(home: Path, folder: Path, threads: int, runs: int) -> tuple[list[Run], list[float]]:
    """Runs of ours, and GB/s of the bare process's runs between them. The first pair is for warming up."""
    outside = Outside(home)
    await outside.load(folder, threads)
    ours, bare = [], []
    try:
        with Bare(folder, threads, PROMPT, TOKENS) as alone:
            for _ in range(runs + 1):
                ours.append(await outside.answer())
                rate = (await asyncio.to_thread(alone.run))["tokens_per_s"]
                bare.append(ours[-1].bytes_per_step * rate / 1e9)
    finally:
        await outside.client.stop()
    return ours[1:], bare[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=7, help="counted pairs, after one for warming up")
    runs = parser.parse_args().n
    home = demo_home()
    threads = threads_chosen(home)
    about = machine()
    ours, bare = asyncio.run(take_turns(home, home / "models" / "smollm2-135m", threads, runs))
    memory = measure(psutil.virtual_memory().available, about["cores"])
    arrivals = [run.modelled / run.arrivals for run in ours]
    publish(
        "bandwidth",
        {
            "machine": about,
            "threads": threads,
            "tokens": TOKENS,
            "modelled_gb_s": summary([run.modelled for run in ours]),
            "modelled_engine_gb_s": summary([run.modelled_engine for run in ours]),
            "arrivals_gb_s": summary([run.arrivals for run in ours]),
            "bare_gb_s": summary(bare),
            "modelled_by_arrivals": {**summary(arrivals, 4), "goal": f"within {GOAL:.0%} of 1"},
            "modelled_by_bare": summary([run.modelled / rate for run, rate in zip(ours, bare, strict=True)], 4),
            "memory": {"read_gb_s": memory.read_gb_s, "copy_gb_s": memory.copy_gb_s, "peak_gb_s": memory.peak_gb_s},
            "most_of_peak": round(max(run.modelled_engine for run in ours) / memory.peak_gb_s, 3),
        },
    )


if __name__ == "__main__":
    main()
