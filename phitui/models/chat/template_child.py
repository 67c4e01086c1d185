"""The process of a chat template, see `template_process`: runs it on each chat, and takes no more than it may."""

from __future__ import annotations

import contextlib
import resource
import signal

from phitui.core.errors import PhituiError, UsageError
from phitui.core.ipc.child import Channel
from phitui.core.ipc.frames import MAX_FRAME_BYTES
from phitui.models.chat.template import ChatTemplate
from phitui.models.chat.template_messages import LIMIT_S, MEMORY_BYTES, START_LIMIT_S, Made, Program, Refused, Wish


def main() -> None:
    """It ends by itself, too, when a deed takes too long."""
    channel = Channel(Program | Wish)
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    template: ChatTemplate | None = None
    while (message := channel.receive()) is not None:
        signal.alarm(round(START_LIMIT_S if isinstance(message, Program) else LIMIT_S) + 1)
        try:
            if isinstance(message, Program):
                template = ChatTemplate(message.text, message.special)
                answer: Made | Refused = Made()
            elif template is not None:
                answer = _checked(_done(template, message))
        except PhituiError as error:
            answer = Refused(error.message, error.fix, isinstance(error, UsageError))
        signal.alarm(0)
        channel.send(answer)


def _limit(which: int, most: int) -> None:
    """No more than `most`; where less is allowed already, that stays."""
    hard = resource.getrlimit(which)[1]
    if hard == resource.RLIM_INFINITY or hard > most:
        with contextlib.suppress(ValueError, OSError):  # not every system has every limit
            resource.setrlimit(which, (most, most))


def _done(template: ChatTemplate, wish: Wish) -> str:
    if wish.deed == "takes_system":
        return "yes" if template.takes_system else ""
    return template.try_question() if wish.deed == "try_question" else template.render(wish.messages)


def _checked(text: str) -> Made:
    """Raises UsageError for text that cannot be sent."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise UsageError("the model's chat template writes what is no text", "Choose another model.") from error
    if size > MAX_FRAME_BYTES // 2:
        raise UsageError(f"the model's chat template makes {size:,} bytes of this chat", "Choose another model.")
    return Made(text)
