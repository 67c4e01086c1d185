"""What has been seen of a tuning so far: for whoever shows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from phitui.ipc.messages import Progress
from phitui.jobs.tune_events import ProbeBegan, ProbeEnded, TuneEvent, TuneResult
from phitui.jobs.tuning_model import Setup
from phitui.jobs.tuning_wish import Wish
from phitui.tuner.probes import Verdict

State = Literal["running", "done", "cancelled", "failed"]


@dataclass
class Course:
    """One tuning. `title` is the model's. `fits` has the newest fits of each configuration; `running` is the probe that
    runs now, `progress` what else is under way; `limit_bytes` is 0 while it is not known."""

    wish: Wish
    title: str
    clock: Callable[[], float] = time.monotonic
    state: State = "running"
    probes: list[tuple[Setup, Verdict]] = field(default_factory=list)
    fits: dict[Setup, ProbeEnded] = field(default_factory=dict)
    running: ProbeBegan | None = None
    progress: Progress | None = None
    limit_bytes: int = 0
    result: TuneResult | None = None
    error: str = ""

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._ended: float | None = None

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

    def end(self, state: State, result: TuneResult | None = None, error: str = "") -> None:
        """It is over."""
        self.state, self.result, self.error = state, result, error
        self.running = self.progress = None
        self._ended = self.clock()

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return (self.clock() if self._ended is None else self._ended) - self._began

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
