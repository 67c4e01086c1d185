"""The models that a server lists, in every form of such a list, and which of them chat. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

# Names of models that make vectors, scores, speech or pictures.
_NO_CHAT = re.compile(
    r"embed|rerank|\b(bge|gte|e5|minilm|mxbai|clip|whisper|tts|dall-e|sdxl|flux|moderation|wav2vec)\b|"
    r"stable-diffusion|text-moderation|all-mpnet|colbert|speech|transcri",
    re.IGNORECASE,
)
_CHATS = ("chat", "llm", "vlm", "language", "text-generation", "completion", "generate", "text")


@dataclass(frozen=True)
class Model:
    """`max_model_len` is vLLM's, as it was sent. `chats`: whether nothing says that it is of another kind."""

    id: str
    owned_by: str = ""
    max_model_len: object = None
    chats: bool = True


def listed(found: object) -> list[Model]:
    """The models in a decoded answer to /v1/models: under `data`, under `models`, or the answer itself."""
    entries: object = found
    if isinstance(found, dict):
        entries = found.get("data") or found.get("models") or []
    models = [_model(entry) for entry in entries] if isinstance(entries, list) else []
    return [model for model in models if model is not None]


def _model(entry: object) -> Model | None:
    if isinstance(entry, str):
        entry = {"id": entry}
    if not isinstance(entry, dict):
        return None
    name = next((value for key in ("id", "name", "model") if isinstance(value := entry.get(key), str) and value), None)
    if name is None:
        return None
    owner = entry.get("owned_by")
    return Model(name, owner if isinstance(owner, str) else "", entry.get("max_model_len"), _chats(name, entry))


def _chats(name: str, entry: dict[str, Any]) -> bool:
    """By what the list says of it (LM Studio, Together, Mistral, OpenRouter), else by its name."""
    capabilities = entry.get("capabilities")
    if isinstance(capabilities, dict) and isinstance(capabilities.get("completion_chat"), bool):
        return bool(capabilities["completion_chat"])
    if isinstance(capabilities, list) and capabilities:
        return any(isinstance(one, str) and one in _CHATS for one in capabilities)
    for key in ("type", "task", "pipeline_tag", "model_type"):
        kind = entry.get(key)
        if isinstance(kind, str) and kind and kind not in ("model", "object"):
            return not _NO_CHAT.search(kind) and kind not in ("image", "audio", "video")
    return not _NO_CHAT.search(name)
