"""Finds how many requests to send to a server at once: the search of phitui.autotune.server_search on a real one."""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Callable, Mapping
from typing import NamedTuple

from phitui.autotune.probes import Goal
from phitui.autotune.server_search import (
    ServerFit,
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
from phitui.core.errors import PhituiError
from phitui.engine.protocol.api import Loaded, Remote
from phitui.engine.protocol.latency import gaps, output_rate, percentile, tpot, ttft
from phitui.storage.server_tunings import ServerTuning
from phitui.workbench.engines import reached
from phitui.workbench.measure.remote_load import Loader, RequestWave, notes_on
from phitui.workbench.tune.local import check_lengths
from phitui.workbench.tune.saved_server import earlier_load


class ServerProbeBegan(NamedTuple):
    """A probe begins, the `number`-th of `most` or fewer (0: not told)."""

    probe: ServerProbe
    number: int
    most: int = 0


class ServerProbeEnded(NamedTuple):
    """How it went, and the fit with it and the knee by that fit, None while there is none."""

    verdict: ServerVerdict
    number: int
    fit: ServerFit | None
    knee: int | None


class EarlierServerTuning(NamedTuple):
    """What an earlier tuning found and why it does not hold ("" where it does); or what is wrong with their file."""

    tuning: ServerTuning | None
    problem: str


ServerTuneEvent = ServerProbeBegan | ServerProbeEnded | EarlierServerTuning


class ServerTuneResult(NamedTuple):
    """The answer, for which server, and what it has to be read with."""

    goal: ServerGoal
    answer: ServerTuneAnswer
    loaded: Loaded
    remote: Remote
    notes: list[str]


async def tune_server(
    config: Config,
    goal: ServerGoal,
    tell: Callable[[ServerTuneEvent], None],
    environ: Mapping[str, str] = os.environ,
    go: asyncio.Event | None = None,
) -> ServerTuneResult:
    """Tune for `goal` on the configured server. Cancelling closes its connections; no probe begins while `go` is not
    set. Raises UsageError for lengths beyond the context window, and PhituiError where it does not answer."""
    client, loaded = await reached(config, environ)
    loader = Loader(client, goal.prompt_tokens, client.server_load)
    try:
        if loaded.remote is None:
            raise PhituiError("the engine is not a server")
        if loaded.context_window is not None:
            check_lengths(Goal(goal.prompt_tokens, goal.new_tokens), loaded.context_window)
        found, problem = await asyncio.to_thread(earlier_load, loaded.remote, goal, environ)
        if found is not None or problem:
            tell(EarlierServerTuning(found, problem))
        await loader.fit_prompts()
        await loader.wave(1, min(goal.new_tokens, 16))  # whatever a server does only once
        tuning = _ServerTuning(loader, goal, tell, go)
        answer = await tuning.run()
        notes = notes_on(tuning.waves, goal.prompt_tokens, goal.new_tokens)
        if all(wave.waiting is None for wave in tuning.waves):
            why = (await client.server_load()).missing.get("waiting", "the server does not say it")
            notes.append(f"waiting requests are not known ({why}): one counts as waiting where another ended before it")
        return ServerTuneResult(goal, answer, loaded, loaded.remote, notes)
    finally:
        await loader.stop()
        await client.stop()


class _ServerTuning:
    """One run of the search."""

    def __init__(
        self, loader: Loader, goal: ServerGoal, tell: Callable[[ServerTuneEvent], None], go: asyncio.Event | None
    ) -> None:
        self._loader, self._goal, self._tell, self._go = loader, goal, tell, go
        self.waves: list[RequestWave] = []

    async def run(self) -> ServerTuneAnswer:
        know = ServerKnowledge(self._goal)
        asked = explore_server(know)
        probe, number = next(asked), 1
        most = self._goal.most_probes + most_repetitions(self._goal, self._goal.most_probes)
        repeating = False
        try:
            while True:
                if self._go is not None:
                    await self._go.wait()
                if probe.again and not repeating:  # the search is over
                    repeating, most = True, number - 1 + most_repetitions(self._goal, len(know.rates()))
                self._tell(ServerProbeBegan(probe, number, most))
                wave = await self._loader.wave(probe.concurrency, self._goal.new_tokens)
                if not wave.problem:
                    self.waves.append(wave)
                outcome = outcome_of(wave)
                try:
                    following = asked.send(outcome)
                finally:  # it has been judged, also where the search ends with it
                    self._tell(ServerProbeEnded(know.verdicts[-1], number, know.fit, know.knee))
                probe, number = following, number + 1
        except StopIteration as end:
            answer: ServerTuneAnswer = end.value
            return answer


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
