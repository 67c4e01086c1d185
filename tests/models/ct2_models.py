"""Reads CTranslate2's model.bin, by the layout that its own `ModelSpec._serialize` writes."""

from __future__ import annotations

import struct

import numpy as np

_TYPES = ("float32", "int8", "int16", "int32", "float16", "bfloat16")


def read_model_bin(path):
    """Variables as {name: (type, shape, bytes)}, and aliases as {alias: name}."""
    data, at = path.read_bytes(), 0

    def number(code):
        nonlocal at
        (value,) = struct.unpack_from("<" + code, data, at)
        at += struct.calcsize("<" + code)
        return value

    def text():
        nonlocal at
        length = number("H")
        at += length
        return data[at - length : at - 1].decode()

    assert number("I") == 6
    assert text() == "TransformerDecoderSpec"
    number("I")
    variables = {}
    for _ in range(number("I")):
        name = text()
        shape = tuple(number("I") for _ in range(number("B")))
        kind, length = _TYPES[number("B")], number("I")
        variables[name] = (kind, shape, data[at : at + length])
        at += length
    aliases = {}
    for _ in range(number("I")):
        alias = text()
        aliases[alias] = text()
    assert at == len(data)
    return variables, aliases


def array(variable):
    """A variable of numpy's types."""
    kind, shape, data = variable
    return np.frombuffer(data, np.dtype(kind)).reshape(shape)
