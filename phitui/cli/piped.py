"""Text on standard input."""

from __future__ import annotations

import codecs
import os
import select
import stat
import sys

from phitui.cli.output import narrate
from phitui.core.errors import UsageError

# Far more text than fits into any context window.
_MOST_BYTES = 64_000_000
# A producer that takes longer may also be one that never ends: what is waited for is said then.
_QUIET_S = 3.0


def is_piped() -> bool:
    """Whether standard input is a pipe, a socket or a file: what a person sends along. A terminal is not, nor
    /dev/null."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode if sys.stdin is not None else 0
    except (OSError, ValueError):  # closed, or replaced by something that is no file
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def read_text(waiting: str = "") -> str:
    """All of standard input, without a byte order mark. Where nothing comes for some seconds, `waiting` says what it is
    for. Raises UsageError where it is no text, or too much."""
    if sys.stdin is None:
        raise UsageError("standard input is closed", "Give the prompt as an argument")
    if waiting and not select.select([sys.stdin], [], [], _QUIET_S)[0]:
        narrate(f"phitui: waiting for the text on standard input, {waiting}")
    data = sys.stdin.buffer.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise UsageError(f"standard input has more than {_MOST_BYTES:,} bytes", "Send what fits into a context window")
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"standard input is not valid UTF-8 (byte 0x{data[error.start]:02x} at {error.start})",
            "Convert it to UTF-8 first",
        ) from error


def with_piped(prompt: str) -> str:
    """What is sent: the text on standard input, where there is one, and the prompt below it. Raises UsageError."""
    if not is_piped():
        return prompt
    text = read_text(waiting="which goes with the prompt; </dev/null sends none").rstrip("\r\n")
    return f"{text}\n\n{prompt}" if text.strip() else prompt
