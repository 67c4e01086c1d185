"""A line of a batch's input as a request: phitui's own form, or that of OpenAI's batches.

OpenAI's form is that of its API reference, "The request input object" (api-reference/batch/request-input): a line has
`custom_id`, `method`, `url` and, as `body`, what /v1/chat/completions takes.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from phitui.core.errors import UsageError
from phitui.core.text import one_line
from phitui.engine.protocol.api import Sampling, Turn
from phitui.storage.journal import KEYS_PER_LINE
from phitui.workbench.batch.lines import MAX_LINE_BYTES, Line

Form = Literal["plain", "openai"]
Id = str | int | None
_MAX_STOPS = 16
_CHAT_URL = "/v1/chat/completions"
# Roles by the engine's names; "developer" is what OpenAI calls the system's turn by now.
_ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant",
}  # fmt: skip
# What changes an answer and cannot be honoured, with the values that ask for nothing.
_NOTHING: tuple[Any, ...] = (None, False, 0, "", [], {}, "none", "auto", {"type": "text"}, ["text"])
_UNSUPPORTED = (
    "tools", "tool_choice", "functions", "function_call", "response_format", "logprobs", "top_logprobs", "logit_bias",
    "frequency_penalty", "presence_penalty", "stream", "modalities", "audio", "web_search_options",
)  # fmt: skip


class Defaults(NamedTuple):
    """What holds where a row says nothing: the sampling, and the system prompt of rows in phitui's own form."""

    sampling: Sampling
    system: str


class Request(NamedTuple):
    """A row that can be sent. `unused` are the names of its fields that nothing is done with."""

    line: int
    id: Id
    form: Form
    turns: list[Turn]
    sampling: Sampling
    n: int
    text_bytes: int
    unused: frozenset[str] = frozenset()


class Refusal(NamedTuple):
    """A row that cannot be sent, and why."""

    line: int
    id: Id
    form: Form
    reason: str


class _Part(msgspec.Struct):
    type: str
    text: str = ""


class _RowMessage(msgspec.Struct):
    role: str
    content: str | list[_Part]


class _Options(msgspec.Struct, kw_only=True):
    """The ranges are those of [generation] in config.toml."""

    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=1_048_576)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=5)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=1, le=8192)] | None = None
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    repetition_penalty: Annotated[float, msgspec.Meta(gt=0, le=10)] | None = None
    stop: str | list[str] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=KEYS_PER_LINE)] | None = None
    # Taken and not used: the engine has one seed for all rows of a batch (engine.rows_api.OpenBatch).
    seed: int | None = None
    messages: list[_RowMessage] | None = None


class _Plain(_Options, kw_only=True):
    id: str | int | None = None
    prompt: str | None = None
    system: str | None = None


class _Body(_Options, kw_only=True):
    model: str | None = None
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1, le=1_048_576)] | None = None


class _Envelope(msgspec.Struct):
    custom_id: str
    url: str
    body: dict[str, Any]
    method: str = "POST"


_DRAWN = ("max_tokens", "temperature", "top_k", "top_p", "repetition_penalty")
_PLAIN = frozenset(field.name for field in msgspec.structs.fields(_Plain)) - {"seed"}
_BODY = frozenset(field.name for field in msgspec.structs.fields(_Body)) - {"seed"}


def parse_line(line: Line, defaults: Defaults, form: Form) -> Request | Refusal:
    """The row in a line. `form` is that of the rows before, which a line that says nothing of itself has, too."""
    try:
        found = _object(line)
    except UsageError as error:
        return Refusal(line.number, None, form, error.message)
    form = "openai" if "custom_id" in found or "body" in found else "plain"
    name = found.get("custom_id" if form == "openai" else "id")
    known = name if isinstance(name, str) or (isinstance(name, int) and not isinstance(name, bool)) else None
    try:
        if form == "openai":
            return _openai(line.number, found, defaults)
        return _plain(line.number, found, defaults)
    except UsageError as error:
        return Refusal(line.number, known, form, error.message)


def parse_text_line(line: Line, defaults: Defaults, form: Form) -> Request | Refusal:
    """As `parse_line`, of a file of plain text: a line is a prompt, but for one that is a row in JSON."""
    if line.data is None:
        return parse_line(line, defaults, form)
    if line.data.lstrip().startswith(b"{"):
        found = parse_line(line, defaults, form)
        if isinstance(found, Request):
            return found
    try:
        return _plain(line.number, {"prompt": line.data.decode().rstrip("\r")}, defaults)
    except UnicodeDecodeError:
        return Refusal(line.number, None, "plain", _why_not(line.data, ""))
    except UsageError as error:
        return Refusal(line.number, None, "plain", error.message)


