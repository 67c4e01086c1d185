"""What a server streams, as pieces of an answer: the OpenAI style and Ollama's, in every form in which they are met.

Nothing is relied upon to be there or of its type: content may be a list of parts; `choices` and `delta` missing, empty
or null; a whole answer, or an error, may stand where a stream was asked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import msgspec

from phitui.engine.remote.contents import call_in, content_of, text_of
from phitui.engine.remote.said import error_in, is_final, said_in, words_of
from phitui.engine.remote.wire import Garbled, WireEvent, wire_events

DONE = "[DONE]"


class Piece(msgspec.Struct, frozen=True):
    """One event. `thinking` is text that is no part of the answer; `unseen` says that tokens were made that have no
    text; `refusal` that the text is the model's refusal; `call` is more of a tool call. `reason` is the server's own
    word for why the answer ended, None before. Counts are for the whole answer so far, None where not said; they are as
    the server sent them, so of any type.

    `said` is an error: `refused` says that the request is at fault, `final` that a second try cannot help. `done` is
    the mark that nothing more comes, `whole` that the answer came in one piece where a stream was asked for."""

    text: str = ""
    thinking: str = ""
    reason: str | None = None
    prompt_tokens: object = None
    completion_tokens: object = None
    total_tokens: object = None
    thinking_tokens: object = None
    said: str | None = None
    refused: bool = False
    final: bool = False
    done: bool = False
    whole: bool = False
    unseen: bool = False
    refusal: bool = False
    call: str = ""


# What an event's JSON object says.
Form = Callable[[dict[str, Any], WireEvent], Piece]


async def read_pieces(response: httpx.Response, form: Form) -> AsyncIterator[Piece]:
    """The pieces of an answer, whose events `form` understands. Raises Garbled, and what httpx raises."""
    async for event in wire_events(response):
        piece = read_piece(event, form)
        if piece is not None:
            yield piece
            if piece.done:
                return


def read_piece(event: WireEvent, form: Form) -> Piece | None:
    """None for an event that says nothing. Raises Garbled."""
    if event.data.strip() == DONE:
        return Piece(done=True)
    found = decoded_event(event)
    if found is None:
        return None
    return error_piece(found) if error_in(found, event.name) else form(found, event)


def openai_pieces(response: httpx.Response) -> AsyncIterator[Piece]:
    """Pieces of /v1/chat/completions and /v1/completions, as `read_pieces`."""
    return read_pieces(response, OpenAIChunks().piece)


def ollama_pieces(response: httpx.Response) -> AsyncIterator[Piece]:
    """Pieces of Ollama's /api/chat, as `read_pieces`."""
    return read_pieces(response, ollama_piece)


class OpenAIChunks:
    """Chunks of one answer, in the order in which they come."""

    def __init__(self) -> None:
        self._text: list[str] = []

    def piece(self, found: dict[str, Any], event: WireEvent) -> Piece:
        """What a chunk says, or a whole answer in the place of chunks."""
        choice = _first(found.get("choices"))
        reason = _reason(choice)
        whole = event.whole
        message = choice.get("delta")
        if isinstance(message, dict):
            text, thinking = content_of(message)
        elif isinstance(choice.get("message"), dict):
            message = choice["message"]
            text, thinking = content_of(message)
            whole = whole or (reason is not None and not self._text)
            text = self._new_of(text)
        else:  # of /v1/completions; TGI streams the end token's own text as well
            text, thinking = ("" if reason == "eos_token" else text_of(choice.get("text"))), ""
        refusal = text_of(message.get("refusal")) if isinstance(message, dict) else ""
        text += refusal
        self._text.append(text)
        return Piece(
            text,
            thinking,
            reason or ("stop" if whole and text else None),
            *_counts(found, choice),
            done=event.whole and (reason is not None or bool(text)),
            whole=whole,
            refusal=bool(refusal),
            call=call_in(message),
        )

    def _new_of(self, text: str) -> str:
        """Of a `message`: some servers repeat in it all that they have sent so far."""
        before = "".join(self._text)
        return text[len(before) :] if before and text.startswith(before) else text


def ollama_piece(found: dict[str, Any], event: WireEvent) -> Piece:
    """What a line of /api/chat says."""
    del event  # its form is the same for a whole answer
    message = found.get("message")
    text, thinking = content_of(message)
    over, said = found.get("done") is True, found.get("done_reason")
    reason = (said if isinstance(said, str) and said else "stop") if over else None
    counts = (found.get("prompt_eval_count"), found.get("eval_count"))
    return Piece(text, thinking, reason, *counts, done=over, call=call_in(message))


def decoded_event(event: WireEvent) -> dict[str, Any] | None:
    """An event's JSON object, None for an event without data. Raises Garbled where there is none."""
    data = event.data.strip()
    if not data and event.name != "error":
        return None
    try:
        found = msgspec.json.decode(data) if data else {}
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        if event.name == "error":
            return {"error": data}
        if event.last:
            return None
        raise Garbled(_unread(event)) from None
    while isinstance(found, list) and found:  # Gemini's errors
        found = found[0]
    if found is None or found == []:
        return None
    if not isinstance(found, dict):
        raise Garbled(_unread(event))
    return found


def _unread(event: WireEvent) -> str:
    said = said_in(event.data.encode("utf-8", "replace")) or "nothing that can be read"
    if not event.whole:
        return f"something that is not part of an answer: {said}"
    return (
        f"a web page in the place of an answer: {said}" if event.data.lstrip().startswith("<") else f"no answer: {said}"
    )


def error_piece(found: dict[str, Any]) -> Piece:
    """An error that comes as an event, or in the place of them."""
    final, refused = is_final(found)
    return Piece(said=words_of(found) or "an error without a message", refused=refused, final=final)


def _first(choices: object) -> dict[str, Any]:
    """The first choice that is one; the only one that was asked for."""
    if isinstance(choices, dict):
        return choices
    return next((one for one in choices if isinstance(one, dict)), {}) if isinstance(choices, list) else {}


def _reason(choice: dict[str, Any]) -> str | None:
    """Some write "" for an answer that goes on, SGLang's own form is an object."""
    found = choice.get("finish_reason")
    if isinstance(found, dict):
        found = found.get("type")
    return found if isinstance(found, str) and found else None


def _counts(found: dict[str, Any], choice: dict[str, Any]) -> tuple[object, object, object, object]:
    """Tokens of prompt, answer, both, and thinking. Moonshot has them in the choice, Groq had them in a field of its
    own; llama.cpp tells those so far in `timings`."""
    groq = found.get("x_groq")
    for usage in (found.get("usage"), choice.get("usage"), groq.get("usage") if isinstance(groq, dict) else None):
        if isinstance(usage, dict):
            details = usage.get("completion_tokens_details")
            thinking = details.get("reasoning_tokens") if isinstance(details, dict) else usage.get("reasoning_tokens")
            prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
            made = usage.get("completion_tokens", usage.get("output_tokens"))
            return prompt, made, usage.get("total_tokens"), thinking
    timings = found.get("timings")
    return None, timings.get("predicted_n") if isinstance(timings, dict) else None, None, None
