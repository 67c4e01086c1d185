"""The child's end: standard input and output become the message channel.

What a library prints goes to standard error instead, which the parent keeps as the log. The child ends when the
channel does, and the kernel ends it when the parent dies without closing anything.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from phitui.core.ipc.frames import FrameError, body_length, decoder, pack

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when `parent`, its parent's process id, dies.

    Linux only; elsewhere the end of input has to do.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel was asked
        os._exit(1)


class Channel:
    """Messages to and from the parent. Sending is safe from any thread."""

    def __init__(self, receives: Any) -> None:
        """Take over the standard streams. `receives` is the union of message types that may come in."""
        self._in = os.fdopen(os.dup(0), "rb")
        self._out = os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self._unpack = decoder(receives)
        self._lock = threading.Lock()

    def send(self, message: msgspec.Struct) -> None:
        """Write one message. A parent that is gone ends this process: nobody is left to work for."""
        data = memoryview(pack(message))
        try:
            with self._lock:
                while data:
                    data = data[os.write(self._out, data) :]
        except OSError:
            os._exit(1)

    def receive(self) -> Any:
        """Wait for one message; None at the end of input. Raises FrameError on what is no message."""
        header = self._in.read(4)
        if len(header) < 4:
            return None
        length = body_length(header)
        body = self._in.read(length)
        if len(body) < length:
            return None
        return self._unpack(body)

    def listen(self, on_message: Callable[[Any], None], on_end: Callable[[], None]) -> threading.Thread:
        """Hand every message to `on_message` from a thread of its own; call `on_end` when the parent is gone."""

        def loop() -> None:
            try:
                while (message := self.receive()) is not None:
                    on_message(message)
            except (FrameError, OSError) as error:
                print(f"phitui: the channel broke: {error}", file=sys.stderr, flush=True)
            on_end()

        thread = threading.Thread(target=loop, name="phitui-listen", daemon=True)
        thread.start()
        return thread
