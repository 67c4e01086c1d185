"""The parent's end: starts a child process, sends it messages, reads its messages, and makes sure that it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from phitui.core.errors import PhituiError
from phitui.core.files import open_private, open_regular
from phitui.core.ipc.boot import python_main, without_secrets, working_directory
from phitui.core.ipc.frames import LENGTH, body_length, decoder, pack

_LOG_LIMIT_BYTES = 1_000_000


class Child:
    """A running child process. Make one with `Child.start`."""

    def __init__(self, process: asyncio.subprocess.Process, sends: Any, log: Path) -> None:
        self._process = process
        self._unpack = decoder(sends)
        self._log = log
        self._log_start = log.stat().st_size if log.is_file() else 0

    @classmethod
    async def start(
        cls,
        module: str,
        sends: Any,
        log: Path,
        secrets: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """Run `main()` of `module` in a new Python, in a session of its own so that the terminal's signals spare it.

        `sends` is the union of message types that it may send; its standard error is appended to `log` (0600). Of
        variables with keys and tokens it only gets those that begin with one of `secrets`; `environment` is added.
        Raises PhituiError when it cannot be started.
        """
        errors = _open_log(log)
        try:
            process = await asyncio.create_subprocess_exec(
                *python_main(module),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                cwd=working_directory(),
                env={**without_secrets(os.environ, secrets), **(environment or {})},
            )
        except OSError as error:
            raise PhituiError(f"cannot start {sys.executable}: {error.strerror}") from error
        finally:
            os.close(errors)
        return cls(process, sends, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def send(self, message: msgspec.Struct) -> None:
        """Write one message. A child that is gone is not an error here: `messages` ends and tells."""
        stdin = self._process.stdin
        if stdin is None or stdin.is_closing():
            return
        with contextlib.suppress(ConnectionError):
            stdin.write(pack(message))
            await stdin.drain()

    async def messages(self) -> AsyncIterator[Any]:
        """What the child sends, until it ends. Raises FrameError on what is no message."""
        stdout = self._process.stdout
        if stdout is None:
            return
        while True:
            try:
                header = await stdout.readexactly(LENGTH.size)
                body = await stdout.readexactly(body_length(header))
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            yield self._unpack(body)

    async def stop(self, grace_s: float = 2.0) -> int:
        """End it: close its input, wait, then SIGTERM and SIGKILL to it and its children. Returns its exit status."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        for wait_s, then in ((grace_s, signal.SIGTERM), (1.0, signal.SIGKILL)):
            try:
                await asyncio.wait_for(self._process.wait(), wait_s)
                break
            except (TimeoutError, asyncio.TimeoutError):
                self.signal_group(then)
        status = await self._process.wait()
        self.signal_group(signal.SIGKILL)  # whatever it started and left
        return status

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the child and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def epitaph(self) -> str:
        """How it ended, in words, with the last line of its log: for a child that ended unasked."""
        status = await self._process.wait()
        if status < 0:
            with contextlib.suppress(ValueError):
                how = f"killed by {signal.Signals(-status).name}"
                return self._with_last_line(how)
        return self._with_last_line(f"exit status {status}")

    def _with_last_line(self, how: str) -> str:
        try:
            with os.fdopen(open_regular(self._log), "rb") as log:
                log.seek(max(self._log_start, os.fstat(log.fileno()).st_size - 4000))
                lines = log.read().decode("utf-8", "replace").split("\n")
        except OSError:
            return how
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"{how}: {last[:300]}" if last else how


def _open_log(log: Path) -> int:
    """A descriptor to append to `log`, for this user alone; a log that has grown long begins anew.

    Where it cannot be written (a model store that is read-only by intent) the log goes nowhere.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        mode = os.O_TRUNC if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES else os.O_APPEND
        return open_private(log, os.O_WRONLY | mode)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)
