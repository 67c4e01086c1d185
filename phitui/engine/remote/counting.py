"""How many tokens a text is to a server: by its own tokenizer where it lets that be asked.

Routes: llama.cpp's server README (POST /tokenize, POST /apply-template) and vLLM's "OpenAI-compatible server",
Tokenizer API (POST /tokenize with a prompt or messages). TGI and Ollama have none that phitui
uses: there it is estimated.
"""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from phitui.engine.api import Counted, Turn
from phitui.engine.remote.endpoint import Endpoint
from phitui.engine.remote.faults import Fault
from phitui.engine.remote.kinds import Server
from phitui.engine.remote.transport import post_json

# English text in today's vocabularies; code and other languages take more.
BYTES_PER_TOKEN = 4


class _Tokens(msgspec.Struct):
    tokens: list[Any]


class _Count(msgspec.Struct):
    count: int


class _Prompt(msgspec.Struct):
    prompt: str


def estimate(turns: list[Turn], text: str) -> Counted:
    """A quarter of the bytes."""
    size = sum(len(turn.content.encode("utf-8", "replace")) for turn in turns) or len(text.encode("utf-8", "replace"))
    return Counted(0, -(-size // BYTES_PER_TOKEN), exact=False)


async def count_tokens(
    client: httpx.AsyncClient, endpoint: Endpoint, server: Server, turns: list[Turn], text: str
) -> Counted:
    """The tokens of a chat, or with no turns those of `text`. What a server does not say is estimated."""
    try:
        if server.kind == "vllm":
            tokens = await _by_vllm(client, endpoint, server.model, turns, text)
        elif server.kind == "llama.cpp":
            tokens = await _by_llama_cpp(client, endpoint, turns, text)
        else:
            tokens = None
    except Fault:
        tokens = None
    return estimate(turns, text) if tokens is None else Counted(0, tokens)


async def _by_vllm(
    client: httpx.AsyncClient, endpoint: Endpoint, model: str, turns: list[Turn], text: str
) -> int | None:
    body: dict[str, Any] = {"model": model}
    body |= {"messages": _messages(turns)} if turns else {"prompt": text, "add_special_tokens": False}
    counted = await post_json(client, endpoint, "/tokenize", body, _Count)
    return _sane(counted.count, turns, text) if counted else None


async def _by_llama_cpp(client: httpx.AsyncClient, endpoint: Endpoint, turns: list[Turn], text: str) -> int | None:
    if turns:
        made = await post_json(client, endpoint, "/apply-template", {"messages": _messages(turns)}, _Prompt)
        if made is None:
            return None
        text = made.prompt
    body = {"content": text, "add_special": bool(turns), "parse_special": bool(turns)}
    counted = await post_json(client, endpoint, "/tokenize", body, _Tokens)
    return len(counted.tokens) if counted else None


def _messages(turns: list[Turn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def _sane(tokens: int, turns: list[Turn], text: str) -> int | None:
    """A count that cannot be true is none."""
    return tokens if tokens > 0 or not (turns or text) else None
