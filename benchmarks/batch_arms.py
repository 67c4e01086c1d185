"""The two sides of benchmarks/batch.py: phitui's engine, and CTranslate2 alone, in processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil
from demo_home import demo_home
from report import CACHE

from phitui.autotune.steptime import PrefillSample, StepSample, fit_prefill, fit_steps
from phitui.engine.local.allocator import allocator_environment
from phitui.engine.local.client import EngineClient
from phitui.engine.protocol.api import (
    BatchEnded,
    BatchState,
    Cost,
    Event,
    Load,
    Loaded,
    OpenBatch,
    Probed,
    Row,
    RowDone,
    RowsMade,
    Sampling,
    Turn,
)
from phitui.engine.protocol.rows_api import Policy
from phitui.engine.worker.batching.wave_cost import WaveCost
from phitui.engine.worker.prompt import ChatPrompt
from phitui.models.manifest import MANIFEST_NAME, read_manifest

_WORDS = (
    "the card has memory and a bandwidth of its own while rows share what every step must read so that more of them "
    "cost less until the cache of all takes longer than the weights do which is quicker to measure than to argue about"
)
# A token that the model does not make: with it as the end token, every row makes what it may, as the workload says.
_NEVER = "<repo_name>"


class Run(NamedTuple):
    """What a run made and took, from the first message to the last; `cpu_s` is of the engine's process. Of phitui's
    `waves` so many were `stopped` before their rows had ended; `made` are the tokens of each row."""

    tokens: int
    seconds: float
    cpu_s: float
    waves: int = 0
    stopped: int = 0
    made: Mapping[int, Sequence[int]] = {}

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds


def endless_demo() -> Path:
    """A copy of the demo model whose end token never comes."""
    source, folder = demo_home() / "models" / "smollm2-135m", CACHE / "endless" / "smollm2-135m"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    manifest = read_manifest(folder)
    changed = msgspec.structs.replace(manifest, end_tokens=[_NEVER])
    (folder / MANIFEST_NAME).write_bytes(msgspec.json.encode(changed))
    return folder


def rows_of(shapes: Sequence[tuple[int, int]], seed: int) -> list[Row]:
    """Rows of (words in the prompt, tokens to make), greedy."""
    draw = random.Random(seed)
    return [
        Row(key, [Turn("user", " ".join(draw.choices(_WORDS.split(), k=words)))], Sampling(limit, 0.0, 0, 1.0, 1.0))
        for key, (words, limit) in enumerate(shapes)
    ]


def common_beginning(prompts: list[list[str]]) -> list[str]:
    """What all begin with; two tokens at least are left behind it, since with one CTranslate2 reports longer prompts as
    made."""
    first, last, most = min(prompts), max(prompts), min(map(len, prompts)) - 2
    return first[: next((i for i in range(most) if first[i] != last[i]), max(most, 0))]


def shared(cost: Cost, workers: int) -> WaveCost:
    """What a wave costs on one of so many workers, by fits over the rows of all."""
    parts = (cost.step_fixed_s, cost.step_row_s, cost.step_token_s, cost.prefill_call_s, cost.prefill_token_s)
    return WaveCost.share(*parts, workers=workers)


class PhituiArm:
    """phitui's engine: a client and its worker process."""

    def __init__(self, load: Load) -> None:
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        CACHE.mkdir(parents=True, exist_ok=True)
        self.client = EngineClient(CACHE / "batch-engine.log", self._events.put_nowait)
        self.load = load
        self.workers = load.workers
        self.notes: list[str] = []

    async def start(self) -> Loaded:
        await self.client.load(self.load)
        loaded: Loaded = await self._wait(Loaded)
        return loaded

    async def stop(self) -> None:
        await self.client.stop()

    async def event(self) -> Event:
        """The next one."""
        return await asyncio.wait_for(self._events.get(), 300)

    async def _wait(self, kind: Any) -> Any:
        while not isinstance(event := await self.event(), kind):
            pass
        return event

    async def cost(self) -> Cost:
        """Probe, and fit as the tuner does."""
        workers = self.workers
        steps, prefills = [], []
        for batch, prompt, new in ((2, 24, 8), (16, 24, 8), (52, 24, 8), (16, 96, 8), (52, 96, 6)):
            await self.client.probe(workers * max(batch // workers, 1), prompt, new)
            made: Probed = await self._wait(Probed)
            if made.step_s and made.prefill_s:
                steps.append(StepSample(batch, prompt + new / 2, made.step_s))
                prefills.append(PrefillSample(batch, prompt, max(made.prefill_s - made.step_s, 1e-4)))
        step, prefill = fit_steps(steps), fit_prefill(prefills)
        return Cost(step.fixed_s, step.row_s, step.token_s, prefill.call_s, prefill.token_s)

    async def run(self, rows: list[Row], batch: int, cost: Cost | None, policy: Policy = "waves") -> Run:
        """All rows; `batch` is the most over all workers."""
        engine = psutil.Process(self.client.pid)
        begun, cpu, tokens = time.perf_counter(), sum(engine.cpu_times()[:2]), 0
        number = await self.client.open_batch(OpenBatch(batch=batch, cost=cost, policy=policy))
        await self.client.add_rows(number, rows, last=True)
        done: set[int] = set()
        made: dict[int, list[int]] = {row.key: [] for row in rows}
        waves = stopped = 0
        while True:
            event = await self.event()
            if isinstance(event, RowDone):
                tokens += event.usage.completion_tokens or 0
                done.add(event.key)
                made[event.key] += event.made
            elif isinstance(event, RowsMade):
                for key, ids in event.made:
                    made[key] += ids
            elif isinstance(event, BatchState):
                waves, stopped = event.waves, event.stopped
                self.notes += [event.note] if event.note else []
            elif isinstance(event, BatchEnded):
                break
        if len(done) != len(rows):
            raise AssertionError(f"{len(rows) - len(done)} rows are missing")
        return Run(tokens, time.perf_counter() - begun, sum(engine.cpu_times()[:2]) - cpu, waves, stopped, made)


class BareArm:
    """CTranslate2 alone, with the same allocator settings. A context manager."""

    def __init__(self, load: Load) -> None:
        """`load` names device and compute type, not "auto"."""
        folder = Path(load.folder)
        manifest = read_manifest(folder)
        self._prompt = ChatPrompt(folder, manifest)
        self._process = subprocess.Popen(
            [
                sys.executable, str(Path(__file__).with_name("bare_batch.py")), str(folder), "--device", load.device,
                "--workers", str(load.workers), "--threads", str(load.threads), "--compute-type", load.compute_type,
                "--end-tokens", *manifest.end_tokens,
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **allocator_environment()},
        )  # fmt: skip
        self._line()

    def __enter__(self) -> BareArm:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def tokens(self, row: Row) -> list[str]:
        """A row's prompt as tokens."""
        return self._prompt.tokens(row.turns)

    def run(self, rows: list[Row], batch: int, order: str, stop: bool = True, share_prefix: bool = False) -> Run:
        """All rows, `batch` in each of CTranslate2's batches; what all begin with as a static prompt, where asked."""
        limits = [row.sampling.max_tokens for row in rows]
        prompts = [self.tokens(row) for row in rows]
        prefix = common_beginning(prompts) if share_prefix else []
        prompts = [prompt[len(prefix) :] for prompt in prompts]
        job = {"rows": prompts, "limits": limits, "batch": batch, "order": order, "stop": stop, "prefix": prefix}
        if self._process.stdin is None:
            raise AssertionError("no pipe")
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        made = json.loads(self._line())
        return Run(made["tokens"], made["seconds"], made["cpu_s"])

    def _line(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise AssertionError("the bare process ended")
        return line
