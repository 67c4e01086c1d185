"""What a tuning tells while it works, and what it gives back: of the engine on this machine, or of a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from phitui.autotune.answer import Knowledge, TuneAnswer
from phitui.autotune.probes import Goal, Probe, Verdict
from phitui.autotune.server_search import ServerGoal, ServerKnowledge, ServerProbe, ServerTuneAnswer, ServerVerdict
from phitui.autotune.steptime import StepTime
from phitui.core.ipc.messages import Progress
from phitui.engine.protocol.api import Loaded, Remote
from phitui.models.manifest import Manifest
from phitui.workbench.measure.preflight import Preflight
from phitui.workbench.tune.setups import Setup


class Arm(NamedTuple):
    """A configuration of the engine on this machine, what is known of it, and what was loaded."""

    setup: Setup
    know: Knowledge
    loaded: Loaded
    rest_bytes: int


AProbe = TypeVar("AProbe", bound=Probe | ServerProbe)
AVerdict = TypeVar("AVerdict", bound=Verdict | ServerVerdict)
Of = TypeVar("Of", bound=Arm | ServerKnowledge)


@dataclass(frozen=True)
class ProbeBegan(Generic[AProbe, Of]):
    """A probe begins, the `number`-th of `most` or fewer in all. `of` is what is measured, with all that is known of it
    now."""

    of: Of
    probe: AProbe
    number: int
    most: int


@dataclass(frozen=True)
class ProbeEnded(Generic[AVerdict, Of]):
    """How it went; `of` knows it by now."""

    of: Of
    verdict: AVerdict
    number: int


class Earlier(NamedTuple):
    """What an earlier tuning found and whether it still holds, in a line; "" where there is none, but something is
    wrong with the file that they are kept in."""

    found: str
    problem: str


LocalBegan = ProbeBegan[Probe, Arm]
LocalEnded = ProbeEnded[Verdict, Arm]
ServerBegan = ProbeBegan[ServerProbe, ServerKnowledge]
ServerEnded = ProbeEnded[ServerVerdict, ServerKnowledge]
LocalTuneEvent = Progress | Preflight | Earlier | LocalBegan | LocalEnded
ServerTuneEvent = Earlier | ServerBegan | ServerEnded
TuneEvent = LocalTuneEvent | ServerTuneEvent


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
    probes: list[LocalEnded]
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


@dataclass(frozen=True)
class ServerTuneResult:
    """The answer, for which server, and what it has to be read with."""

    goal: ServerGoal
    answer: ServerTuneAnswer
    remote: Remote
    notes: list[str]
