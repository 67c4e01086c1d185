"""What a request may ask for beyond its sampling, and what a kind of server cannot be asked for."""

from __future__ import annotations

from typing import Any, NamedTuple

from phitui.engine.api import Sampling

# Fields of Sampling that a kind's route has no place for.
_LACKS: dict[str, tuple[str, ...]] = {
    "tgi": ("top_k", "repetition_penalty"),
    "other": ("top_k", "repetition_penalty"),
}
# Those that can be made to go on behind the end token, which makes the lengths of a measurement equal.
_EXACT = ("vllm", "llama.cpp")


class Demands(NamedTuple):
    """`exact`: make `max_tokens` tokens, whatever the model would do. `seed`: draw with this one."""

    exact: bool = False
    seed: int | None = None


def can_force_length(kind: str) -> bool:
    """Whether `Demands.exact` does something."""
    return kind in _EXACT


def demanded(kind: str, demands: Demands, body: dict[str, Any]) -> dict[str, Any]:
    """The request's body with what is demanded, as this kind of server calls it."""
    more: dict[str, Any] = {}
    if demands.exact and kind in _EXACT:
        more["ignore_eos"] = True
    if demands.seed is not None and kind != "ollama":
        more["seed"] = demands.seed
    elif demands.seed is not None:
        more["options"] = {**body["options"], "seed": demands.seed}
    return body | more


def lacks(kind: str) -> list[str]:
    """The fields of `Sampling` that this kind of server cannot be sent."""
    return list(_LACKS.get(kind, ()))


def unsent(kind: str, sampling: Sampling) -> list[str]:
    """Those of them that would change this answer."""
    asked = {
        "top_k": sampling.top_k > 0 and sampling.temperature > 0,
        "repetition_penalty": sampling.repetition_penalty != 1.0,
    }
    return [name for name in lacks(kind) if asked[name]]
