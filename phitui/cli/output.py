"""Data to stdout, and what a person is told to stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Literal, TextIO

from phitui.core.ipc.messages import Progress
from phitui.core.text import one_line, sanitize

_NARROW = 80
# Of the sixteen colours that every terminal has, as its user has set them (ECMA-48, SGR).
_STYLES = {"bold": 1, "red": 31, "green": 32}


class OutputError(Exception):
    """Standard output takes no more, and not because its reader has gone."""


def write(text: str) -> None:
    """Write data to stdout at once. Raises BrokenPipeError or OutputError."""
    if sys.stdout is None:
        raise OutputError("it is closed")
    try:
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError as error:  # PYTHONIOENCODING, or a locale's own: as stderr does it
            sys.stdout.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.strerror or str(error)) from error


def abandon_stdout() -> None:
    """What is still buffered goes nowhere: Python would complain once more when it flushes at the end."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def styled(text: str, style: Literal["bold", "red", "green"]) -> str:
    """`text` for stdout in a style; as it is where stdout is no terminal that has styles, or NO_COLOR asks for none."""
    if sys.stdout is None or not sys.stdout.isatty():
        return text
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in ("", "dumb"):
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def headed(lines: list[str]) -> list[str]:
    """The lines of a table with the first one bold, as `styled` does it."""
    return [styled(lines[0], "bold"), *lines[1:]]


def narrate(line: str) -> None:
    """One line on stderr. Terminal sequences in it are taken out."""
    if sys.stderr is None:  # print() would take stdout instead
        return
    with contextlib.suppress(OSError, ValueError):
        print(sanitize(line), file=sys.stderr, flush=True)


class StatusLine:
    """A line on stderr that is drawn over. Nothing is drawn where stderr is no terminal."""

    def __init__(self) -> None:
        self.is_seen = sys.stderr is not None and sys.stderr.isatty()
        self._drawn = False

    def draw(self, text: str) -> None:
        """Show this now. It is cut: a line that wraps is not taken away whole."""
        if self.is_seen:
            self._drawn = True
            self._put(f"\r\x1b[K{one_line(text, max(20, columns_of(sys.stderr) - 1))}")

    def clear(self) -> None:
        """Take it away: what comes next begins at the left."""
        if self._drawn:
            self._drawn = False
            self._put("\r\x1b[K")

    def _put(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


def columns_of(stream: TextIO) -> int:
    """The width of the terminal that `stream` leads to, in cells; 80 where none is known."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _NARROW
    except (OSError, ValueError):
        return _NARROW


class Narrator:
    """Long work on stderr: a line for each step, and how far it is where somebody watches."""

    def __init__(self) -> None:
        self.line = StatusLine()
        self._last = ""

    def show(self, progress: Progress) -> None:
        """Tell of one step."""
        text = one_line(progress.text, 120)
        share = f"{text} {progress.done * 100 // progress.total} %" if progress.total else ""
        if share and self.line.is_seen and progress.done < progress.total:
            self.line.draw(share)
        elif share and self.line.is_seen:
            self.tell(share)
        elif text != self._last:
            self.tell(text)
        self._last = text

    def tell(self, text: str) -> None:
        """A line that stays."""
        self.line.clear()
        narrate(text)
