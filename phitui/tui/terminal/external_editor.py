"""The prompt in the editor of one's choice, which has the terminal meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import Protocol

from phitui.core.errors import PhituiError, UsageError
from phitui.core.files import create_private, read_small
from phitui.core.text import one_line, without_controls

_FALLBACKS = ("nano", "vi")
_MOST_BYTES = 10_000_000


class TerminalOwner(Protocol):
    """The program that paints on the terminal, and can lend it to another program for a while."""

    def away(self) -> AbstractContextManager[None]:
        """While it is entered nothing is painted. Raises PhituiError where the terminal cannot be lent."""


def editor_command(environ: Mapping[str, str] = os.environ) -> list[str]:
    """$VISUAL, else $EDITOR, else nano or vi. Raises UsageError where there is none, or it is not there."""
    for variable in ("VISUAL", "EDITOR"):
        if environ.get(variable, "").strip():
            try:
                words = shlex.split(environ[variable])
            except ValueError as error:
                raise UsageError(f"${variable} is not a command: {error}") from error
            if shutil.which(words[0], path=environ.get("PATH")) is None:
                raise UsageError(f"${variable}: there is no program {one_line(words[0], 80)}", f"Set {variable}.")
            return words
    found = next((name for name in _FALLBACKS if shutil.which(name, path=environ.get("PATH"))), None)
    if found is None:
        raise UsageError("there is no editor: neither $VISUAL nor $EDITOR is set, nano and vi are not here")
    return [found]


async def edited(app: TerminalOwner, text: str, environ: Mapping[str, str] = os.environ) -> str:
    """`text` after the editor has ended. Events go on to be handled meanwhile; nothing is painted.

    Raises PhituiError where there is no editor, it fails, or what it leaves is no text.
    """
    command = editor_command(environ)
    with tempfile.TemporaryDirectory(prefix="phitui-") as folder:  # 0700
        path = Path(folder) / "prompt.md"
        with os.fdopen(create_private(path), "w", encoding="utf-8") as file:
            file.write(f"{text}\n".encode("utf-8", "replace").decode("utf-8"))  # editors end the last line, too
        with app.away(), _unharmed():
            code = await _run([*command, str(path)])
        if code:
            raise PhituiError(f"{one_line(command[0], 80)} ended with {_meaning(code)}: the draft is as it was")
        return _read(path)


async def _run(command: list[str]) -> int:
    try:
        process = await asyncio.create_subprocess_exec(*command)
    except OSError as error:
        raise PhituiError(f"{one_line(command[0], 80)} cannot be run: {error.strerror}") from error
    try:
        return await process.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        raise


def _meaning(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _read(path: Path) -> str:
    try:
        return without_controls(read_small(path, _MOST_BYTES).decode("utf-8").removesuffix("\n"))
    except OSError as error:
        raise PhituiError(f"what the editor left cannot be read: {error.strerror}: the draft is as it was") from error
    except UnicodeDecodeError as error:
        raise PhituiError("what the editor left is not UTF-8: the draft is as it was") from error


def _nothing(number: int, frame: FrameType | None) -> None:
    del number, frame


@contextlib.contextmanager
def _unharmed() -> Iterator[None]:
    """^c in the editor's terminal is the editor's. Not SIG_IGN, which the editor would inherit."""
    before = {}
    with contextlib.suppress(ValueError):  # not in the main thread
        for number in (signal.SIGINT, signal.SIGQUIT):
            before[number] = signal.signal(number, _nothing)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
