"""A standard workload at several batch sizes: token times from the engine, and the hardware's figures beside them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from phitui.autotune.memory import Shape
from phitui.config.layers import Config, home
from phitui.core.errors import PhituiError, UsageError
from phitui.core.ipc.messages import Progress
from phitui.core.text import counted
from phitui.hardware.analysis.energy import PerToken
from phitui.hardware.host.system import load1
from phitui.workbench.bench.figures import Hardware, Run, batch_result
from phitui.workbench.bench.machine import Machine, memory_rate
from phitui.workbench.bench.result import BatchResult, BenchResult, Circumstances, Workload
from phitui.workbench.bench.watch import Watch
from phitui.workbench.measure.probing import ProbingEngine, to_measure
from phitui.workbench.start import engine_log

_WARM_UP_TOKENS = 16
# Times of one run cross from the engine in one message.
MOST_TOKENS_OF_A_RUN = 4_000_000
NO_CPU_ENERGY = PerToken(None, None, None, False, "a CPU's energy is not read")


@dataclass(frozen=True)
class BenchPlan:
    """What to run: batch sizes in rows, lengths in tokens, how often."""

    batches: tuple[int, ...]
    prompt_tokens: int
    max_tokens: int
    repeat: int

    @property
    def warm_up_tokens(self) -> int:
        return min(_WARM_UP_TOKENS, self.max_tokens)


class Timed(NamedTuple):
    """How one batch went: its run, or why there is none."""

    kind: Literal["ok", "oom", "failed"]
    run: Run | None = None
    detail: str = ""


class TokenSource(Protocol):
    """Where token times come from."""

    async def run(self, batch: int, prompt_tokens: int, max_tokens: int) -> Timed:
        """Run a batch of rows of so many tokens, and make exactly `max_tokens` for each. Raises PhituiError where no
        later batch could run either."""
        ...


class EngineSource:
    """phitui's own engine. Memory is held within what is usable, so that running out of it is an outcome."""

    def __init__(self, engine: ProbingEngine, usable_bytes: int) -> None:
        self._engine = engine
        self._usable_bytes = usable_bytes

    async def run(self, batch: int, prompt_tokens: int, max_tokens: int) -> Timed:
        shape = Shape(batch, prompt_tokens, max_tokens)
        made = await self._engine.probe(shape, self._usable_bytes, every_token=True)
        self._usable_bytes = made.usable_bytes or self._usable_bytes
        if made.kind == "ok":
            return Timed("ok", Run(made.token_s, made.peak_bytes))
        return Timed("oom" if made.kind == "oom" else "failed", None, made.detail)


async def bench(
    config: Config, plan: BenchPlan, tell: Callable[[Progress], None], environ: Mapping[str, str] = os.environ
) -> BenchResult:
    """Run the plan in the configured way. Cancelling ends the engine's process, and returns what is done by then; where
    nothing is done, it cancels.

    Raises UsageError for a plan that cannot be, and PhituiError where the engine cannot be loaded or does not survive.
    """
    check_sizes(plan)
    begun = load1()
    load, manifest = await to_measure(config, plan.prompt_tokens, plan.max_tokens, tell, environ)
    engine = ProbingEngine(engine_log(environ), tell)
    watch: Watch | None = None
    try:
        loaded, room = await engine.ready(load, plan.prompt_tokens + plan.max_tokens)
        source = EngineSource(engine, room.usable_bytes)
        rate = await memory_rate(home(environ), tell) if loaded.device == "cpu" else None
        if loaded.device == "cuda":
            watch = Watch(lambda: engine.pid, loaded.device_uuid)
            await watch.start()
        book = BenchRuns(plan)
        interrupted = await run_to_the_end(book, source, watch, tell)
        machine = Machine(loaded, manifest, rate, watch)
        conditions = Circumstances(begun, load1(), watch.throttle_reasons if watch is not None else None)
        return machine.result(workload(plan), conditions, book.results(machine.hardware), interrupted)
    finally:
        if watch is not None:
            watch.stop()
        await engine.stop()


