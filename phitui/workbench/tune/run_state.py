"""What has been seen of a tuning so far, here or on a server: for whoever shows it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Literal, TypeVar

from phitui.autotune.probes import Probe, Verdict
from phitui.autotune.server_search import ServerKnowledge, ServerProbe, ServerVerdict
from phitui.core.ipc.messages import Progress
from phitui.workbench.measure.preflight import Preflight
from phitui.workbench.tune.events import (
    AProbe,
    Arm,
    AVerdict,
    Earlier,
    Of,
    ProbeBegan,
    ProbeEnded,
    ServerTuneResult,
    TuneResult,
)
from phitui.workbench.tune.form import TuneForm
from phitui.workbench.tune.headline import headline, server_headline

State = Literal["running", "done", "cancelled", "failed"]
Result = TypeVar("Result", bound=TuneResult | ServerTuneResult)


@dataclass
class TuningRun(ABC, Generic[AProbe, AVerdict, Of, Result]):
    """One tuning. `title` is the model's; `probes` are those that are over, `running` is the one that runs now,
    `progress` what else is under way. `before` says what the machine did besides when it began, "" while it is not
    known."""

    unit: ClassVar[str]  # what the sizes of its probes count
    form: TuneForm
    title: str
    clock: Callable[[], float] = time.monotonic
    state: State = "running"
    probes: list[ProbeEnded[AVerdict, Of]] = field(default_factory=list)
    running: ProbeBegan[AProbe, Of] | None = None
    progress: Progress | None = None
    result: Result | None = None
    error: str = ""
    before: str = ""

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._ended: float | None = None

    def note(self, event: Progress | Preflight | Earlier | ProbeBegan[AProbe, Of] | ProbeEnded[AVerdict, Of]) -> None:
        """Take in what the tuning tells."""
        if isinstance(event, ProbeBegan):
            self.running, self.progress = event, None
        elif isinstance(event, ProbeEnded):
            self.probes.append(event)
            self.running = None
        elif isinstance(event, Progress):
            self.progress = event
        elif isinstance(event, Preflight):
            self.before = event.text

    def end(self, state: State, result: Result | None = None, error: str = "") -> None:
        """It is over."""
        self.state, self.result, self.error = state, result, error
        self.running = self.progress = None
        self._ended = self.clock()

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return (self.clock() if self._ended is None else self._ended) - self._began

    @property
    def left_s(self) -> float | None:
        """Seconds that the probes take that may still come, at the pace so far; None before one is over, and after the
        last."""
        if self.running is None or not self.probes:
            return None
        return (self.running.most - len(self.probes)) * self.seconds / len(self.probes)

    @property
    def latest(self) -> Of | None:
        """What is measured now, or was measured last; None before."""
        last = self.running or (self.probes[-1] if self.probes else None)
        return last.of if last is not None else None

    @property
    def size(self) -> str:
        """How large the probe is that runs, in words; "" where none does."""
        return f"{self.running.probe.size} {self.unit}" if self.running is not None else ""

    @property
    @abstractmethod
    def found(self) -> str:
        """The answer in words; "" while there is none."""


class LocalRunState(TuningRun[Probe, Verdict, Arm, TuneResult]):
    """A tuning of the engine on this machine."""

    unit = "rows"

    @property
    def found(self) -> str:
        if self.result is None:
            return ""
        return headline(self.result)


class ServerRunState(TuningRun[ServerProbe, ServerVerdict, ServerKnowledge, ServerTuneResult]):
    """A tuning of a server."""

    unit = "at once"

    @property
    def found(self) -> str:
        if self.result is None:
            return ""
        return server_headline(self.result)


RunState = LocalRunState | ServerRunState
