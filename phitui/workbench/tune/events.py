"""What the tuner tells while it works, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field

from phitui.autotune.answer import TuneAnswer
from phitui.autotune.memory import FittedMemory
from phitui.autotune.probes import Goal, Probe, Verdict
from phitui.autotune.steptime import StepTime
from phitui.core.ipc.messages import Progress
from phitui.engine.protocol.api import Loaded
from phitui.models.manifest import Manifest
from phitui.storage.tunings import Tuning
from phitui.workbench.measure.preflight import Preflight
from phitui.workbench.tune.setups import Setup


@dataclass(frozen=True)
class ProbeBegan:
    """A probe begins, the `number`-th of `most` or fewer in all (0: not told)."""

    setup: Setup
    probe: Probe
    number: int
    limit_bytes: int
    most: int = 0


@dataclass(frozen=True)
class ProbeEnded:
    """How it went, and the fits with it. `steps` is None while nothing has run."""

    setup: Setup
    verdict: Verdict
    number: int
    memory: FittedMemory
    steps: StepTime | None
    limit_bytes: int


@dataclass(frozen=True)
class Earlier:
    """What an earlier tuning found, and why it does not hold any more ("" where it does); or, without one, what is
    wrong with the file that they are kept in."""

    tuning: Tuning | None
    problem: str


TuneEvent = Progress | Preflight | ProbeBegan | ProbeEnded | Earlier


@dataclass(frozen=True)
class Trial:
    """One configuration that was measured: output tokens/s of the goal's work by batch size."""

    setup: Setup
    rates: dict[int, float]
    steps: StepTime | None
    problem: str = ""

    @property
    def best(self) -> tuple[float, int]:
        """The best throughput, and the batch that has it; (0, 0) where nothing ran."""
        return max(((rate, batch) for batch, rate in self.rates.items()), default=(0.0, 0))


@dataclass(frozen=True)
class TuneResult:
    """The answer, the configuration that it holds for, and all that was tried. `probes` has every probe of all
    configurations; `present` is the configuration at the beginning, with its trial; `before` is what else went on then,
    None where nobody looked."""

    goal: Goal
    setup: Setup
    answer: TuneAnswer
    loaded: Loaded
    manifest: Manifest
    rest_bytes: int
    usable_bytes: int
    present: Trial
    trials: list[Trial]
    probes: list[tuple[Setup, Verdict]] = field(default_factory=list)
    before: Preflight | None = None

    def faster(self, trial: Trial) -> tuple[int, int] | None:
        """From which batch to which, up to B_max, a trial's decode steps are shorter than the present configuration's,
        by the fits of both. (0, 0) for nowhere, None where one of them was not measured at two sizes."""
        if min(len(trial.rates), len(self.present.rates)) < 2 or trial.steps is None or self.present.steps is None:
            return None
        cached = self.goal.prompt_tokens + self.goal.new_tokens / 2
        sizes = [
            size
            for size in range(1, self.answer.b_max + 1)
            if trial.steps.step_s(size, cached) < self.present.steps.step_s(size, cached)
        ]
        return (sizes[0], sizes[-1]) if sizes else (0, 0)
