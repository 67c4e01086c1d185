"""What has been seen of a tuning so far, here or on a server: for whoever shows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from phitui.autotune.probes import Verdict
from phitui.autotune.server_search import ServerFit, ServerVerdict
from phitui.core.ipc.messages import Progress
from phitui.workbench.measure.preflight import Preflight
from phitui.workbench.tune.events import ProbeBegan, ProbeEnded, TuneEvent, TuneResult
from phitui.workbench.tune.form import ServerTuneForm, TuneForm
from phitui.workbench.tune.server import ServerProbeBegan, ServerProbeEnded, ServerTuneEvent, ServerTuneResult
from phitui.workbench.tune.setups import Setup

State = Literal["running", "done", "cancelled", "failed"]

AForm = TypeVar("AForm")
Probed = TypeVar("Probed")
Began = TypeVar("Began", ProbeBegan, ServerProbeBegan)
Result = TypeVar("Result")


@dataclass
class _RunState(Generic[AForm, Probed, Began, Result]):
    """One tuning. `title` is the model's; `probes` are those that are over, `running` is the one that runs now,
    `progress` what else is under way. `before` says what the machine did besides when it began, "" while it is not
    known."""

    form: AForm
    title: str
    clock: Callable[[], float] = time.monotonic
    state: State = "running"
    probes: list[Probed] = field(default_factory=list)
    running: Began | None = None
    progress: Progress | None = None
    result: Result | None = None
    error: str = ""
    before: str = ""

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._ended: float | None = None

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
    def size(self) -> str:
        """How large the probe is that runs, in words; "" where none does."""
        raise NotImplementedError

    @property
    def found(self) -> str:
        """The answer in words; "" while there is none."""
        raise NotImplementedError


@dataclass
class LocalRunState(_RunState[TuneForm, tuple[Setup, Verdict], ProbeBegan, TuneResult]):
    """A tuning of the engine on this machine. `fits` has the newest fits of each configuration; `limit_bytes` is 0
    while it is not known."""

    fits: dict[Setup, ProbeEnded] = field(default_factory=dict)
    limit_bytes: int = 0

    def note(self, event: TuneEvent) -> None:
        """Take in what the tuning tells."""
        if isinstance(event, ProbeBegan):
            self.running, self.progress, self.limit_bytes = event, None, event.limit_bytes
        elif isinstance(event, ProbeEnded):
            self.probes.append((event.setup, event.verdict))
            self.fits[event.setup] = event
            self.running, self.limit_bytes = None, event.limit_bytes
        elif isinstance(event, Progress):
            self.progress = event
        elif isinstance(event, Preflight):
            self.before = event.text

    @property
    def size(self) -> str:
        return f"{self.running.probe.shape.batch} rows" if self.running is not None else ""

    @property
    def found(self) -> str:
        if self.result is None:
            return ""
        answer = self.result.answer
        return (
            f"{answer.b_best} rows bring {answer.tokens_per_s:.0f} output tok/s with {self.result.setup}; "
            f"{answer.b_max} rows fit"
        )

    @property
    def setup(self) -> Setup | None:
        """The configuration that is looked at: the answer's, else the one that is measured."""
        if self.result is not None:
            return self.result.setup
        if self.running is not None:
            return self.running.setup
        return self.probes[-1][0] if self.probes else None

    @property
    def fit(self) -> ProbeEnded | None:
        """The fits of that configuration, None while nothing of it is measured."""
        return self.fits.get(self.setup) if self.setup is not None else None


@dataclass
class ServerRunState(_RunState[ServerTuneForm, ServerVerdict, ServerProbeBegan, ServerTuneResult]):
    """A tuning of a server. `fit` and `knee` are those after the newest probe."""

    fit: ServerFit | None = None
    knee: int | None = None

    def note(self, event: ServerTuneEvent) -> None:
        """Take in what the tuning tells."""
        if isinstance(event, ServerProbeBegan):
            self.running = event
        elif isinstance(event, ServerProbeEnded):
            self.probes.append(event.verdict)
            self.running, self.fit, self.knee = None, event.fit, event.knee

    @property
    def size(self) -> str:
        return f"{self.running.probe.concurrency} at once" if self.running is not None else ""

    @property
    def found(self) -> str:
        if self.result is None:
            return ""
        answer = self.result.answer
        return (
            f"{answer.tokens_per_s:.0f} output tok/s from {self.result.remote.name} with {answer.c_best} at once (C*); "
            f"C_max is {answer.c_max}"
        )


RunState = LocalRunState | ServerRunState
