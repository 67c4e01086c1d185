"""Finds how many requests to send to a server at once: the search of phitui.autotune.server_search on a real one."""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Callable, Mapping

from phitui.autotune.server_search import (
    ServerGoal,
    ServerKnowledge,
    ServerOutcome,
    ServerProbe,
    ServerTuneAnswer,
    ServerVerdict,
    explore_server,
    most_repetitions,
)
from phitui.config.layers import Config
from phitui.engine.protocol.latency import gaps, output_rate, percentile, tpot, ttft
from phitui.workbench.measure.remote_load import Loader, RequestWave, loader_for, notes_on
from phitui.workbench.tune.driving import Prober
from phitui.workbench.tune.events import ServerTuneEvent, ServerTuneResult
from phitui.workbench.tune.saved import earlier_of_server


async def tune_server(
    config: Config,
    goal: ServerGoal,
    tell: Callable[[ServerTuneEvent], None],
    environ: Mapping[str, str] = os.environ,
    go: asyncio.Event | None = None,
) -> ServerTuneResult:
    """Tune for `goal` on the configured server. Cancelling closes its connections; no probe begins while `go` is not
    set. Raises UsageError for lengths beyond the context window, and PhituiError where it does not answer."""
    async with loader_for(config, goal.prompt_tokens, goal.new_tokens, environ, watch=True) as loader:
        remote = loader.remote
        found_before = await asyncio.to_thread(earlier_of_server, remote, goal, environ)
        if found_before is not None:
            tell(found_before)
        await loader.fit_prompts()
        await loader.wave(1, min(goal.new_tokens, 16))  # whatever a server does only once
        tuning = _ServerTuning(loader, goal, tell, go)
        answer = await tuning.run()
        notes = notes_on(tuning.waves, goal.prompt_tokens, goal.new_tokens)
        if all(wave.waiting is None for wave in tuning.waves):
            why = (await loader.client.server_load()).missing.get("waiting", "the server does not say it")
            notes.append(f"waiting requests are not known ({why}): one counts as waiting where another ended before it")
        return ServerTuneResult(goal, answer, remote, notes)


class _ServerTuning(Prober[ServerProbe, ServerOutcome, ServerVerdict, ServerKnowledge]):
    """One run of the search."""

    def __init__(
        self, loader: Loader, goal: ServerGoal, tell: Callable[[ServerTuneEvent], None], go: asyncio.Event | None
    ) -> None:
        super().__init__(tell, go)
        self._loader, self._know = loader, ServerKnowledge(goal)
        self.waves: list[RequestWave] = []

    async def run(self) -> ServerTuneAnswer:
        return await self.drive(self._know, self._know.verdicts, explore_server(self._know), self._most)

    def _most(self, probe: ServerProbe) -> int:
        """Once the first one is repeated the search is over, and it is known how many sizes there are to repeat."""
        goal = self._know.goal
        if not probe.again:
            return goal.most_probes + most_repetitions(goal, goal.most_probes)
        searched = sum(not one.probe.again for one in self._know.verdicts)
        return searched + most_repetitions(goal, len(self._know.rates()))

    async def measure(self, probe: ServerProbe) -> ServerOutcome:
        wave = await self._loader.wave(probe.size, self._know.goal.new_tokens)
        if not wave.problem:
            self.waves.append(wave)
        return outcome_of(wave)


def outcome_of(wave: RequestWave) -> ServerOutcome:
    """What a wave says. Where the server does not tell of waiting requests, or not in time, those count that began when
    another had ended: all were sent at once."""
    if wave.problem:
        return ServerOutcome("failed", seconds=wave.seconds, detail=wave.problem)
    steps = [value for row, count in zip(wave.rows, wave.counts, strict=True) if (value := tpot(row, count))]
    pieces = gaps(wave.rows)
    return ServerOutcome(
        kind="ok",
        rate=output_rate(wave.rows, sum(wave.counts)),
        seconds=max(row[-1] for row in wave.rows),
        step_s=statistics.fmean(steps) if steps else None,
        gap_p95_s=percentile(pieces, 0.95) if pieces else None,
        ttft_s=statistics.fmean(map(ttft, wave.rows)),
        waiting=wave.queued if wave.waiting is None else wave.waiting,
        kv_use=wave.kv_use,
    )
