"""Fields of a request that a strict server refuses, and the request without them. Pure.

Many servers pass over what they do not know, others answer 400 or 422 with the field's name. What an answer can be had
without is left out from then on; a value that a server refuses ("must be below 1") is not: that is the user's to hear.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from phitui.engine.protocol.api import Turn
from phitui.engine.remote.faults import Fault
from phitui.engine.remote.kinds import Server

_INNER = ("options", "parameters")
# What the request is made of: without it there is none.
_NEEDED = ("model", "messages", "prompt", "inputs", "stream", *_INNER)
# OpenAI's newer name, which its reasoning models take alone.
_RENAMED = {"max_tokens": "max_completion_tokens"}
SYSTEM = "system"
# What chat templates raise that know no such role (Gemma's, Mistral's), and what others say.
_NO_SYSTEM = re.compile(
    r"system (role|message|prompt|instruction)s?\b.{0,40}\bnot (supported|allowed|enabled)|roles must alternate|"
    r"developer instruction is not enabled|(unsupported|unknown|invalid) role\W+system",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(
    r"unknown|unrecogni[sz]ed|not recogni[sz]ed|unsupported|not supported|not support|not permitted|not allowed|"
    r"forbidden|extra (input|field|param)|unexpected|additional propert|not implemented|not available|deprecated|"
    r"no such|only the default|cannot be (set|used|specified)|invalid (field|parameter|argument|property)",
    re.IGNORECASE,
)


def fields_of(body: dict[str, Any]) -> tuple[str, ...]:
    """The fields of a request that it may do without, those within its options, too, and the system prompt's role."""
    inner = [name for group in _INNER if isinstance(body.get(group), dict) for name in body[group]]
    roles = [turn["role"] for turn in body.get("messages", ()) if turn["role"] == SYSTEM]
    return tuple(name for name in (*body, *inner, *roles) if name not in _NEEDED)


def without_system(turns: list[Turn]) -> list[Turn]:
    """The chat with its system prompt before the user's first words."""
    if len(turns) < 2 or turns[0].role != SYSTEM:
        return turns
    first = Turn(turns[1].role, f"{turns[0].content}\n\n{turns[1].content}")
    return [first, *turns[2:]]


def without_fields(body: dict[str, Any], left_out: tuple[str, ...]) -> dict[str, Any]:
    """The request without those fields; under their newer name where they have one."""
    if not left_out:
        return body
    made = {name: value for name, value in body.items() if name not in left_out}
    made |= {new: body[old] for old, new in _RENAMED.items() if old in left_out and old in body}
    for group in _INNER:
        if isinstance(made.get(group), dict):
            made[group] = {name: value for name, value in made[group].items() if name not in left_out}
    return made


def without_refused(server: Server, fields: tuple[str, ...], fault: Fault) -> Server | None:
    """The server, to be asked without the fields that `fault` says it does not know; None where it says no such."""
    said = fault.error.message
    if SYSTEM in fields and SYSTEM not in server.left_out and _NO_SYSTEM.search(said):
        can = [*server.can, "sent the system prompt before the user's first words, since it refuses its role"]
        return dataclasses.replace(server, left_out=(*server.left_out, SYSTEM), can=can)
    if not _UNKNOWN.search(said) or fault.status in (401, 403, 404):
        return None
    named = [name for name in fields if name not in server.left_out and re.search(rf"\b{re.escape(name)}\b", said)]
    named = [name for name in named if name not in _RENAMED or _RENAMED[name] in said]
    if not named:
        return None
    can = [*server.can, f"not sent {', '.join(named)}, which it refuses"]
    return dataclasses.replace(server, left_out=(*server.left_out, *named), can=can)
