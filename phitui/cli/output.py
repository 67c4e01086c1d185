"""Data to stdout, and what a person is told to stderr."""

from __future__ import annotations

import contextlib
import os
import sys

from phitui.core.ipc.messages import Progress
from phitui.core.text import one_line, sanitize


class OutputError(Exception):
    """Standard output takes no more, and not because its reader has gone."""


def write(text: str) -> None:
    """Write data to stdout at once. Raises BrokenPipeError or OutputError."""
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.strerror or str(error)) from error


def abandon_stdout() -> None:
    """What is still buffered goes nowhere: Python would complain once more when it flushes at the end."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def narrate(line: str) -> None:
    """One line on stderr. Terminal sequences in it are taken out."""
    if sys.stderr is None:  # print() would take stdout instead
        return
    with contextlib.suppress(OSError, ValueError):
        print(sanitize(line), file=sys.stderr, flush=True)


class Narrator:
    """Long work on stderr: a line for each step, and how far it is where somebody watches."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, progress: Progress) -> None:
        """Tell of one step."""
        if sys.stderr is None:
            return
        text = one_line(progress.text, 120)
        if sys.stderr.isatty() and progress.total:
            end = "\n" if progress.done >= progress.total else ""
            sys.stderr.write(f"\r\x1b[K{text} {progress.done * 100 // progress.total} %{end}")
        elif text != self._last:
            sys.stderr.write(f"{text}\n")
        self._last = text
        sys.stderr.flush()
