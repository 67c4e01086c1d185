"""tokenizer.model: a SentencePiece model as its library writes it, a protocol buffer (sentencepiece_model.proto)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BPE = 2


def gguf_metadata(data: bytes) -> dict[str, Any] | None:
    """The model in the words of a GGUF file's metadata, whose kinds of tokens are SentencePiece's own. None for what is
    no SentencePiece model, or not one of BPE."""
    tokens: list[str] = []
    scores: list[float] = []
    kinds: list[int] = []
    model_type, prefix = 1, 1
    try:
        for field, value in _fields(data):
            if field == 1:
                piece = dict(_fields(value))
                tokens.append(str(piece.get(1, b""), "utf-8"))
                scores.append(float(piece.get(2, 0.0)))
                kinds.append(int(piece.get(3, 1)))
            elif field == 2:  # how it was trained
                model_type = dict(_fields(value)).get(3, 1)
            elif field == 3:  # how text is normalized
                prefix = dict(_fields(value)).get(3, 1)
    except (ValueError, TypeError, IndexError, struct.error):
        return None
    if model_type != _BPE or not tokens:
        return None
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.add_space_prefix": bool(prefix),
    }


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of one message with their numbers. Raises ValueError, IndexError and struct.error for what is none."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
        elif kind == _BYTES:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("a field is cut off")
            yield key >> 3, data[at : at + length]
            at += length
        elif kind in (_FIXED32, _FIXED64):
            code = "<f" if kind == _FIXED32 else "<d"
            yield key >> 3, struct.unpack_from(code, data, at)[0]
            at += struct.calcsize(code)
        else:
            raise ValueError(f"a field has the unknown type {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number does not end")
