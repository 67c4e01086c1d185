"""A chat as the token ids of one prompt."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from phitui.models.chat.marks import Marks
from phitui.models.chat.template_messages import Message
from phitui.models.chat.tokenizer import ChatTokenizer


class Template(Protocol):
    """A `ChatTemplate`, here or in a process of its own."""

    @property
    def text(self) -> str: ...

    def render(self, messages: Sequence[Message]) -> str: ...


def prompt_ids(template: Template, tokenizer: ChatTokenizer, messages: Sequence[Message]) -> list[int]:
    """Contents as text, the template's control tokens as such. Raises UsageError where the template refuses the
    chat."""
    text, originals = _render(template, tokenizer.marks, messages, frozenset())
    if originals and text.translate(originals) != template.render(messages):
        # The template looks for marks in contents, as those do that leave thinking out of earlier answers.
        read = _read_by(template, tokenizer.marks, messages)
        text, originals = _render(template, tokenizer.marks, messages, read)
    return tokenizer.encode(tokenizer.with_controls(text).translate(originals))


def _render(
    template: Template, marks: Marks, messages: Sequence[Message], shown: Collection[str]
) -> tuple[str, dict[int, str]]:
    """The text with stand-ins, and what they stand for. The marks `shown` have none in the model's own answers."""
    left = [shown if message["role"] == "assistant" else () for message in messages]
    contents, originals = marks.hidden([message["content"] for message in messages], left)
    hidden = [message | {"content": content} for message, content in zip(messages, contents, strict=True)]
    return template.render(hidden), originals


def _read_by(template: Template, marks: Marks, messages: Sequence[Message]) -> set[str]:
    """The marks in earlier answers that change what the template makes of these."""
    answers = [message["content"] for message in messages if message["role"] == "assistant"]
    there = {token for answer in answers for _, token in marks.find(answer) if token in template.text}
    plain = template.render(messages)
    read = set()
    for token in there:
        text, originals = _render(template, marks, messages, there - {token})
        if text.translate(originals) != plain:
            read.add(token)
    return read
