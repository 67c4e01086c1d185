"""Text files that go with a prompt: read, refused where they are no text, and put into what is sent."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from pathlib import Path

from phitui.config.layers import shown_path
from phitui.core.errors import UsageError
from phitui.core.files import read_small
from phitui.core.text import one_line


@dataclass(eq=False)
class Attachment:
    """A file as it was when it was attached. `tokens` of its text alone, None until they are counted; not `exact`
    where they are estimated. `trouble` says why they cannot be counted."""

    path: Path
    text: str
    size_bytes: int
    tokens: int | None = None
    exact: bool = True
    trouble: str = ""

    @property
    def name(self) -> str:
        return one_line(self.path.name, 80)


def path_of(typed: str) -> Path:
    """The file that a person means. Raises UsageError."""
    typed = typed.strip()
    if not typed or "\x00" in typed:
        raise UsageError("/file needs the path of a text file")
    if len(typed) > 1 and typed[0] == typed[-1] and typed[0] in "'\"":
        typed = typed[1:-1]
    try:
        return Path(typed).expanduser().absolute()
    except RuntimeError:  # "~somebody" whom the system does not know
        return Path(typed).absolute()


def read_attachment(path: Path, limit: int) -> Attachment:
    """A text file of at most `limit` bytes. Raises UsageError where it is none, cannot be read or is larger."""
    where = shown_path(path)
    try:
        data = read_small(path, limit)
    except IsADirectoryError as error:
        raise UsageError(f"{where} is a folder", "Attach the files in it one by one.") from error
    except OSError as error:
        fix = "console.file_limit_bytes is the limit." if error.errno == errno.EFBIG else ""
        raise UsageError(f"{where} cannot be read: {error.strerror}", fix) from error
    return Attachment(path, _text(data, where), len(data))


def _text(data: bytes, where: str) -> str:
    if b"\x00" in data:
        raise UsageError(f"{where} is binary: it has a zero byte (at {data.index(0):,})")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{where} is not UTF-8 text (line {line}, byte 0x{data[error.start]:02x})") from error
    if not text.strip():
        raise UsageError(f"{where} is empty")
    return text


def with_attachments(prompt: str, attachments: list[Attachment]) -> str:
    """What is sent: each file in a fenced block below its name, then the prompt. The fence is longer than any in it."""
    parts = []
    for one in attachments:
        longest = max((len(run) for run in re.findall(r"`{3,}", one.text)), default=2)
        fence = "`" * max(longest + 1, 3)
        kind = re.sub(r"[^0-9A-Za-z+#-]", "", one.path.suffix)[:20]
        parts.append(f"{one.name}:\n{fence}{kind}\n{one.text.rstrip(chr(10))}\n{fence}\n\n")
    return "".join(parts) + prompt
