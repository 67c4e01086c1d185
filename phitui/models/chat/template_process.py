"""A chat template in a process of its own: whoever wrote it, it cannot hold up the engine or take its memory.

A template is a program. One that counts to 10^10, or makes a text of 10 GB, is given up, and the next chat begins anew.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from functools import cached_property
from types import TracebackType

import msgspec

from phitui.core.errors import PhituiError, UsageError
from phitui.core.ipc.boot import python_main, without_secrets, working_directory
from phitui.core.ipc.frames import LENGTH, FrameError, body_length, decoder, pack
from phitui.models.chat.template_messages import LIMIT_S, START_LIMIT_S, Made, Message, Program, Refused, Wish

_CHILD = "phitui.models.chat.template_child"
_reply = decoder(Made | Refused)


class TemplateProcess:
    """As `ChatTemplate`, and each of its deeds raises PhituiError or UsageError where the template takes more than
    `LIMIT_S` or 512 MiB. The process starts at once, and is waited for with the first deed."""

    def __init__(self, text: str, special: dict[str, str], limit_s: float = LIMIT_S) -> None:
        """Raises PhituiError where no process can be started."""
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._compiled = False
        self._lock = threading.RLock()  # a prompt's tokens are counted beside an answer
        self.text = text
        self._program = Program(text, special)
        self._limit_s = limit_s
        self._start()

    def __enter__(self) -> TemplateProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._process.pid if self._process is not None else None

    def render(self, messages: Sequence[Message]) -> str:
        return self._do(Wish("render", messages))

    def try_question(self) -> str:
        return self._do(Wish("try_question"))

    @cached_property
    def takes_system(self) -> bool:
        return bool(self._do(Wish("takes_system")))

    def compile(self) -> None:
        """Raise PhituiError for a template that is no Jinja program."""
        with self._lock:
            if self._process is None:
                self._start()
            if not self._compiled:
                self._answer(START_LIMIT_S)
                self._compiled = True

    def close(self) -> None:
        """End the process."""
        if self._process is not None and self._socket is not None:
            self._process.kill()
            self._process.wait()
            self._socket.close()
        self._process = self._socket = None
        self._compiled = False

    def _start(self) -> None:
        ours, its = socket.socketpair()
        try:
            # Not tied: the thread that loads a model ends. The process does with our end of the socket, or its alarm.
            self._process = subprocess.Popen(
                python_main(_CHILD, tied=False),
                stdin=its.fileno(),
                stdout=its.fileno(),
                env=without_secrets(os.environ),
                cwd=working_directory(),
            )
        except OSError as error:
            ours.close()
            raise PhituiError(f"cannot start a process for the chat template: {error.strerror}") from error
        finally:
            its.close()
        self._socket = ours
        self._send(self._program, START_LIMIT_S)

    def _do(self, wish: Wish) -> str:
        with self._lock:
            self.compile()
            self._send(wish, self._limit_s)
            return self._answer(self._limit_s)

    def _send(self, message: msgspec.Struct, limit_s: float) -> None:
        data = pack(message)
        try:
            if self._socket is not None:
                self._socket.settimeout(limit_s)
                self._socket.sendall(data)
        except OSError as error:
            raise self._given_up(error, limit_s) from error

    def _answer(self, limit_s: float) -> str:
        try:
            answer = self._received(time.monotonic() + limit_s)
        except (OSError, FrameError) as error:
            raise self._given_up(error, limit_s) from error
        if isinstance(answer, Refused):
            raise (UsageError if answer.usage else PhituiError)(answer.message, answer.fix)
        return answer.text

    def _received(self, until: float) -> Made | Refused:
        reply: Made | Refused = _reply(self._exactly(body_length(self._exactly(LENGTH.size, until)), until))
        return reply

    def _exactly(self, count: int, until: float) -> bytes:
        if self._socket is None:
            raise ConnectionError
        data = bytearray()
        while len(data) < count:
            self._socket.settimeout(max(until - time.monotonic(), 0.001))
            piece = self._socket.recv(min(count - len(data), 1 << 20))
            if not piece:
                raise ConnectionError
            data += piece
        return bytes(data)

    def _given_up(self, error: Exception, limit_s: float) -> UsageError:
        """The process is in an endless loop, or died: the next chat has another one."""
        self.close()
        how = f"took more than {limit_s:g} s" if isinstance(error, TimeoutError) else "ended its process"
        return UsageError(f"the model's chat template {how} and was given up", "Choose another model.")
