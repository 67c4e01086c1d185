"""The commands there are: found by name, completed, run."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from phitui.config.schema import nearest
from phitui.core.errors import PhituiError, UsageError
from phitui.core.text import one_line
from phitui.tui.widgets.completion import Suggestion

# "/usr/bin" and "/ x" are text.
_COMMAND = re.compile(r"/([A-Za-z][A-Za-z0-9-]*)(?:[ \t]+(.*))?\Z", re.DOTALL)
_MOST_CHOICES = 200


# Gets the argument as far as it is typed. Runs in a thread: it may read a folder. Raises PhituiError where it cannot.
Complete = Callable[[str], Iterable[Suggestion]]
# Gets the argument, "" where there is none. Raises PhituiError where it cannot be done. What it returns is awaited.
Run = Callable[[str], Awaitable[None] | None]


@dataclass(frozen=True)
class Command:
    """`argument` is how help shows it: "PATH", "[NAME]"; empty where it takes none."""

    name: str
    summary: str
    complete: Complete | None
    run: Run
    argument: str = ""

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.argument}".rstrip()


def nothing(typed: str) -> Iterable[Suggestion]:
    """Completes nothing: the argument is free text."""
    del typed
    return ()


class Commands:
    """A registry. Others add theirs with `register`."""

    def __init__(self) -> None:
        self._commands: dict[str, Command] = {}

    def register(self, name: str, summary: str, complete: Complete | None, run: Run, argument: str = "") -> None:
        """Add /name. `complete` None: it takes no argument, and refuses one. A name that is there is replaced."""
        self._commands[name] = Command(name, summary, complete, run, argument)

    def all(self) -> list[Command]:
        """By name."""
        return [self._commands[name] for name in sorted(self._commands)]

    def find(self, name: str) -> Command:
        """The command of this name, or the only one that begins so. Raises UsageError with the nearest."""
        wanted = name.lower()
        found = [self._commands[wanted]] if wanted in self._commands else []
        found = found or [one for one in self.all() if one.name.startswith(wanted)]
        if len(found) == 1:
            return found[0]
        near = " or ".join(f"/{one.name}" for one in found[:4])
        near = near or "".join(f"/{one}" for one in [nearest(wanted, self._commands)] if one)
        hint = f"Did you mean {near}?" if near else "/help lists all."
        raise UsageError(f"there is no command /{one_line(name, 40)}", f"{hint} //text sends text that begins with /")

    def run(self, text: str) -> Awaitable[None] | None:
        """Run a line that `is_command`. Raises PhituiError."""
        match = _COMMAND.match(text.strip())
        if match is None:
            raise UsageError("this is not a command")
        command, argument = self.find(match[1]), (match[2] or "").strip()
        if command.complete is None and argument:
            raise UsageError(f"/{command.name} takes no argument")
        return command.run(argument)

    def names(self, text: str) -> list[Suggestion]:
        """What a line without an argument can become."""
        begun = text[1:].lower()
        return [Suggestion(f"/{one.name}", one.summary) for one in self.all() if one.name.startswith(begun)]

    def arguments(self, text: str) -> list[Suggestion]:
        """What a line with (the beginning of) an argument can become, nothing where that cannot be known: Enter says
        why. May read files: not on the event loop."""
        name, _, argument = text[1:].partition(" ")
        command = self._commands.get(name.lower())
        if command is None or command.complete is None:
            return []
        try:
            found = islice(command.complete(argument.lstrip()), _MOST_CHOICES)
            return [Suggestion(f"/{name} {one.text}", one.about) for one in found]
        except PhituiError:
            return []


def is_command(text: str) -> bool:
    """Whether a prompt is meant as a command: /name at its beginning, not //."""
    return _COMMAND.match(text.strip()) is not None


def plain(text: str) -> str:
    """A prompt as it is sent: //text without its first slash."""
    stripped = text.lstrip()
    return stripped[1:] if stripped.startswith("//") else text


def fitting(names: Iterable[tuple[str, str]]) -> Complete:
    """Completes names of a list `(name, about)`: those that begin as typed, then those that have it in them."""
    listed = list(names)

    def complete(typed: str) -> Iterable[Suggestion]:
        begun = [Suggestion(*one) for one in listed if one[0].lower().startswith(typed.lower())]
        return begun + [
            Suggestion(*one) for one in listed if typed.lower() in one[0].lower() and Suggestion(*one) not in begun
        ]

    return complete
