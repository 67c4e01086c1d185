"""What passes between the engine and the process of its chat template, and what that process may take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

# A turn of a chat: "role" and "content".
Message = dict[str, str]

# Templates of the Hub take 0.1 ms for a short chat and 20 ms for one that fills a context window.
LIMIT_S = 5.0
# For a new Python and the template's compilation, on a machine that does much else.
START_LIMIT_S = 60.0
MEMORY_BYTES = 512 << 20


class Program(msgspec.Struct, tag="program"):
    """The first message: the template, see `ChatTemplate`. Answered by `Made`."""

    text: str
    special: dict[str, str]


class Wish(msgspec.Struct, tag="wish"):
    """One of the template's deeds. Answered by `Made` or `Refused`."""

    deed: Literal["render", "try_question", "takes_system"]
    messages: Sequence[Message] = ()


class Made(msgspec.Struct, tag="made"):
    """The text, or for `takes_system` "yes" or ""."""

    text: str = ""


class Refused(msgspec.Struct, tag="refused"):
    """The deed raised an error for a person."""

    message: str
    fix: str
    usage: bool
