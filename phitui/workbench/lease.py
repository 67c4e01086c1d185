"""Who may use the engine, and what that would stop: one table for every door to the same act.

A lease is shared (an answer, the rows of a batch, work on the models beside them) or alone (a tuning, a change of the
model or the engine). What a lease needs is looked up in `_RULES`: some wait for those that are held, some stop them,
some are refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import NamedTuple

from phitui.core.errors import UnavailableError, UsageError


class Use(Enum):
    """What the engine is wanted for."""

    ANSWER = "answer"
    ROWS = "rows"
    MODEL_WORK = "work on models"
    TUNING = "tuning"
    SWITCH = "switch"
    PARK = "park"
    LEAVING = "leaving"


class _Waits(NamedTuple):
    """Until the other lease ends; `why` is told. With `only_alone` no sooner than the other has it alone."""

    why: str
    only_alone: bool = False


class _Stops(NamedTuple):
    """The other's holder is asked to end; `loses` says what that costs, for the question before it."""

    loses: str


class _Refused(NamedTuple):
    """`{about}` is what the other lease says of itself."""

    why: str
    fix: str


_UNTIL_TUNED = "Wait for it, or cancel it (F3, then c)."
_TUNING = "a tuning is under way"
_STOPS_ANSWER = _Stops("An answer is being made: it stops, the text so far stays.")
_STOPS_ROWS = _Stops("{about}: it stops, what is done is kept, and it can go on later (F5, then r).")

# What the first wants while the second is held. Pairs that are not here do not disturb each other.
_RULES: dict[tuple[Use, Use], _Waits | _Stops | _Refused] = {
    (Use.ANSWER, Use.TUNING): _Refused(f"{_TUNING}: {{about}}", _UNTIL_TUNED),
    (Use.ANSWER, Use.SWITCH): _Waits("another engine is being started", only_alone=True),
    (Use.ROWS, Use.TUNING): _Waits(_TUNING),
    (Use.ROWS, Use.SWITCH): _Waits("another engine is being started"),
    (Use.MODEL_WORK, Use.TUNING): _Refused(f"{_TUNING}: other work would spoil it", _UNTIL_TUNED),
    (Use.TUNING, Use.ANSWER): _STOPS_ANSWER,
    (Use.TUNING, Use.ROWS): _Refused("a batch is running on the engine", "Wait for it, or stop it: F5."),
    (Use.TUNING, Use.MODEL_WORK): _Refused("{about}, which would be measured, too", "Wait for it, or stop it: F2."),
    (Use.TUNING, Use.TUNING): _Refused("a tuning is under way already", "c cancels it."),
    (Use.TUNING, Use.SWITCH): _Refused("{about}", "Wait until that is done."),
    (Use.SWITCH, Use.ANSWER): _STOPS_ANSWER,
    (Use.SWITCH, Use.ROWS): _STOPS_ROWS,
    (Use.SWITCH, Use.TUNING): _Refused(f"{_TUNING}: the engine stays as it is", _UNTIL_TUNED),
    (Use.PARK, Use.TUNING): _Refused(f"{_TUNING}: the model cannot be parked", _UNTIL_TUNED),
    (Use.PARK, Use.SWITCH): _Refused("{about}", "Wait until that is done."),
    (Use.LEAVING, Use.ROWS): _STOPS_ROWS,
    (Use.LEAVING, Use.TUNING): _Stops("A tuning is under way: it ends without an answer."),
    (Use.LEAVING, Use.MODEL_WORK): _Stops("{about}: that ends."),
}

_MAKES_WAIT = {held for (_, held), rule in _RULES.items() if isinstance(rule, _Waits)}


class Lease:
    """The right to use the engine, from `Leases.claim` to `release`.

    `stop` has its holder end, and returns when the engine has nothing more of it; `about` says what it is, for whoever
    has to wait or is asked before it is stopped.
    """

    def __init__(self, leases: Leases, use: Use, about: str, stop: Callable[[], Awaitable[None]] | None) -> None:
        self.use, self.about, self.stop = use, about, stop
        self.alone = False
        self._leases = leases

    def release(self) -> None:
        """Give it back. Said again it changes nothing."""
        self._leases.give_back(self)

    def become(self, use: Use, about: str) -> None:
        """Go on as another use, with nobody in between."""
        self.use, self.about = use, about
        self._leases.tell()

    async def have_alone(self) -> None:
        """From here on others wait; returns when those that this use stops have ended."""
        self.alone = True
        self._leases.tell()
        await self._leases.stop_others(self)


class Leases:
    """All leases of one engine. All of it is of the event loop's thread."""

    def __init__(self) -> None:
        self._held: list[Lease] = []
        self._listeners: list[Callable[[], None]] = []

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever what may be claimed is different."""
        self._listeners.append(listener)

    def tell(self) -> None:
        """Something is different."""
        for listener in list(self._listeners):
            listener()

    def check(self, use: Use) -> None:
        """Raise UsageError with the reason where this use is refused; for an answer UnavailableError, which a script
        takes for an engine that is not there."""
        for lease in self._held:
            rule = _RULES.get((use, lease.use))
            if isinstance(rule, _Refused):
                kind = UnavailableError if use is Use.ANSWER else UsageError
                raise kind(rule.why.format(about=lease.about), rule.fix)

    def losses(self, use: Use) -> list[str]:
        """What this use would stop, a sentence each: to be asked about before."""
        rules = [(lease, _RULES.get((use, lease.use))) for lease in self._held]
        return [rule.loses.format(about=lease.about) for lease, rule in rules if isinstance(rule, _Stops)]

    def waits_for(self, use: Use) -> str:
        """Why this use has to wait; "" where it need not."""
        for lease in self._held:
            rule = _RULES.get((use, lease.use))
            if isinstance(rule, _Waits) and (lease.alone or not rule.only_alone):
                return rule.why
        return ""

    def claim(self, use: Use, about: str = "", stop: Callable[[], Awaitable[None]] | None = None) -> Lease | None:
        """A lease, or None where it has to wait: a listener hears when to try again. Raises as `check`.

        One that is to be alone is so from `Lease.have_alone` on; until then what it stops goes on.
        """
        self.check(use)
        if self.waits_for(use):
            return None
        lease = Lease(self, use, about, stop)
        self._held.append(lease)
        if use in _MAKES_WAIT:
            self.tell()
        return lease

    def give_back(self, lease: Lease) -> None:
        """See `Lease.release`."""
        if lease in self._held:
            self._held.remove(lease)
            self.tell()

    async def stop_others(self, own: Lease) -> None:
        """Have those end that `own` stops."""
        others = [lease for lease in self._held if isinstance(_RULES.get((own.use, lease.use)), _Stops)]
        await asyncio.gather(*(lease.stop() for lease in others if lease.stop is not None))
