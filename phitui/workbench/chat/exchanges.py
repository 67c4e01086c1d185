"""Prompts with their answers, as a tree: each knows the one before it, and several may follow one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from phitui.engine.protocol.api import FinishReason, Sampling, Timings, Usage

# Tokens come several at once: over less time their rate jumps.
_RATE_S = 0.5


class State(Enum):
    """Where an exchange stands."""

    QUEUED = "queued"
    PREFILL = "prefill"
    ANSWERING = "answering"
    DONE = "done"
    REFUSED = "refused"
    LOST = "lost"
    BROKEN = "broken"  # a remote engine failed

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self in (State.DONE, State.REFUSED, State.LOST, State.BROKEN)


@dataclass(eq=False, slots=True)
class Exchange:
    """A prompt and what became of it. `text` is the model's, untrusted, as is the `thinking` that came before it and is
    no part of the chat; `error` says why there is no answer, or not all of one; `tokens` of the answer so far, None
    where a remote engine does not count on the way; `model` is the name of the one that answered.

    Exchanges with one `parent` are siblings: other answers to a prompt, or other prompts in its place. `chosen` is the
    child that was shown last. `sampling` and `system` are what the answer is asked for with. `counted` is the number of
    the model load that has counted its tokens (`Chat`). `kept` is the id that it is kept with and `keeper` whoever
    keeps it. `first` and `latest` are when tokens came, by a clock that only goes forward, and how many there were by
    then.
    """

    number: int
    prompt: str
    state: State = State.QUEUED
    text: str = ""
    thinking: str = ""
    prompt_tokens: int | None = None
    tokens: int | None = 0
    reason: FinishReason | None = None
    usage: Usage | None = None
    timings: Timings | None = None
    error: str = ""
    model: str = ""
    created: float = field(default_factory=time.time)
    counted: int = -1
    parent: Exchange | None = field(default=None, repr=False)
    children: list[Exchange] = field(default_factory=list, repr=False)
    chosen: Exchange | None = field(default=None, repr=False)
    sampling: Sampling | None = None
    system: str = ""
    kept: int | None = None
    keeper: object = field(default=None, repr=False)
    thinking_tokens: int | None = None  # of `tokens`, where it is known
    first: tuple[float, int] | None = None
    latest: tuple[float, int] | None = None

    def note_tokens(self, now: float) -> None:
        """`tokens` is what it is since `now`."""
        if self.tokens:
            self.latest = (now, self.tokens)
            self.first = self.first or self.latest

    @property
    def decode_tokens_per_s(self) -> float | None:
        """Of the answer so far, from its first token to its latest; None where too little has come to tell."""
        if self.first is None or self.latest is None or self.latest[0] - self.first[0] < _RATE_S:
            return None
        return (self.latest[1] - self.first[1]) / (self.latest[0] - self.first[0])


def path_to(exchange: Exchange | None) -> list[Exchange]:
    """From the beginning of the chat to `exchange`."""
    path = []
    while exchange is not None:
        path.append(exchange)
        exchange = exchange.parent
    return path[::-1]


def path_through(exchange: Exchange) -> list[Exchange]:
    """From the beginning of the chat through `exchange` on to where it was left: below it the children shown last."""
    at = exchange
    while at.children:
        at = at.chosen or at.children[-1]
    return path_to(at)


def everything(roots: list[Exchange]) -> Iterator[Exchange]:
    """All exchanges of a tree, parents before children."""
    waiting = list(reversed(roots))
    while waiting:
        exchange = waiting.pop()
        yield exchange
        waiting.extend(reversed(exchange.children))
