"""What text-generation-inference streams from its native route, /generate_stream, as pieces of an answer.

One event is one token (`StreamResponse` in router/src/lib.rs of 1.x to 3.x); the last has `generated_text` and, where
they were asked for, `details`. Errors come as events as well, with status 200.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
from msgspec.structs import replace

from phitui.engine.remote.pieces import Piece, read_pieces
from phitui.engine.remote.wire import Garbled, TooMuch, WireEvent
from phitui.engine.worker.stops import StopFinder


def tgi_pieces(response: httpx.Response) -> AsyncIterator[Piece]:
    """Pieces of /generate_stream, as `read_pieces`."""
    return read_pieces(response, tgi_piece)


def tgi_piece(found: dict[str, Any], event: WireEvent) -> Piece:
    """What one token's event says, or the whole answer in the place of tokens. Raises Garbled."""
    token, whole, details = found.get("token"), found.get("generated_text"), found.get("details")
    ended = whole is not None or details is not None
    if not isinstance(token, dict):
        if not isinstance(whole, str):
            raise Garbled("an event that is not a token of an answer")
        token = {"text": whole}  # the whole answer where a stream was asked for
    details = details if isinstance(details, dict) else {}
    if not isinstance(token.get("text", ""), str):
        raise Garbled("an event that is not a token of an answer")
    special = token.get("special") is True
    text = "" if special else token.get("text", "")
    # A token without a text of its own (part of a character, a mark of the template) is one all the same.
    unseen = not text and not (special and ended)
    said = details.get("finish_reason")
    reason = (said if isinstance(said, str) and said else "stop") if ended else None
    counts = (details.get("input_length"), details.get("generated_tokens"))  # the one since 3.0
    return Piece(text, "", reason, *counts, done=ended, unseen=unseen, whole=event.whole)


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
    return replace(piece, text=text, unseen=piece.unseen or (bool(piece.text) and not text))
