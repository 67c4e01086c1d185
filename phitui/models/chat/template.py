"""A model's chat template, which is a Jinja program out of somebody's files: compiled and run in a sandbox.

What templates of the Hub expect is that of transformers: trimmed blocks, loop controls, `{% generation %}`,
`raise_exception`, `strftime_now`, its `tojson`, and `tools` and `documents` that are none.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from phitui.core.errors import PhituiError, UsageError
from phitui.models.chat.marks import STAND_INS
from phitui.models.chat.template_messages import Message

_ESCAPED = re.compile(rf"[^\x00-\x7f{STAND_INS[0]}-{STAND_INS[-1]}]")
_SYSTEM, _USER = "a system prompt", "a question"
_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token")


class ChatTemplate:
    """The template's text, compiled. `special` are the tokens that it asks for by name ("bos_token", …)."""

    def __init__(self, text: str, special: dict[str, str]) -> None:
        """Raises PhituiError for a template that is no Jinja program."""
        self.text = text
        # A name that the model does not have is empty: templates add it to strings.
        self._special = dict.fromkeys(_NAMES, "") | special
        try:
            self._template = _environment().from_string(text)
        except Exception as error:  # Jinja's own, and what Python's compiler raises for what Jinja makes of it
            raise PhituiError(f"the chat template is damaged: {_line(error)}", "Fetch the model again.") from error

    def render(self, messages: Sequence[Message]) -> str:
        """The text that the model sees, up to where its answer begins. A system prompt that the template does not take
        stands before the user's first question. Raises UsageError where the template refuses the chat."""
        roles = [message["role"] for message in messages]
        if "system" in roles and not self.takes_system:
            messages = _without_system(messages)
        return self._run(messages)

    @cached_property
    def takes_system(self) -> bool:
        """Whether a system prompt comes through: some templates pass over it, and some refuse it."""
        try:
            made = self._run([{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}])
        except UsageError:
            return False
        return _SYSTEM in made

    def try_question(self) -> str:
        """What it makes of one question. Raises PhituiError where that does not come through."""
        try:
            made = self._run([{"role": "user", "content": _USER}])
        except UsageError as error:
            raise PhituiError(error.message, "Choose another model.") from error
        if _USER not in made:
            raise PhituiError("the model's chat template leaves out what the user says", "Choose another model.")
        return made

    def _run(self, messages: Sequence[Message]) -> str:
        given = {"messages": list(map(dict, messages)), "tools": None, "documents": None}
        try:
            return self._template.render(**given, add_generation_prompt=True, **self._special)
        except Exception as error:  # a program of somebody else's: it may raise anything
            raise UsageError(f"the model's chat template refuses this chat: {_line(error)}") from error


def _without_system(messages: Sequence[Message]) -> list[Message]:
    said = [message["content"] for message in messages if message["role"] == "system"]
    others = [dict(message) for message in messages if message["role"] != "system"]
    first = next((message for message in others if message["role"] == "user"), None)
    if first is None:
        return [{"role": "user", "content": "\n\n".join(said)}, *others]
    first["content"] = "\n\n".join((*said, first["content"]))
    return others


def _line(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it wants too much memory"
    return " ".join(str(error).split())[:300] or type(error).__name__


class _Generation(Extension):
    """`{% generation %}` marks what a model said, for training. Here its content is rendered and no more."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own way to declare it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )

    def raise_exception(message: object) -> None:
        raise TemplateError(str(message))

    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    environment.filters["tojson"] = _tojson
    return environment


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without Jinja's escapes for HTML. What stands for other characters is no text yet, and is not escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys)
    return _ESCAPED.sub(lambda found: json.dumps(found[0])[1:-1], text) if ensure_ascii else text
