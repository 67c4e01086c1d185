"""A real terminal for the console: a pseudo-terminal with an emulator behind it, driven by keys, read as a screen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pyte

# Left by a console that has ended well: the alternate screen is off and the cursor is shown.
_LEAVES_ALTERNATE = b"\x1b[?1049l"
_SHOWS_CURSOR = b"\x1b[?25h"
# What a console must not inherit: other settings, and what would keep Python from caching compiled modules.
_OTHERS = ("PHITUI", "XDG_", "SSH_", "PYTHONDONTWRITEBYTECODE", "COLUMNS", "LINES")


class Console:
    """`command` in a pseudo-terminal of `columns` × `rows`. Use as a context manager: it leaves no process behind.

    What is on the screen for a moment only is in `seen`, by its pattern out of `watched`: each write is looked at.
    """

    def __init__(
        self,
        command: list[str],
        environ: Mapping[str, str],
        columns: int = 120,
        rows: int = 40,
        cwd: Path | None = None,
        watched: tuple[str, ...] = (),
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.output = b""
        self._shown = -1, ""  # how much of it the text is of
        self._watched, self.seen = watched, dict[str, re.Match[str]]()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.modes_before = termios.tcgetattr(slave)
        self._slave = slave
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=dict(environ), cwd=cwd, start_new_session=True,
            preexec_fn=_take_terminal,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        self.hang_up()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            if not data:
                return
            with self._lock:
                self.output += data
                with contextlib.suppress(Exception):  # an emulator's gap must not end the reading
                    self._stream.feed(data)
            for pattern in self._watched:
                if pattern not in self.seen and (match := re.search(pattern, self.text())):
                    self.seen[pattern] = match

    def text(self) -> str:
        """What the screen shows now, row by row."""
        with self._lock:
            if self._shown[0] != len(self.output):
                rows, columns = range(self._screen.lines), range(self._screen.columns)
                # Not pyte's own `display`, which fails at the rest of a wide character that was overwritten in part.
                lines = ("".join(self._screen.buffer[y][x].data for x in columns) for y in rows)
                self._shown = len(self.output), "\n".join(line.rstrip() for line in lines)
            return self._shown[1]

    def wait_for(self, pattern: str, timeout_s: float = 60.0) -> re.Match[str]:
        """Wait until the screen shows `pattern` (a regular expression over its text); returns the match.

        Raises AssertionError with the screen when it does not come or the console ends before.
        """
        found = wait_until(lambda: re.search(pattern, self.text()) or self._ended(), timeout_s)
        match = re.search(pattern, self.text())
        if match is None:
            what = "the console ended" if found else f"not seen within {timeout_s:g} s"
            raise AssertionError(f"{pattern!r}: {what}; the screen:\n{self.text()}")
        return match

    def forget(self) -> None:
        """Drop the bytes that have come so far; the screen stays."""
        with self._lock:
            self.output = b""
            self._shown = -1, ""

    def _ended(self) -> bool:
        return self.process.poll() is not None

    def send(self, keys: str | bytes) -> None:
        """Type `keys` (control characters and escape sequences as a terminal sends them)."""
        os.write(self._master, keys if isinstance(keys, bytes) else keys.encode())

    def paste(self, text: str) -> None:
        """Paste as a terminal does where the program has asked for brackets around it."""
        data = b"\x1b[200~" + text.encode() + b"\x1b[201~"
        while data:
            data = data[os.write(self._master, data[:4096]) :]

    def resize(self, columns: int, rows: int) -> None:
        """Change the size, as by dragging the window."""
        with self._lock:
            self._screen.resize(rows, columns)
            self._shown = -1, ""
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.killpg(self.process.pid, signal.SIGWINCH)

    def hang_up(self) -> None:
        """Close the terminal: the kernel sends SIGHUP to what runs in it."""
        for descriptor in (self._slave, self._master):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._slave = self._master = -1

    def family(self) -> list[psutil.Process]:
        """The console and every process below it that lives."""
        try:
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def worker(self) -> psutil.Process:
        """The engine's process."""
        return next(p for p in self.family() if any("phitui.engine.worker.worker" in word for word in p.cmdline()))

    def wait_ended(self, timeout_s: float = 60.0) -> int:
        """Wait for the console's end; returns its exit status. Raises subprocess.TimeoutExpired."""
        return self.process.wait(timeout_s)

    def terminal_restored(self) -> bool:
        """Whether the terminal is as it was found: its modes, the main screen, the cursor."""
        wait_until(lambda: _SHOWS_CURSOR in self.output[self.output.rfind(_LEAVES_ALTERNATE) :], 20)
        left = self.output.rfind(_LEAVES_ALTERNATE)
        entered = self.output.rfind(b"\x1b[?1049h")
        shown = self.output.rfind(_SHOWS_CURSOR) > self.output.rfind(b"\x1b[?25l")
        return left > entered and shown and termios.tcgetattr(self._slave) == self.modes_before


def _take_terminal() -> None:
    """Make the pseudo-terminal the controlling one of the new session."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def wait_until(condition: Callable[[], object], timeout_s: float, step_s: float = 0.01) -> object:
    """Wait until `condition` is true; returns its last value."""
    deadline = time.perf_counter() + timeout_s
    while not (value := condition()) and time.perf_counter() < deadline:
        time.sleep(step_s)
    return value


def command(*arguments: str) -> list[str]:
    """The command line of phitui as installed in this environment, e.g. command("ask", "Hello")."""
    return [str(Path(sys.executable).with_name("phitui")), *arguments]


def environment(home: Path, **extra: str) -> dict[str, str]:
    """An environment for a console of its own: its models and settings lie in `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
    return {
        **kept,
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LANG": "C.UTF-8",
        "PHITUI_HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        **extra,
    }
