"""The parameters of a chat: those of config.toml, and what it has of its own. From text, checked as config.toml is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin

import msgspec
from msgspec.structs import replace

from phitui.config.schema import GenerationSettings, check_layer, expected, nearest
from phitui.core.errors import PhituiError, UsageError
from phitui.core.text import one_line
from phitui.engine.protocol.api import Loaded
from phitui.engine.protocol.capabilities import PARAMETERS, supported_parameters
from phitui.workbench.chat.chat import Chat
from phitui.workbench.start import sampling

SYSTEM = "system"
_KINDS = {field.name: field.type for field in msgspec.structs.fields(GenerationSettings)}
_ESCAPES = {"n": "\n", "t": "\t", ",": ",", "\\": "\\"}


class Parameters:
    """Those of `chat`, which takes them for the next prompt. `on_change` is called after each change of `own`, which
    are the ones that differ from config.toml, by name."""

    def __init__(self, config: GenerationSettings, chat: Chat) -> None:
        self.config = config
        self.own: dict[str, Any] = {}
        self.on_change: Callable[[], None] = lambda: None
        self._chat = chat

    @property
    def now(self) -> GenerationSettings:
        """All of them, as they hold for the next prompt."""
        return replace(self.config, **self.own)

    def offered(self, loaded: Loaded | None) -> tuple[str, ...]:
        """Which of them the engine honours."""
        return supported_parameters(loaded)

    def set(self, name: str, text: str, loaded: Loaded | None = None) -> str:
        """Take a parameter from text; returns a line that says what holds now.

        Raises UsageError for a name or a value that is none, and for a parameter that the engine does not honour.
        """
        key = _named(name)
        if loaded is not None and key not in (*self.offered(loaded), SYSTEM):
            raise UsageError(f"{loaded.title} ignores {key}", f"It takes {', '.join(self.offered(loaded))}")
        self._take({**self.own, key: check(key, parse(key, text))})
        return self.line(key)

    def set_system(self, text: str) -> None:
        """Take a system prompt; "" is none. Raises UsageError where it is no text."""
        self._take({**self.own, SYSTEM: check(SYSTEM, text)})

    def reset(self, name: str | None = None) -> None:
        """As config.toml has it: all of them, or one. Raises UsageError for a name that is none."""
        key = _named(name) if name is not None else None
        self._take({} if key is None else {other: value for other, value in self.own.items() if other != key})

    def adopt(self, own: Mapping[str, Any]) -> str:
        """Take those that a session was kept with; returns "" or which of them cannot be taken any more."""
        good, bad = {}, []
        for name, value in own.items():
            try:
                good[name] = check(name, value)
            except UsageError as error:
                bad.append(str(error))
        self._take(good, tell=False)
        return "; ".join(bad)

    def line(self, name: str) -> str:
        """A parameter and its value, with that of config.toml where it differs."""
        value = f"{name} {shown(getattr(self.now, name))}"
        return f"{value} (config.toml: {shown(getattr(self.config, name))})" if name in self.own else value

    def _take(self, own: dict[str, Any], tell: bool = True) -> None:
        self.own = {name: value for name, value in own.items() if value != getattr(self.config, name)}
        self._chat.sampling, self._chat.system = sampling(self.now), self.now.system
        if tell:
            self.on_change()


def _named(name: str) -> str:
    key = name.strip().lower().replace("-", "_")
    if key in (*PARAMETERS, SYSTEM):
        return key
    near = nearest(key, (*PARAMETERS, SYSTEM))
    hint = f"Did you mean {near}?" if near else f"There is {', '.join(PARAMETERS)}"
    raise UsageError(f"{one_line(name, 40)}: no such parameter", hint)


def check(name: str, value: Any) -> Any:
    """A value within the limits of config.toml. Raises UsageError."""
    try:
        checked = check_layer({"generation": {name: value}}, "")["generation"][name]
        msgspec.json.encode(value)
    except UnicodeEncodeError as error:
        raise UsageError(f"{name}: this is not valid UTF-8") from error
    except PhituiError as error:
        raise UsageError(str(error).removeprefix(": generation.")) from error
    return checked


def limits(name: str) -> str:
    """Which values a parameter may have, in words."""
    if name == "stop":
        return r"comma-separated; \n: line end"
    return expected(_KINDS[name]).removeprefix("a whole number ").removeprefix("a number ").removeprefix("from ")


def parse(name: str, text: str) -> Any:
    """The value that a person has typed. Raises UsageError where it is not of its kind."""
    kind = _KINDS[name]
    base = get_args(kind)[0] if get_args(kind) else kind
    if get_origin(base) is tuple:
        return split_stops(text)
    if base is str:
        return text
    try:
        return base(text.strip()) if len(text) < 100 else text
    except ValueError:
        return text.strip()  # refused by the check, with what is expected


def split_stops(text: str) -> list[str]:
    r"""Stop strings as they are typed: commas between them; `\,` is a comma, `\n` a line end, `\t` a tab, `\\` a
    backslash. Blanks around them do not count."""
    parts = [part.strip(" ") for part in re.findall(r"(?:\\.|[^,\\]|\\$)+", text)]
    return [re.sub(r"\\([nt,\\])", lambda match: _ESCAPES[match[1]], part) for part in parts if part]


def shown(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, tuple):
        return ", ".join(
            stop.replace("\\", "\\\\").replace("\n", r"\n").replace("\t", r"\t").replace(",", r"\,") for stop in value
        )
    return str(value)
