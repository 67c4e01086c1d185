"""What a kept session is made of. Times of day are seconds since 1970 (UTC), token counts and milliseconds as in
docs/METRICS.md; None is what is not known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

TurnState = Literal["queued", "prefill", "answering", "done", "refused", "lost", "broken"]
TurnReason = Literal["", "stop", "length", "cancelled", "content_filter", "refusal", "tool_calls"]
# In these nothing more comes. A turn that is in another one, and that nobody is answering, was cut off.
OVER = ("done", "refused", "lost", "broken")

_Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
_Millis = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
TITLE_CHARS = 80


class KeptTurn(msgspec.Struct, forbid_unknown_fields=True):
    """A prompt with its answer. Turns make a tree: `parent` is the turn before, None at the beginning of a chat; turns
    with one parent are siblings, different ways in which the chat went on. In what is given to `SessionStore.save` an
    `id` below 0 stands for a turn that has none yet. `error` says why there is no answer, or not all of one; `thinking`
    is what the model thought before it."""

    id: int
    prompt: str
    parent: int | None = None
    text: str = ""
    state: TurnState = "done"
    reason: TurnReason = ""
    error: str = ""
    model: str = ""
    created: Annotated[float, msgspec.Meta(ge=0, le=1e11)] = 0.0
    tokens: _Count | None = 0
    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    ttft_ms: _Millis | None = None
    tpot_ms: _Millis | None = None
    total_ms: _Millis | None = None
    tokens_per_s: _Millis | None = None
    thinking: str = ""


class SessionRow(NamedTuple):
    """A session in a list. `model` is that of its newest turn, `leaf` the turn at which the chat stood last,
    `parameters` those in which the chat differs from config.toml (`encoded`)."""

    id: int
    title: str
    system: str
    created: float
    changed: float
    leaf: int | None
    turns: int
    model: str
    parameters: str = ""

    def own(self) -> dict[str, Any]:
        """Its parameters by name, unchecked; {} where they are no JSON object."""
        try:
            found = msgspec.json.decode(self.parameters) if self.parameters else {}
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


class Session(NamedTuple):
    """A whole session. Its turns are in the order in which they were made: parents before children."""

    row: SessionRow
    turns: list[KeptTurn]

    def path(self) -> list[KeptTurn]:
        """The turns from the beginning to where the chat stood last."""
        known = {turn.id: turn for turn in self.turns}
        at = known.get(self.row.leaf) if self.row.leaf is not None else None
        at = at or (self.turns[-1] if self.turns else None)
        path: list[KeptTurn] = []
        while at is not None:
            path.append(at)
            at = known.get(at.parent) if at.parent is not None else None
        return path[::-1]


class Hit(NamedTuple):
    """A turn in which what was searched for stands."""

    session: int
    turn: int


def encoded(own: Mapping[str, Any]) -> str:
    """Parameters by name as they are kept."""
    return msgspec.json.encode(dict(own)).decode() if own else ""


def title_of(prompt: str) -> str:
    """A session's first title: the beginning of its first prompt, on one line."""
    line = " ".join(prompt[: 4 * TITLE_CHARS].split())
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1].rstrip() + "…"
