"""The bench on a server: the same workload and figures, timed at this end and counted by the server."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import msgspec

from phitui.config.layers import Config
from phitui.core.ipc.messages import Progress
from phitui.engine.worker.threads import usable_cores
from phitui.hardware.analysis.energy import PerToken
from phitui.hardware.host.system import load1
from phitui.workbench.bench.bench import BenchPlan, BenchRuns, Timed, check_sizes, run_to_the_end, workload
from phitui.workbench.bench.figures import Hardware, Run
from phitui.workbench.bench.machine import whole_result
from phitui.workbench.bench.result import (
    BatchResult,
    BenchBandwidth,
    BenchModel,
    BenchResult,
    BenchSetup,
    Circumstances,
    DeviceFacts,
)
from phitui.workbench.measure.remote_load import Loader, RequestWave, loader_for, notes_on

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
    book = BenchRuns(plan)
    async with loader_for(config, plan.prompt_tokens, plan.max_tokens, environ) as loader:
        source = ServerSource(loader, plan.max_tokens)
        await loader.fit_prompts()
        interrupted = await run_to_the_end(book, source, None, tell, _NO_ENERGY)
    results = [_without_hardware(one) for one in book.results(lambda _: Hardware(None, 1, None, NOT_READ))]
    notes = notes_on([wave for wave in source.waves if max(wave.counts) > 1], plan.prompt_tokens, plan.max_tokens)
    loaded, remote = loader.loaded, loader.remote
    where = f"{remote.kind} at {remote.host}"
    return whole_result(
        BenchModel(loaded.name, "as the server has it", "", loaded.context_window),
        DeviceFacts("remote", where, None, usable_cores(), None, None, None, NOT_READ),
        BenchSetup(0, 0, "as the server has it"),
        {"server": loaded.why.split(";")[0]},
        workload(plan),
        Circumstances(begun, load1()),
        results,
        interrupted,
        notes,
    )


def _without_hardware(one: BatchResult) -> BatchResult:
    return msgspec.structs.replace(one, bandwidth=BenchBandwidth(reason=NOT_READ))
