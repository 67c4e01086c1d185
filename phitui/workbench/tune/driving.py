"""Answers the probes of a search by measuring, and tells of each."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from phitui.workbench.tune.events import AProbe, AVerdict, Of, ProbeBegan, ProbeEnded

AnOutcome = TypeVar("AnOutcome")
T = TypeVar("T")


class Prober(ABC, Generic[AProbe, AnOutcome, AVerdict, Of]):
    """Every probe of a tuning so far. `tell` hears when one begins and ends; none begins while `go` is not set."""

    def __init__(
        self,
        tell: Callable[[ProbeBegan[AProbe, Of] | ProbeEnded[AVerdict, Of]], None],
        go: asyncio.Event | None,
    ) -> None:
        self.probes: list[ProbeEnded[AVerdict, Of]] = []
        self._told, self._go = tell, go

    @abstractmethod
    async def measure(self, probe: AProbe) -> AnOutcome:
        """Make one. Raises PhituiError where no other could be made either."""

    async def drive(
        self,
        of: Of,
        verdicts: list[AVerdict],
        asked: Generator[AProbe, AnOutcome, T],
        most: Callable[[AProbe], int],
    ) -> T:
        """Make all that the search asks for; returns its answer. It puts what it makes of each into `verdicts`. `most`
        says how many there are at most in all, as it is known when a probe begins."""
        try:
            probe = next(asked)
            while True:
                if self._go is not None:
                    await self._go.wait()
                self._told(ProbeBegan(of, probe, len(self.probes) + 1, most(probe)))
                outcome = await self.measure(probe)
                judged = len(verdicts)
                try:
                    probe = asked.send(outcome)
                finally:  # it has been judged, also where the search ends with it
                    for verdict in verdicts[judged:]:
                        self.probes.append(ProbeEnded(of, verdict, len(self.probes) + 1))
                        self._told(self.probes[-1])
        except StopIteration as end:
            answer: T = end.value
            return answer
