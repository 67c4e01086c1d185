"""Frames: a 4-byte little-endian length, then one message as MessagePack."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import msgspec

from phitui.core.errors import UsageError

LENGTH = struct.Struct("<I")
# A chat of a whole context window is far below this; more means that the stream is out of step.
MAX_FRAME_BYTES = 64 * 1024 * 1024

_encoder = msgspec.msgpack.Encoder()


class FrameError(Exception):
    """The other side sent what is not a frame of this protocol."""


def pack(message: msgspec.Struct) -> bytes:
    """One frame, ready to be written. Raises UsageError for text in it that is no UTF-8, or too much of it."""
    try:
        body = _encoder.encode(message)
    except UnicodeEncodeError as error:
        raise UsageError("text that is not valid UTF-8 cannot be sent to the engine", "Convert it first") from error
    if len(body) > MAX_FRAME_BYTES:
        raise UsageError(f"the text is too long: {len(body)} bytes, the limit is {MAX_FRAME_BYTES}", "Shorten it")
    return LENGTH.pack(len(body)) + body


def body_length(header: bytes) -> int:
    """The length that a frame's header announces. Raises FrameError if it cannot be one."""
    (length,) = LENGTH.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {length} bytes is over the limit of {MAX_FRAME_BYTES}")
    return int(length)


def decoder(types: Any) -> Callable[[bytes], Any]:
    """A function from a frame's body to a message of one of `types` (a union of tagged Structs).

    The function raises FrameError for a body that is none of them.
    """
    decode = msgspec.msgpack.Decoder(types).decode

    def unpack(body: bytes) -> Any:
        try:
            return decode(body)
        except msgspec.DecodeError as error:
            raise FrameError(f"not a message of this protocol: {error}") from error

    return unpack
