"""The bench on a server: the same workload and figures, timed at this end and counted by the server."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Callable, Mapping
from datetime import datetime, timezone

import msgspec

import phitui
from phitui.config.layers import Config
from phitui.core.ipc.messages import Progress
from phitui.engine.protocol.api import Loaded
from phitui.engine.worker.threads import usable_cores
from phitui.hardware.analysis.energy import PerToken
from phitui.hardware.host.system import load1
from phitui.workbench.bench.bench import BenchPlan, BenchRuns, Timed, check_lengths, check_sizes, run_plan, workload
from phitui.workbench.bench.figures import Hardware, Run
from phitui.workbench.bench.result import (
    FORMAT,
    VERSION,
    BatchResult,
    BenchBandwidth,
    BenchModel,
    BenchResult,
    BenchSetup,
    Circumstances,
    DeviceFacts,
)
from phitui.workbench.engines import reached
from phitui.workbench.measure.remote_load import Loader, RequestWave, notes_on

NOT_READ = "the server's hardware is not read"
_NO_ENERGY = PerToken(None, None, None, False, "the server's energy is not read")


class ServerSource:
    """Requests to a server, as many at once as the batch has rows. `waves` are those with answers of `counted` tokens:
    the shorter ones warm up."""

    def __init__(self, loader: Loader, counted: int) -> None:
        self._loader = loader
        self._counted = counted
        self.waves: list[RequestWave] = []

    async def run(self, batch: int, prompt_tokens: int, max_tokens: int) -> Timed:
        """The loader has fitted its prompts to their length. Raises PhituiError where the server is gone."""
        del prompt_tokens
        wave = await self._loader.wave(batch, max_tokens)
        if wave.problem:
            return Timed("failed", None, wave.problem)
        if max_tokens == self._counted:
            self.waves.append(wave)
        return Timed("ok", Run(wave.rows, None, wave.counts))


async def bench_server(
    config: Config, plan: BenchPlan, tell: Callable[[Progress], None], environ: Mapping[str, str] = os.environ
) -> BenchResult:
    """Run the plan on the configured server. As `bench.bench.bench`."""
    check_sizes(plan)
    begun = load1()
    client, loaded = await reached(config, environ)
    loader = Loader(client, plan.prompt_tokens)
    source, book = ServerSource(loader, plan.max_tokens), BenchRuns(plan)
    interrupted = False
    try:
        if loaded.context_window is not None:
            check_lengths(plan, loaded.context_window)
        try:
            await loader.fit_prompts()
            await run_plan(book, source, None, tell, _NO_ENERGY)
        except asyncio.CancelledError:
            if not book.has_figures:
                raise
            interrupted = True
    finally:
        await loader.stop()
        await client.stop()
    results = [_without_hardware(one) for one in book.results(lambda _: Hardware(None, 1, None, NOT_READ))]
    notes = notes_on([wave for wave in source.waves if max(wave.counts) > 1], plan.prompt_tokens, plan.max_tokens)
    return _result(loaded, plan, Circumstances(begun, load1()), results, interrupted, notes)


def _without_hardware(one: BatchResult) -> BatchResult:
    return msgspec.structs.replace(one, bandwidth=BenchBandwidth(reason=NOT_READ))


def _result(
    loaded: Loaded,
    plan: BenchPlan,
    conditions: Circumstances,
    results: list[BatchResult],
    interrupted: bool,
    notes: list[str],
) -> BenchResult:
    remote = loaded.remote
    host, kind = (remote.host, remote.kind) if remote is not None else ("", "")
    return BenchResult(
        format=FORMAT,
        version=VERSION,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        interrupted=interrupted,
        model=BenchModel(loaded.name, "as the server has it", "", loaded.context_window),
        device=DeviceFacts("remote", f"{kind} at {host}", None, usable_cores(), None, None, None, NOT_READ),
        config=BenchSetup(0, 0, "as the server has it"),
        versions={
            "phitui": phitui.__version__,
            "python": platform.python_version(),
            "server": loaded.why.split(";")[0],
        },
        workload=workload(plan),
        conditions=conditions,
        results=results,
        notes=notes,
    )
