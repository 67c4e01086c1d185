"""What a server says of an error, in whichever form, as text; and whether asking again can help. Pure."""

from __future__ import annotations

import html
import re
from typing import Any

import msgspec

# Where the words are, nearest first. OpenRouter has its upstream's own, which say more, in metadata.raw.
_WORDS = ("message", "msg", "detail", "error_description", "error_message", "errorMessage", "description", "reason")
_WITHIN = ("error", "errors", "detail", "fault", "faultstring", "Message", "title", "status", "type", "code")
_DEPTH = 6
_TAG = re.compile(r"<[^<>]*>")
_HEADLINE = re.compile(r"<(title|h1)\b[^>]*>(.*?)</\1\s*>", re.IGNORECASE | re.DOTALL)
_UNSEEN = re.compile(r"<(script|style|head)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TEXT_CHARS = 4000
# What no second try mends, by the names that APIs have for it.
_FINAL = (
    "insufficient_quota", "quota_exceeded", "billing", "insufficient_balance", "payment", "invalid_request",
    "invalid_api_key", "authentication", "permission", "not_found", "unsupported", "context_length_exceeded",
    "content_filter", "content_policy", "validation", "badrequest", "bad_request", "invalid_argument", "tool_error",
    "template_error",
)  # fmt: skip
_REFUSED = ("invalid_request", "context_length_exceeded", "validation", "badrequest", "bad_request", "invalid_argument",
            "tool_error", "template_error", "unsupported")  # fmt: skip


def said_in(body: bytes) -> str:
    """The message in an error's body: JSON of any form in use, a web page's headline, else the text itself. It is as
    the server sent it: show it by `Endpoint.told`."""
    text = body.decode("utf-8", "replace").strip().lstrip("\ufeff")
    try:
        return words_of(msgspec.json.decode(text))
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return _page(text[:_TEXT_CHARS]) if text.startswith("<") else text[:_TEXT_CHARS]


def decoded_error(body: bytes) -> object:
    """An error's body as JSON, None where it is none."""
    try:
        return msgspec.json.decode(body.strip())
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def words_of(found: object, depth: int = 0) -> str:
    """The words in a decoded error."""
    if depth > _DEPTH:
        return ""
    if isinstance(found, str):
        return _words_in_string(found, depth)
    if isinstance(found, list):
        parts = [words_of(one, depth + 1) for one in found[:4]]
        return "; ".join(dict.fromkeys(part for part in parts if part))
    if isinstance(found, dict):
        return _words_in_dict(found, depth)
    return str(found) if isinstance(found, int | float) and not isinstance(found, bool) else ""


def _words_in_string(text: str, depth: int) -> str:
    inner = text.strip()
    if inner[:1] in ("{", "[") and inner[-1:] in ("}", "]"):  # an error within an error, as text
        try:
            return words_of(msgspec.json.decode(inner), depth + 1) or text
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            return text
    return text


def _words_in_dict(found: dict[str, Any], depth: int) -> str:
    metadata = found.get("metadata")
    raw = words_of(metadata.get("raw"), depth + 1) if isinstance(metadata, dict) else ""
    for key in (*_WORDS, *_WITHIN):
        words = words_of(found.get(key), depth + 1)
        if words:
            place = found.get("loc") or found.get("param")
            where = ".".join(str(part) for part in place) if isinstance(place, list) else text_or_nothing(place)
            words = f"{where}: {words}" if where and where not in words else words
            return f"{words}: {raw}" if raw and raw not in words else words
    return raw


def text_or_nothing(found: object) -> str:
    return found if isinstance(found, str) else ""


def _page(text: str) -> str:
    """A web page's headline, without which its text."""
    headline = _HEADLINE.search(text)
    shown = headline[2] if headline else _UNSEEN.sub(" ", text)
    return html.unescape(" ".join(_TAG.sub(" ", shown).split()))


def error_in(found: dict[str, Any], name: str = "") -> bool:
    """Whether a decoded event is an error and no part of an answer."""
    if found.get("error") or name == "error" or found.get("object") == "error" or found.get("type") == "error":
        return True
    answers = ("choices", "usage", "message", "token", "generated_text", "timings", "done", "id", "object", "response")
    if any(key in found for key in answers) and not isinstance(found.get("message"), str):
        return False
    return any(found.get(key) for key in ("detail", "errors", "message", "fault", "msg", "Message", "error_message"))


def is_final(found: object) -> tuple[bool, bool]:
    """Of a decoded error: whether a second try cannot help, and whether the request itself is at fault."""
    names, codes = [], []
    while isinstance(found, list) and found:
        found = found[0]
    while isinstance(found, dict):
        for key in ("type", "error_type", "code", "status", "status_code"):
            value = found.get(key)
            if isinstance(value, str) and not value.isdecimal():
                names.append(value.lower().replace(" ", "_"))
            elif isinstance(value, str | int) and not isinstance(value, bool):
                codes.append(int(str(value)[:9]))
        found = found.get("error")
    refused = any(word in name for name in names for word in _REFUSED) or any(code in (400, 413, 422) for code in codes)
    final = any(word in name for name in names for word in _FINAL) or any(
        400 <= code < 500 and code not in (408, 409, 425, 429) for code in codes
    )
    return final or refused, refused
