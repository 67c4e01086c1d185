"""A file of tunings: JSON that is read and written whole; one that is damaged is put aside, never written over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from phitui.core.errors import PhituiError
from phitui.core.files import put_aside, read_small, replace_file

_MOST_BYTES = 64_000_000


class Dated(Protocol):
    """What such a file holds: `made` is a time in UTC (ISO 8601)."""

    @property
    def made(self) -> str: ...


Kept = TypeVar("Kept", bound=Dated)


class TuningFile(Generic[Kept]):
    """The file `name`, in the folder that each method is given. Of two entries with the same `key` the later takes the
    place of the earlier."""

    def __init__(self, name: str, kind: type[Kept], key: Callable[[Kept], object]) -> None:
        self._name = name
        self._form: type[Any] = msgspec.defstruct("File", [("tunings", list[kind], [])])  # type: ignore[valid-type]
        self._key = key

    def read(self, folder: Path) -> tuple[list[Kept], str]:
        """All that is stored, newest first, and "" or what is wrong with the file: then it counts as empty."""
        path = folder / self._name
        try:
            stored: list[Kept] = msgspec.json.decode(read_small(path, _MOST_BYTES), type=self._form).tunings
        except FileNotFoundError:
            return [], ""
        except OSError as error:
            return [], f"{path} cannot be read: {error.strerror}"
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return [], f"{path} is damaged and ignored: {str(error)[:200]}"
        return sorted(stored, key=lambda one: one.made, reverse=True), ""

    def add(self, folder: Path, entry: Kept) -> str:
        """Store it; returns "", or where a file that cannot be read was put aside. Raises PhituiError where it cannot
        be written."""
        stored, problem = self.read(folder)
        path = folder / self._name
        aside = _aside(path) if problem and path.exists() else None
        self._write(path, [entry, *(one for one in stored if self._key(one) != self._key(entry))])
        return f"{problem}: it is kept as {aside.name}" if aside else ""

    def remove(self, folder: Path, entry: Kept) -> None:
        """Take it out. Raises PhituiError where the file cannot be read or written."""
        stored, problem = self.read(folder)
        if problem:
            raise PhituiError(problem)
        self._write(folder / self._name, [one for one in stored if one != entry])

    def _write(self, path: Path, entries: list[Kept]) -> None:
        data = msgspec.json.format(msgspec.json.encode(self._form(entries)), indent=2) + b"\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, data)
        except OSError as error:
            raise PhituiError(f"{path}: cannot be written: {error.strerror}", "The tunings are as they were") from error


def _aside(path: Path) -> Path:
    try:
        return put_aside(path)
    except OSError as error:
        raise PhituiError(f"{path}: cannot be put aside: {error.strerror}", "Move it away yourself") from error
