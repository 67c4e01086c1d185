"""System prompts with names, kept in one file of the data folder (0600)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from phitui.core.errors import PhituiError, UsageError
from phitui.core.files import read_small, replace_file

FILE_NAME = "presets.json"
NAME_CHARS, TEXT_CHARS, MOST = 60, 100_000, 1000
_MAX_BYTES = 64_000_000


class Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A system prompt under a name."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS)]
    text: Annotated[str, msgspec.Meta(max_length=TEXT_CHARS)]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    presets: Annotated[list[Preset], msgspec.Meta(max_length=MOST)] = []


class Presets:
    """Reads the file anew each time: another console may have written it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> list[Preset]:
        """All of them, by name. Raises PhituiError where the file cannot be read or is none of phitui's."""
        try:
            found = msgspec.json.decode(read_small(self.path, _MAX_BYTES), type=_File)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise PhituiError(
                f"{self.path}: cannot be read: {error.strerror}", "Check what it is, and who may read it"
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PhituiError(f"{self.path}: {str(error)[:200]}", "Repair it or move it away") from error
        return sorted(found.presets, key=lambda preset: preset.name.casefold())

    def keep(self, name: str, text: str) -> bool:
        """Keep a text under a name; what had this name is replaced. Whether there was one.

        Raises UsageError for a name or a text that cannot be kept, PhituiError where the file cannot be written.
        """
        line = " ".join(name.split())
        if not line or len(line) > NAME_CHARS:
            raise UsageError(f"a name has 1 to {NAME_CHARS} characters")
        if not text.strip() or len(text) > TEXT_CHARS:
            raise UsageError(f"a system prompt to keep has 1 to {TEXT_CHARS:,} characters")
        before = self.all()
        others = [preset for preset in before if preset.name != line]
        if len(others) >= MOST:
            raise UsageError(f"there are {MOST} presets already", "Delete one first")
        self._write([*others, Preset(line, text)])
        return len(others) < len(before)

    def delete(self, name: str) -> None:
        """Delete one. Raises PhituiError."""
        self._write([preset for preset in self.all() if preset.name != name])

    def _write(self, presets: list[Preset]) -> None:
        try:
            data = msgspec.json.format(msgspec.json.encode(_File(presets)), indent=2) + b"\n"
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_file(self.path, data)
        except UnicodeEncodeError as error:
            raise UsageError("the system prompt is not valid UTF-8") from error
        except OSError as error:
            raise PhituiError(f"{self.path}: cannot be written: {error.strerror}") from error
