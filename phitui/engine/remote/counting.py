"""How many tokens a text is to a server: by its own tokenizer where it lets that be asked.

Routes: llama.cpp's server README (POST /tokenize, POST /apply-template) and vLLM's "OpenAI-compatible server",
Tokenizer API (POST /tokenize with a prompt or messages). TGI and Ollama have none that phitui
uses: there it is estimated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import httpx
import msgspec
from msgspec.structs import replace

from phitui.engine.protocol.api import Counted, Sampling, Turn
from phitui.engine.remote.endpoint import Endpoint
from phitui.engine.remote.faults import Fault
from phitui.engine.remote.kinds import Server
from phitui.engine.remote.plain_chat import prompt_of
from phitui.engine.remote.transport import post_json

# English text in today's vocabularies; code and other languages take more.
BYTES_PER_TOKEN = 4
# A token is a byte at least; beside them a chat template adds some.
_TEMPLATE_TOKENS, _TURN_TOKENS = 128, 16
# A prompt waits for its count: a server that takes longer, however it spends the time, is not waited for.
_WITHIN_S = 3.0


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
    """The tokens of a chat in the form in which the server gets it, or with no turns those of `text`. What a server
    does not say within 3 s is estimated."""
    counters = {"vllm": _by_vllm, "llama.cpp": _by_llama_cpp}
    tokens = None
    if server.kind in counters:
        tokens = await _within(_WITHIN_S, counters[server.kind](client, endpoint, server, turns, text))
    return estimate(turns, text) if tokens is None else Counted(0, tokens)


async def bounded(
    client: httpx.AsyncClient, endpoint: Endpoint, server: Server, turns: list[Turn], sampling: Sampling
) -> Sampling:
    """With no more tokens than the server's window has room for, where it tells that and counts: vLLM refuses more. A
    prompt without any room is the server's to refuse."""
    window, most = server.context_window, sampling.max_tokens
    size = sum(len(turn.content.encode("utf-8", "replace")) + _TURN_TOKENS for turn in turns)
    if window is None or size + _TEMPLATE_TOKENS + most <= window:
        return sampling
    counted = await count_tokens(client, endpoint, server, turns, "")
    room = window - counted.tokens
    return replace(sampling, max_tokens=room) if counted.exact and 0 < room < most else sampling


async def _within(seconds: float, asked: Coroutine[Any, Any, int | None]) -> int | None:
    """None where it fails or takes longer. Not `wait_for`, which before Python 3.12 may keep a cancellation."""
    task = asyncio.create_task(asked)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        return task.result() if done else None
    except Fault:
        return None
    finally:
        task.cancel()


async def _by_vllm(
    client: httpx.AsyncClient, endpoint: Endpoint, server: Server, turns: list[Turn], text: str
) -> int | None:
    body: dict[str, Any] = {"model": server.model}
    if turns and server.route == "chat":
        body["messages"] = _messages(turns)
    else:
        body |= {"prompt": prompt_of(server.model, turns) if turns else text, "add_special_tokens": bool(turns)}
    counted = await post_json(client, endpoint, "/tokenize", body, _Count)
    return _sane(counted.count, turns, text) if counted else None


async def _by_llama_cpp(
    client: httpx.AsyncClient, endpoint: Endpoint, server: Server, turns: list[Turn], text: str
) -> int | None:
    if turns and server.route != "chat":
        text = prompt_of(server.model, turns)
    elif turns:
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
