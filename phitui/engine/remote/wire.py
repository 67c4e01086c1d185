"""What a server sends, as the texts in it that are to be understood: events, lines of JSON, or one whole body.

Servers and what stands before them mislabel: a right stream without a content type, a whole JSON answer where a stream
was asked for, an error or a web page in the place of both. So the first line that is not blank says what it is.
Server-sent events (WHATWG HTML, section 9.2.6) are read leniently: an event also ends where the next object begins,
where its blank line was left out, and with the stream. Pure but for `wire_events`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import httpx
import msgspec

# Far above what an honest server sends: one event has a token or a few; what is one body is an answer or an error.
EVENT_BYTES = 1_000_000
BODY_BYTES = 4_000_000
_FIELDS = ("data:", "event:", "id:", "retry:", "error:", ":")
_FIELD_BYTES = tuple(name.encode() for name in _FIELDS)


class TooMuch(Exception):
    """A server sends more than an answer can be."""


class Garbled(Exception):
    """A server sends what is not of its own wire format."""


class WireEvent(NamedTuple):
    """`name` is that of a server-sent event, mostly "". `whole`: the body was no stream, and this is all of it. `last`:
    the stream ended in it, so that it may be a half."""

    data: str
    name: str = ""
    whole: bool = False
    last: bool = False


class WireReader:
    """Bytes in, events out. It keeps no more than the event, or the whole body, that is not over yet."""

    def __init__(self) -> None:
        self._rest = b""
        self._form = ""  # "events", "lines" or "whole", once that is known
        self._data: list[str] = []
        self._name = ""
        self._whole: list[str] = []
        self._kept = 0  # bytes of the event or the body that is not over

    def feed(self, chunk: bytes) -> list[WireEvent]:
        """What is complete by now. Raises TooMuch."""
        text = self._rest + chunk
        held = b"\r" if text.endswith(b"\r") else b""  # which may be half of a line's end
        text = text[: len(text) - len(held)]
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._rest = rest + held
        found: list[WireEvent] = []
        for line in lines:
            found += self._take(line)
        self._bound(len(self._rest))
        return found

    def _bound(self, more: int) -> None:
        body = self._form in ("", "whole") and not self._rest.startswith(_FIELD_BYTES)
        what, most = ("a body", BODY_BYTES) if body else ("an event", EVENT_BYTES)
        if self._kept + more > most:
            raise TooMuch(f"{what} of more than {most:,} bytes")

    def end(self) -> list[WireEvent]:
        """What the end of the stream completes."""
        rest, self._rest = self._rest.rstrip(b"\r"), b""
        found = self._take(rest) if rest else []
        if self._whole:
            found.append(WireEvent("\n".join(self._whole), whole=True))
        elif self._data:
            found.append(self._event())
        return [event if event.whole else event._replace(last=True) for event in found]

    def _take(self, raw: bytes) -> list[WireEvent]:
        line = raw.decode("utf-8", "replace")
        if not self._form:
            line = line.lstrip("\ufeff")
            if not line.strip():
                return []
            self._form = _form_of(line)
        if self._form == "whole":
            self._whole.append(line)
            self._kept += len(raw) + 1
            return []
        if self._form == "lines":
            line = line.strip().removeprefix("data:").strip()
            return [WireEvent(line)] if line else []
        return self._field(line)

    def _field(self, line: str) -> list[WireEvent]:
        if not line.strip():
            return [self._event()] if self._data or self._name else []
        name, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if line[0] in "{[":  # an error that was written between the events
            before = [self._event()] if self._data else []
            return [*before, WireEvent(line)]
        found: list[WireEvent] = []
        if name == "data" and colon:
            if self._data and self._data[-1].rstrip().endswith(("}", "]")) and value.lstrip()[:1] in ("{", "["):
                found.append(self._event())
            self._data.append(value)
            self._kept += len(line) + 1
        elif name == "event" and colon:
            self._name = value.strip()
        elif name == "error" and value.strip():  # llama.cpp has its errors in a field of this name
            found += [self._event()] if self._data else []
            found.append(WireEvent(value, "error"))
        return found

    def _event(self) -> WireEvent:
        event = WireEvent("\n".join(self._data), self._name)
        self._data, self._name, self._kept = [], "", 0
        return event


def _form_of(line: str) -> str:
    if line.startswith(_FIELDS):
        return "events"
    if line.lstrip()[0] in "{[":
        try:
            msgspec.json.decode(line)
            return "lines"
        except (msgspec.DecodeError, RecursionError):
            return "whole"
    return "whole"


async def wire_events(response: httpx.Response) -> AsyncIterator[WireEvent]:
    """The events of a response as they come. Raises TooMuch, and what httpx raises: after all that came before it."""
    reader = WireReader()
    try:
        async for chunk in response.aiter_raw():
            for event in reader.feed(chunk):
                yield event
    except (httpx.HTTPError, httpx.StreamError):
        for event in reader.end():
            yield event
        raise
    for event in reader.end():
        yield event
