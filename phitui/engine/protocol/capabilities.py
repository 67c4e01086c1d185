"""Which parameters an engine honours: what one does not is neither offered nor sent.

CTranslate2 has one seed for the whole process, read once by each of its threads: none for a request. What a server
takes is as in engine/remote/dialects.py; servers of a kind that is not known get what every one of this style knows.
"""

from __future__ import annotations

from phitui.engine.protocol.api import Loaded

# In the order in which they are shown. The names are those of [generation] in config.toml.
PARAMETERS = ("temperature", "top_k", "top_p", "repetition_penalty", "max_tokens", "stop", "seed")
_EVERY = ("temperature", "top_p", "max_tokens", "stop")
LOCAL_PARAMETERS = tuple(name for name in PARAMETERS if name != "seed")
# By kind of server, and its route where it is another than chat (`Server.form` in engine/remote/kinds.py).
REMOTE_PARAMETERS = {
    "vllm": PARAMETERS,
    "llama.cpp": PARAMETERS,
    "ollama": PARAMETERS,
    "tgi": (*_EVERY, "seed"),
    "tgi generate": PARAMETERS,
    "other": _EVERY,
    "vllm completions": PARAMETERS,
    "llama.cpp completions": PARAMETERS,
    "tgi completions": (*_EVERY, "repetition_penalty", "seed"),
    "other completions": _EVERY,
}
# The names of parameters for fields of a server's request that are called otherwise.
PARAMETER_OF = {"repeat_penalty": "repetition_penalty", "num_predict": "max_tokens", "max_new_tokens": "max_tokens"}


def supported_parameters(loaded: Loaded | None) -> tuple[str, ...]:
    """What the engine honours, in the order of `PARAMETERS`; while none is loaded, what the local one does."""
    if loaded is None or loaded.remote is None:
        return LOCAL_PARAMETERS
    return tuple(name for name in PARAMETERS if name in (loaded.remote.supported_parameters or _EVERY))