async def run_to_the_end(
    book: BenchRuns,
    source: TokenSource,
    watch: Watch | None,
    tell: Callable[[Progress], None],
    no_energy: PerToken = NO_CPU_ENERGY,
) -> bool:
    """Run; returns whether it was interrupted. Before there is a figure, that cancels. `no_energy` says why there is
    none without a `watch`."""
    try:
        await _run_plan(book, source, watch, tell, no_energy)
    except asyncio.CancelledError:
        if not book.has_figures:
            raise
        return True
    return False


async def _run_plan(
    book: BenchRuns, source: TokenSource, watch: Watch | None, tell: Callable[[Progress], None], no_energy: PerToken
) -> None:
    """All batch sizes once to warm up, then all of them in turn, `repeat` times: what else the machine does meanwhile
    meets each of them. A size that fails is left out from then on."""
    plan = book.plan
    total = len(plan.batches) * (plan.repeat + 1)
    for turn in range(plan.repeat + 1):
        for place, batch in enumerate(plan.batches):
            if batch in book.problems:
                continue
            what = f"run {turn} of {plan.repeat}" if turn else "warming up"
            rows = counted(batch, "row")
            tell(Progress("bench", f"{rows}: {what}", turn * len(plan.batches) + place, total, "runs"))
            tokens = plan.max_tokens if turn else plan.warm_up_tokens
            begun = watch.begin_run() if watch is not None else 0.0
            timed = await source.run(batch, plan.prompt_tokens, tokens)
            energy = no_energy if watch is None else await watch.end_run(begun, batch * tokens)
            book.note(batch, timed, energy, counts=turn > 0)
    tell(Progress("bench", "done", total, total, "runs"))


class BenchRuns:
    """What was measured, by batch size."""

    def __init__(self, plan: BenchPlan) -> None:
        self.plan = plan
        self.problems: dict[int, tuple[str, str]] = {}
        self._runs: dict[int, list[tuple[Run, PerToken]]] = {batch: [] for batch in plan.batches}

    @property
    def has_figures(self) -> bool:
        return any(self._runs.values())

    def note(self, batch: int, timed: Timed, energy: PerToken, counts: bool) -> None:
        """Take a run; one that was to warm up does not count, unless it failed."""
        if timed.run is None:
            self.problems[batch] = (timed.kind, timed.detail)
        elif counts:
            self._runs[batch].append((timed.run, energy))

    def results(self, hardware: Callable[[int], Hardware]) -> list[BatchResult]:
        """The figures of every batch size, in the plan's order."""
        return [self._result(batch, hardware(batch)) for batch in self.plan.batches]

    def _result(self, batch: int, hardware: Hardware) -> BatchResult:
        done = self._runs[batch]
        problem = self.problems.get(batch)
        if problem is None and len(done) < self.plan.repeat:
            problem = ("interrupted", f"{len(done)} of {self.plan.repeat} runs were done")
        runs, energies = [run for run, _ in done], [energy for _, energy in done]
        return batch_result(batch, runs, energies, hardware, self.plan.prompt_tokens, problem)


def check_sizes(plan: BenchPlan) -> None:
    """Raises UsageError where a run would make more tokens than their times can be told of."""
    most = max(plan.batches) * plan.max_tokens
    if most > MOST_TOKENS_OF_A_RUN:
        raise UsageError(
            f"{max(plan.batches)} rows of {plan.max_tokens} tokens are {most} in one run, at most "
            f"{MOST_TOKENS_OF_A_RUN} can be timed",
            "Lower --batch-sizes or --max-tokens",
        )


def no_figures(result: BenchResult) -> PhituiError | None:
    """An error where not one batch size gave a figure, with the first reason."""
    if any(one.runs for one in result.results):
        return None
    first = result.results[0]
    return PhituiError(f"no batch size gave a figure; {first.batch} rows: {first.outcome}: {first.detail}")


def workload(plan: BenchPlan) -> Workload:
    """The plan as it stands in a result."""
    return Workload(plan.prompt_tokens, plan.max_tokens, plan.repeat, plan.warm_up_tokens)
