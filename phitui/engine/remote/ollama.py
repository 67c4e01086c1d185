"""The context window of a model on Ollama, which it takes from the request: without one it has a small one of its own,
and cuts a prompt that is longer without a word."""

from __future__ import annotations

import re
from typing import Any

import httpx
import msgspec

from phitui.engine.remote.endpoint import Endpoint
from phitui.engine.remote.faults import Fault
from phitui.engine.remote.transport import post_json

# What Ollama takes where nothing else is set (docs/faq: OLLAMA_CONTEXT_LENGTH).
DEFAULT_WINDOW = 4096
_SET = re.compile(r"^\s*num_ctx\s+(\d{1,9})\s*$", re.MULTILINE)


class _Show(msgspec.Struct):
    """/api/show. `parameters` are lines of the Modelfile, `model_info` the GGUF's metadata."""

    parameters: Any = ""
    model_info: Any = None


async def ollama_window(client: httpx.AsyncClient, endpoint: Endpoint, model: str) -> int | None:
    """The tokens to ask for: as configured, as the model's own file sets it, or Ollama's default; never more than the
    model was made for. None where Ollama does not tell of the model and nothing is configured."""
    try:
        shown = await post_json(client, endpoint, "/api/show", {"model": model}, _Show)
    except Fault:
        shown = None
    wanted = endpoint.settings.context_window
    if shown is None:
        return wanted or None
    found = _SET.search(shown.parameters) if isinstance(shown.parameters, str) else None
    info = shown.model_info if isinstance(shown.model_info, dict) else {}
    lengths = [value for key, value in info.items() if key.endswith(".context_length") and type(value) is int]
    most = min((length for length in lengths if length > 0), default=None)
    window = wanted or (int(found[1]) if found else DEFAULT_WINDOW)
    return window if most is None else min(window, most)
