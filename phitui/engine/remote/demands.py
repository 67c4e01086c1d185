"""What a request may ask for beyond its sampling, and what a kind of server cannot be asked for."""

from __future__ import annotations

from typing import Any

from phitui.engine.protocol.api import Sampling
from phitui.engine.protocol.capabilities import REMOTE_PARAMETERS

# Those that can be made to go on behind the end token, which makes the lengths of a measurement equal.
_EXACT = ("vllm", "llama.cpp")


def can_force_length(kind: str) -> bool:
    """Whether this kind of server can be made to make exactly `max_tokens` tokens."""
    return kind in _EXACT


def forced_length(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """The request's body so that `max_tokens` tokens are made, whatever the model would do, where the server can."""
    if not can_force_length(kind):
        return body
    return {name: value for name, value in body.items() if name != "stop"} | {"ignore_eos": True}


def unsent(kind: str, sampling: Sampling) -> list[str]:
    """The fields of `Sampling` that this kind of server cannot be sent and that would change this answer."""
    asked = {
        "top_k": sampling.top_k > 0 and sampling.temperature > 0,
        "repetition_penalty": sampling.repetition_penalty != 1.0,
    }
    return [name for name, changes in asked.items() if changes and name not in REMOTE_PARAMETERS[kind]]
