"""What text-generation-inference streams from its native route, /generate_stream, as pieces of an answer.

One event is one token (`StreamResponse` in router/src/lib.rs of 1.x to 3.x); the last has `generated_text` and, where
they were asked for, `details`. Errors come as events as well, with status 200.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import msgspec
from httpx_sse import EventSource, SSEError
from msgspec.structs import replace

from phitui.engine.remote.faults import said_in
from phitui.engine.remote.pieces import Garbled, Piece
from phitui.engine.remote.transport import TooMuch
from phitui.engine.worker.stops import StopFinder

# Error types that say that the request itself is at fault.
_REFUSED = ("validation", "tool_error", "template_error")


class _Token(msgspec.Struct):
    text: str = ""
    special: bool = False


class _Details(msgspec.Struct):
    finish_reason: str | None = None
    generated_tokens: Any = None
    input_length: Any = None  # since 3.0


class _Event(msgspec.Struct):
    token: _Token | None = None
    generated_text: str | None = None
    details: _Details | None = None
    error: Any = None
    error_type: Any = None


_events = msgspec.json.Decoder(_Event)


async def generate_pieces(response: httpx.Response) -> AsyncIterator[Piece]:
    """Pieces of /generate_stream. Raises Garbled, and what httpx raises."""
    try:
        async for event in EventSource(response).aiter_sse():
            if event.data:
                yield _piece(event.data)
    except SSEError as error:
        raise Garbled(f"no stream of events but {response.headers.get('content-type', 'no content type')}") from error


def _piece(data: str) -> Piece:
    try:
        event = _events.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise Garbled(f"an event that is no token of an answer ({error})") from error
    if event.error is not None:
        return Piece(said=said_in(data.encode()) or "an error without a message", refused=event.error_type in _REFUSED)
    if event.token is None:
        raise Garbled("an event that is no token of an answer")
    ended = event.generated_text is not None or event.details is not None
    details = event.details or _Details()
    text = "" if event.token.special else event.token.text
    # A token without a text of its own (part of a character, a mark of the template) is one all the same.
    unseen = not text and not (event.token.special and ended)
    reason = (details.finish_reason or "stop") if ended else None
    return Piece(text, unseen, reason, details.input_length, details.generated_tokens, done=ended)


async def before_stops(pieces: AsyncIterator[Piece], stops: Sequence[str]) -> AsyncIterator[Piece]:
    """The pieces without the stop string that ends the answer: this route streams it as part of it. It looks for one
    only at the end of a token: where a token goes on behind it, the answer ends here. Raises what `pieces` raises."""
    finder = StopFinder(stops)
    try:
        async for piece in pieces:
            if piece.said is None:
                yield _cut(piece, finder)
            else:
                yield Piece(finder.flush())
                yield piece
            if finder.found and not piece.done:
                yield Piece(reason="stop_sequence", done=True)
                return
    except (Garbled, TooMuch, httpx.HTTPError, httpx.StreamError):
        yield Piece(finder.flush())
        raise
    yield Piece(finder.flush())


def _cut(piece: Piece, finder: StopFinder) -> Piece:
    text = finder.feed(piece.text)
    if piece.done:
        text += finder.flush()
    return replace(piece, text=text, thinking=piece.thinking or (bool(piece.text) and not text))
