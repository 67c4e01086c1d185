"""The parent's end: starts a child process, sends it messages, reads its messages, and makes sure that it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from phitui.core.errors import PhituiError
from phitui.core.files import open_private
from phitui.core.ipc.frames import LENGTH, body_length, decoder, pack

# The child sees the same modules as we do: in particular no file of the working directory that happens to be
# called numpy.py, which `python -m` would put first.
_BOOT = """import sys
sys.path[:] = {path!r}
from phitui.core.ipc.child import die_with
die_with({parent})
from {module} import main
main()"""
_LOG_LIMIT_BYTES = 1_000_000
# Variables that hold what opens something: servers' API keys above all.
_SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)


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
                sys.executable,
                "-c",
                _BOOT.format(path=sys.path, parent=os.getpid(), module=module),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                cwd=_working_directory(),
                env={**_without_secrets(os.environ, secrets), **(environment or {})},
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

    async def stop(self, grace_s: float = 3.0) -> int:
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
            with self._log.open("rb") as log:
                log.seek(max(self._log_start, self._log.stat().st_size - 4000))
                lines = log.read().decode("utf-8", "replace").split("\n")
        except OSError:
            return how
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"{how}: {last[:300]}" if last else how


def _without_secrets(environ: Mapping[str, str], needed: tuple[str, ...]) -> dict[str, str]:
    """The environment without keys and tokens, but for those whose names begin with one of `needed`."""
    return {name: value for name, value in environ.items() if name.startswith(needed) or not _SECRET.search(name)}


def _working_directory() -> str | None:
    """Ours, or the root where ours was deleted: libraries fail to load in a directory that is not there."""
    try:
        Path.cwd()
    except OSError:
        return "/"
    return None


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