def _object(line: Line) -> dict[str, Any]:
    if line.data is None:
        raise UsageError(f"the line has {line.size} bytes, the limit is {MAX_LINE_BYTES}")
    try:
        found = msgspec.json.decode(line.data)
    except RecursionError as error:
        raise UsageError("not a row: nested too deep") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(_why_not(line.data, str(error))) from error
    if not isinstance(found, dict):
        raise UsageError("not a row: expected an object with prompt or messages")
    return found


def _why_not(data: bytes, message: str) -> str:
    """Why a line is not JSON: what `msgspec` says of text that is no Unicode is of no help."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte 0x{data[error.start]:02x} at {error.start})"
    if re.search(r"\\u[dD][89a-fA-F]", text):
        try:
            json.dumps(json.loads(text), ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return "a lone surrogate (half of a character, as \\ud800) is no text"
        except (ValueError, RecursionError):
            pass
    return f"not JSON: {one_line(message, 200)}"


def _plain(number: int, found: dict[str, Any], defaults: Defaults) -> Request:
    row = _convert(found, _Plain)
    if (row.prompt is None) == (row.messages is None):
        raise UsageError("both prompt and messages" if row.prompt is not None else "neither prompt nor messages")
    turns = _turns(row.messages) if row.messages is not None else [Turn("user", _text(row.prompt or ""))]
    has_system = any(turn.role == "system" for turn in turns)
    if row.system and has_system:
        raise UsageError("both system and a system message")
    system = defaults.system if row.system is None else row.system
    if system and not has_system:
        turns.insert(0, Turn("system", system))
    return _request(number, row.id, "plain", turns, row, defaults.sampling, frozenset(found.keys() - _PLAIN))


def _openai(number: int, found: dict[str, Any], defaults: Defaults) -> Request:
    line = _convert(found, _Envelope)
    if line.method != "POST":
        raise UsageError(f"method: only POST, not {one_line(line.method, 40)}")
    if line.url != _CHAT_URL:
        raise UsageError(f"url: only {_CHAT_URL}, not {one_line(line.url, 80)}")
    for name in _UNSUPPORTED:
        if line.body.get(name) not in _NOTHING:
            raise UsageError(f"body.{name}: phitui cannot do that")
    body = _convert(line.body, _Body)
    if body.max_completion_tokens is not None:
        body.max_tokens = body.max_completion_tokens
    turns = _turns(body.messages or [])
    return _request(
        number, line.custom_id, "openai", turns, body, defaults.sampling, frozenset(line.body.keys() - _BODY)
    )


def _request(
    number: int, name: Id, form: Form, turns: list[Turn], row: _Options, base: Sampling, unused: frozenset[str]
) -> Request:
    stop = (row.stop,) if isinstance(row.stop, str) else base.stop if row.stop is None else tuple(row.stop)
    if len(stop) > _MAX_STOPS or not all(stop):
        raise UsageError(f"stop: at most {_MAX_STOPS} strings, none of them empty")
    chosen = {name: value for name in _DRAWN if (value := getattr(row, name)) is not None}
    sampling = msgspec.structs.replace(base, stop=stop, seed=None, **chosen)
    size = sum(len(turn.content) for turn in turns)
    return Request(number, name, form, turns, sampling, row.n or 1, size, unused)


def _turns(messages: list[_RowMessage]) -> list[Turn]:
    if not messages:
        raise UsageError("no messages")
    return [_turn(place, message) for place, message in enumerate(messages)]


def _turn(place: int, message: _RowMessage) -> Turn:
    role = _ROLES.get(message.role)
    if role is None:
        raise UsageError(f"messages[{place}].role: {one_line(message.role, 40)!r} is not system, user or assistant")
    if isinstance(message.content, str):
        return Turn(role, _text(message.content) if role == "user" else message.content)
    if any(part.type != "text" for part in message.content):
        raise UsageError(f"messages[{place}].content: only text can be read")
    return Turn(role, _text("".join(part.text for part in message.content)))


def _text(prompt: str) -> str:
    if not prompt.strip():
        raise UsageError("the prompt is empty")
    return prompt


def _convert(found: dict[str, Any], kind: Any) -> Any:
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        message = str(error).replace("`$.", "`").replace("`", "")
        raise UsageError(one_line(message, 200)) from error
