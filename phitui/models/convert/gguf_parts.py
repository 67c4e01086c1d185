"""GGUF files, whole or in parts as llama.cpp's gguf-split makes them (NAME-00001-of-00002.gguf)."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phitui.core.errors import PhituiError
from phitui.models.convert.checkpoint import FETCH_AGAIN, missing
from phitui.models.convert.gguf_source import GgufFile

_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")


def open_gguf(path: Path) -> GgufFile | GgufParts:
    """The file, or with any part of a model all of its parts. Raises PhituiError for what is damaged or missing."""
    file = GgufFile(path)
    count = file.metadata.get("split.count")
    return file if not isinstance(count, int) or count < 2 else GgufParts(path, count)


class GgufParts:
    """The parts of one model, as a Checkpoint. The first has the metadata."""

    def __init__(self, path: Path, count: int) -> None:
        named = _PART.fullmatch(path.name)
        if named is None or int(named[3]) != count:
            raise PhituiError(
                f"{path} is one of {count} parts of a model, and its name does not say which",
                f"Name the parts as they were made: NAME-00001-of-{count:05}.gguf",
            )
        paths = [path.with_name(f"{named[1]}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]
        for each in paths:
            if not each.is_file():
                raise PhituiError(f"{path.parent} lacks the part {each.name}", "Fetch all parts of the model.")
        self.where = paths[0]
        parts = [GgufFile(each) for each in paths]
        self.metadata = parts[0].metadata
        self._home = {name: part for part in parts for name in part.names()}
        wanted = self.metadata.get("split.tensors.count", len(self._home))
        if len(self._home) != wanted or len(self._home) != sum(len(part.names()) for part in parts):
            raise PhituiError(f"{path.parent}: the parts of {named[1]} do not belong together", FETCH_AGAIN)

    def names(self) -> Collection[str]:
        return self._home.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._part(name).shape(name)

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        return self._part(name).rows(name, start, stop)

    def will_read(self, name: str, start: int, stop: int) -> None:
        if name in self._home:
            self._home[name].will_read(name, start, stop)

    def _part(self, name: str) -> GgufFile:
        if name not in self._home:
            raise missing(self.where, name)
        return self._home[name]
