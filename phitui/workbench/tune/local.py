"""Finds the fastest configuration and batch: the search of `autotune` on a real engine, and the engine's own knobs.

First the search in the configuration that is there; then other workers × threads and other compute types, with a probe
or two each; then, where one of them is faster, the search again in that one. At the end what decides runs again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace

import msgspec

from phitui.autotune.answer import Knowledge, TuneAnswer
from phitui.autotune.probes import Goal, NothingFitsError, Outcome, Probe, Verdict
from phitui.autotune.search import confirm, explore, most_repetitions, run_again, try_sizes
from phitui.config.layers import Config
from phitui.core.errors import PhituiError, UnavailableError
from phitui.core.ipc.messages import Progress
from phitui.engine.protocol.api import Load, Loaded
from phitui.engine.worker.memory_model import memory_model
from phitui.hardware.host.memory_holders import largest_holder
from phitui.hardware.host.system import load1
from phitui.models.manifest import Manifest
from phitui.workbench.measure.preflight import preflight
from phitui.workbench.measure.probing import ProbingEngine, to_measure
from phitui.workbench.start import engine_log
from phitui.workbench.tune.driving import Prober, T
from phitui.workbench.tune.events import Arm, LocalTuneEvent, Trial, TuneResult
from phitui.workbench.tune.saved import earlier
from phitui.workbench.tune.setups import Limit, Setup, compute_types, setups

# Another configuration has to be this much faster to be worth a change: below it is noise.
_WORTH = 1.03
# Below it they are measured once more, in turn.
_CLEARLY = 1.25
_CONFIRM_PROBES = 6
_TRIAL_PROBES = 2  # one for each of `two_sizes`


async def tune(
    config: Config,
    goal: Goal,
    limit: Limit,
    tell: Callable[[LocalTuneEvent], None],
    vary_compute_type: bool = True,
    environ: Mapping[str, str] = os.environ,
    engine: ProbingEngine | None = None,
    go: asyncio.Event | None = None,
) -> TuneResult:
    """Tune for `goal` within `limit`. Cancelling ends the engine's process. `engine` is one to use in place of a new
    one; no probe begins while `go` is not set.

    Raises UsageError for lengths beyond the context window, NothingFitsError where one row does not fit, and
    PhituiError where the engine cannot be loaded or does not survive.
    """
    busy = load1()
    load, manifest = await to_measure(config, goal.prompt_tokens, goal.new_tokens, tell, environ)
    engine = engine or ProbingEngine(engine_log(environ), tell)
    tuning = _LocalTuning(engine, load, manifest, goal, limit, tell, go)
    try:
        return await tuning.run(vary_compute_type, environ, busy)
    except NothingFitsError as error:
        who = await asyncio.to_thread(largest_holder, engine.device, engine.device_uuid, [engine.pid])
        free = f"{tuning.usable_bytes / 2**30:.2f} GiB is free for the engine"
        raise NothingFitsError(f"{error.message}; {free}, {who}", error.fix) from error
    finally:
        await engine.stop()


def two_sizes(best: int, start: int) -> list[int]:
    """What other configurations are compared at, larger first: two sizes, so that their step times have a slope and the
    batch can be told from which on one is faster."""
    other = start if start != best else max(1, best // 4)
    return sorted({best, other}, reverse=True)


class _LocalTuning(Prober[Probe, Outcome, Verdict, Arm]):
    """One run, and what is loaded."""

    def __init__(
        self,
        engine: ProbingEngine,
        load: Load,
        manifest: Manifest,
        goal: Goal,
        limit: Limit,
        tell: Callable[[LocalTuneEvent], None],
        go: asyncio.Event | None,
    ) -> None:
        super().__init__(tell, go)
        self._engine, self._load, self._manifest = engine, load, manifest
        self._goal, self._limit, self._tell = goal, limit, tell
        self.usable_bytes = 0
        self._entered: Setup | None = None
        self._trials_left = 0

    async def run(self, vary_compute_type: bool, environ: Mapping[str, str], busy: float | None) -> TuneResult:
        """`busy` is the load average before."""
        arm = await self._ready(None, self._goal)
        loaded, goal = arm.loaded, self._goal
        before = await asyncio.to_thread(preflight, busy, loaded.device, loaded.device_uuid, self._engine.pid)
        self._tell(before)
        if (found_before := earlier(self._manifest, loaded, goal, self.usable_bytes, environ)) is not None:
            self._tell(found_before)
        self._trials_left = self._most_trials(arm, vary_compute_type)
        answer = await self._drive(arm, explore(arm.know), goal.most_probes, self._after_trials)
        trials = [Trial(arm.setup, arm.know.measured_rates(), answer.steps)]
        batches = two_sizes(answer.b_best, min(goal.start, answer.b_max))
        found = await self._knobs(trials, batches, loaded, vary_compute_type)
        if found.setup != arm.setup:
            arm = await self._better(arm, trials, found)
        try:
            answer = await self._settle(arm)
        except (UnavailableError, NothingFitsError) as error:  # what is known of it is an answer all the same
            answer = self._kept(arm, error)
        trials = [
            replace(trial, rates=arm.know.measured_rates()) if trial.setup == arm.setup else trial for trial in trials
        ]
        return TuneResult(
            self._goal, arm.setup, answer, arm.loaded, self._manifest, arm.rest_bytes, self.usable_bytes,
            trials[0], trials, self.probes, before,
        )  # fmt: skip

    async def _better(self, present: Arm, trials: list[Trial], found: Trial) -> Arm:
        """The faster of two: search in the one that was found. Where they are close the present one runs again first,
        so that both were measured in turn."""
        goal = replace(self._goal, start=found.best[1], most_probes=_CONFIRM_PROBES)
        try:
            if found.best[0] < _CLEARLY * trials[0].best[0]:
                await self._enter(present)
                once_more = run_again(present.know, trials[0].best[1])
                await self._drive(present, once_more, 1, later=self._after_again)
                trials[0] = replace(trials[0], rates=present.know.measured_rates())
            other = await self._ready(found.setup, goal)
            answer = await self._drive(other, explore(other.know), goal.most_probes, most_repetitions(goal))
        except (UnavailableError, NothingFitsError) as error:
            self._tell(Progress("tune", f"{found.setup} is not taken: {error.message}"))
            return present
        return other if answer.tokens_per_s >= present.know.answer().tokens_per_s else present

    async def _settle(self, arm: Arm) -> TuneAnswer:
        """Run what decides again in the configuration that won."""
        await self._enter(arm)
        return await self._drive(arm, confirm(arm.know), most_repetitions(arm.know.goal))

    def _kept(self, arm: Arm, error: PhituiError) -> TuneAnswer:
        """The answer without the repetitions. Raises NothingFitsError where even that has no row left."""
        self._tell(Progress("tune", f"{arm.setup} cannot be run again: {error.message}"))
        answer = arm.know.answer()
        return replace(answer, why=f"{answer.why}; not run again: {error.message}")

    async def _enter(self, arm: Arm) -> None:
        """Load a configuration that has been measured before, unless it is the one that is loaded."""
        if self._entered != arm.setup:
            await self._ready(arm.setup, arm.know.goal)

    async def _knobs(self, trials: list[Trial], batches: list[int], loaded: Loaded, vary_compute_type: bool) -> Trial:
        """Try the others, cheapest first; returns the fastest, which is the present one where none is worth it."""
        best = trials[0]
        for setup in setups(trials[0].setup, loaded.device):
            best = await self._try(setup, batches, trials, best)
        if vary_compute_type and not self._manifest.is_awq:  # packed weights run in one type alone
            for kind in compute_types(loaded.device, loaded.compute_types):
                if kind != best.setup.compute_type:
                    best = await self._try(best.setup._replace(compute_type=kind), batches, trials, best)
        return best

    async def _try(self, setup: Setup, batches: list[int], trials: list[Trial], best: Trial) -> Trial:
        """Measure one configuration; returns the better of it and `best`. One that cannot be loaded, or in which
        nothing fits, is no error of the tuning."""
        self._trials_left = max(self._trials_left - 1, 0)
        try:
            arm = await self._ready(setup, self._goal)
            await self._drive(arm, try_sizes(arm.know, batches), len(batches), self._after_trials)
            trial = Trial(setup, arm.know.measured_rates() if arm.know.good else {}, arm.know.steps)
        except (UnavailableError, NothingFitsError) as error:
            trial = Trial(setup, {}, None, str(error))
        trials.append(trial)
        return trial if trial.best[0] > _WORTH * best.best[0] else best

    async def _ready(self, setup: Setup | None, goal: Goal) -> Arm:
        """Load a configuration (None: as configured), warm it up, and begin to know it."""
        load, self._entered = self._load, None
        if setup is not None:
            load = msgspec.structs.replace(load, **setup._asdict())
        loaded, room = await self._engine.ready(load, goal.prompt_tokens + goal.new_tokens)
        model = memory_model(self._manifest, loaded.compute_type, loaded.workers, loaded.device)
        # The model counts the tables of positions with each batch: warming up has made them already.
        rest_bytes = max(0, room.rest_bytes - model.rotary(self._engine.positions))
        self.usable_bytes = room.usable_bytes
        # RAM that is short ends a process or is swapped, and is measured either way; VRAM may spill silently.
        goal = replace(goal, spills=loaded.device == "cuda")
        self._entered = Setup(loaded.workers, loaded.threads, loaded.compute_type)
        know = Knowledge(goal, model, rest_bytes, self._limit.of(room.usable_bytes))
        return Arm(setup or self._entered, know, loaded, rest_bytes)

    def _most_trials(self, present: Arm, vary_compute_type: bool) -> int:
        """How many other configurations are tried at most."""
        loaded = present.loaded
        kinds = compute_types(loaded.device, loaded.compute_types)
        varied = len(kinds) if vary_compute_type and not self._manifest.is_awq else 0
        return len(setups(present.setup, loaded.device)) + varied

    @property
    def _after_trials(self) -> int:
        """How many probes come at most after those that run now, while other configurations may still be better."""
        return _TRIAL_PROBES * self._trials_left + 1 + self._after_again

    @property
    def _after_again(self) -> int:
        """How many come at most once the present configuration has been run again, to compare it."""
        return _CONFIRM_PROBES + most_repetitions(self._goal)

    async def _drive(self, arm: Arm, asked: Generator[Probe, Outcome, T], most: int, later: int = 0) -> T:
        """Answer the search's probes, at most `most`. `later` is how many others come at most."""
        in_all = len(self.probes) + most + later
        return await self.drive(arm, arm.know.verdicts, asked, lambda _: in_all)

    async def measure(self, probe: Probe) -> Outcome:
        made = await self._engine.probe(probe.shape, self.usable_bytes)
        if made.kind == "cancelled":  # nobody here cancels one probe alone
            raise PhituiError("the probe was cancelled")
        self.usable_bytes = made.usable_bytes or self.usable_bytes
        return Outcome(
            kind=made.kind,
            limit_bytes=self._limit.of(self.usable_bytes),
            peak_bytes=made.peak_bytes,
            step_s=made.step_s,
            step_p95_s=made.step_p95_s,
            prefill_s=made.prefill_s,
            seconds=made.seconds,
            detail=made.detail,
            driver_bytes=made.driver_bytes,
            driver_note=made.driver_note,
        )
