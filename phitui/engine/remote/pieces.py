"""What a server streams, as pieces of an answer: the OpenAI style (server-sent events) and Ollama's (JSON lines)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
from httpx_sse import EventSource, SSEError

from phitui.engine.remote.faults import said_in

DONE = "[DONE]"


class Garbled(Exception):
    """A server sends what is not of its own wire format."""


class Piece(msgspec.Struct, frozen=True):
    """One event. `reason` is the server's own word for why the answer ended, None before; `thinking` says that tokens
    were made that are not part of the answer. Counts are for the whole answer so far, None where not said; they are as
    the server sent them, so of any type. `said` is an error, and `refused` says that the request is at fault;
    `done` is the mark that nothing more comes."""

    text: str = ""
    thinking: bool = False
    reason: str | None = None
    prompt_tokens: object = None
    completion_tokens: object = None
    total_tokens: object = None
    said: str | None = None
    refused: bool = False
    done: bool = False


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None  # llama.cpp, vLLM until 0.15
    reasoning: str | None = None  # vLLM
    thinking: str | None = None  # Ollama

    @property
    def thinks(self) -> bool:
        return bool(self.reasoning_content or self.reasoning or self.thinking)


class _Choice(msgspec.Struct):
    delta: _Message | None = None
    text: str | None = None  # of /v1/completions
    finish_reason: str | None = None

    @property
    def message(self) -> _Message:
        """TGI's completions stream the end token's own text as well."""
        return self.delta or _Message(None if self.finish_reason == "eos_token" else self.text)


class _Usage(msgspec.Struct):
    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None


class _LlamaTimings(msgspec.Struct):
    predicted_n: Any = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    timings: _LlamaTimings | None = None
    error: Any = None


class _Line(msgspec.Struct):
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    error: Any = None


_chunks = msgspec.json.Decoder(_Chunk)
_lines = msgspec.json.Decoder(_Line)


async def openai_pieces(response: httpx.Response) -> AsyncIterator[Piece]:
    """Pieces of /v1/chat/completions and /v1/completions. Raises Garbled, and what httpx raises."""
    try:
        async for event in EventSource(response).aiter_sse():
            if event.data == DONE:
                yield Piece(done=True)
                return
            if event.data:
                yield _openai_piece(event.data, event.event)
    except SSEError as error:
        raise Garbled(f"no stream of events but {response.headers.get('content-type', 'no content type')}") from error


def _openai_piece(data: str, event: str) -> Piece:
    try:
        chunk = _chunks.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise Garbled(f"an event that is no chunk of an answer ({error})") from error
    if chunk.error is not None or event == "error":
        return Piece(said=said_in(data.encode()) or "an error without a message")
    usage = chunk.usage or _Usage(completion_tokens=chunk.timings.predicted_n if chunk.timings else None)
    counts = (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)
    if not chunk.choices:
        return Piece("", False, None, *counts)
    message = chunk.choices[0].message
    # Some servers write "" for an answer that goes on.
    return Piece(message.content or "", message.thinks, chunk.choices[0].finish_reason or None, *counts)


async def ollama_pieces(response: httpx.Response) -> AsyncIterator[Piece]:
    """Pieces of Ollama's /api/chat. Raises Garbled, and what httpx raises."""
    parts: list[bytes] = []
    async for chunk in response.aiter_raw():
        first, *more = chunk.split(b"\n")
        parts.append(first)
        for after in more:
            line, parts = b"".join(parts), [after]
            if line.strip():
                yield _ollama_piece(line)
    # What stands behind the last line end is half a line: the connection was lost in it.


def _ollama_piece(line: bytes) -> Piece:
    try:
        found = _lines.decode(line.decode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError) as error:
        raise Garbled(f"a line that is no part of an answer ({error})") from error
    if found.error is not None:
        return Piece(said=said_in(line) or "an error without a message")
    message = found.message or _Message()
    reason = (found.done_reason or "stop") if found.done else None
    return Piece(
        message.content or "", message.thinks, reason, found.prompt_eval_count, found.eval_count, done=found.done
    )
