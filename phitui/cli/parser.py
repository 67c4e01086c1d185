"""The command line as argparse knows it: which commands there are, and the options that several of them have."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from phitui import __version__
from phitui.cli.output import write
from phitui.config.schema import nearest
from phitui.core.errors import UsageError
from phitui.core.text import one_line

# What several commands have, by the name in the parsed arguments.
_OPTIONS: dict[str, dict[str, Any]] = {
    "model": {"metavar": "NAME|DIR", "help": "a model in the store, or a folder with a converted model"},
    "engine": {
        "metavar": "ct2|NAME|URL",
        "help": "ct2 (on this machine), or a server: its name in config.toml, or its URL",
    },
    "device": {"choices": ("auto", "cuda", "cpu"), "help": "where to compute; auto takes the GPU where there is one"},
    "compute_type": {"metavar": "TYPE", "help": "the numbers to compute with: auto, int8, int8_float16, float16, …"},
    "theme": {"metavar": "NAME", "help": "the console's colours"},
    "config": {"metavar": "FILE", "type": Path, "help": "a configuration file that goes before your own"},
}
_RUNNING = ("model", "engine", "device", "compute_type", "config")


class Command(NamedTuple):
    """`about` is its line in the help; `options` are those of several commands that change what it does."""

    about: str
    options: tuple[str, ...] = ("config",)


# Name: the module in phitui.cli that has it. A module is imported when its command runs.
COMMANDS = {
    "ask": Command("answer one prompt on stdout", _RUNNING),
    "batch": Command("run files of prompts, with one line of output for each prompt", _RUNNING),
    "tune": Command("find the fastest batch and configuration for this machine", _RUNNING),
    "bench": Command("measure throughput and latencies at several batch sizes; compare two results", _RUNNING),
    "session": Command("list, show, search, export, import, remove and recover sessions"),
    "model": Command("list, pull, convert, verify and remove models"),
    "monitor": Command("watch the GPUs and their processes: screen, text, JSON, recordings", ("theme", "config")),
    "keys": Command("list all actions with their ids, keys and defaults"),
    "doctor": Command(
        "check this installation and machine, and say how to fix what is wrong",
        ("model", "engine", "device", "config"),
    ),
    "completion": Command("print a script that makes Tab complete phitui's commands in your shell", ()),
}
_EXAMPLES = """examples:
  phitui                                   open the console
  phitui ask "What is a KV cache?"         one answer on stdout
  git diff | phitui ask -s "Review this." -
  phitui batch in.jsonl -o out.jsonl       many prompts, one answer a line
  phitui --engine http://127.0.0.1:8000    the console on a server's engine
  phitui doctor                            what is missing on this machine
"""


class Parser(argparse.ArgumentParser):
    """Wrong usage is one line and exit code 2; help that cannot be written is an error, too."""

    def _print_message(self, message: str, file: object = None) -> None:
        del file  # stdout: errors are raised
        write(message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            raise self._no_such(value, action.choices)
        super()._check_value(action, value)

    def _no_such(self, name: str, known: Collection[str]) -> UsageError:
        """Of a command or action that there is not: which may be meant, or that it may be a prompt."""
        command = self.prog.partition(" ")[2]
        near = None if " " in name else nearest(name, known)
        ask = "" if command else 'To ask a model: phitui ask "…".'
        told = _told(command, f"there is no {'action' if command else 'command'} {one_line(name, 60)!r}")
        return UsageError(told, f"{f'Did you mean {near}?' if near else ask} {self.prog} --help lists all".lstrip())

    def error(self, message: str) -> NoReturn:
        command = self.prog.partition(" ")[2]
        raise UsageError(_told(command, message), _see(command))


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line's arguments. Raises UsageError for what is wrong with them."""
    parser = parser_of(COMMANDS.keys() & arguments)  # the command is one of these; others may be an option's value
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        quotes = "" if any(word.startswith("-") for word in unknown) else "Put words that belong together in quotes. "
        fix = f"{quotes}{_see(args.command)}"
        raise UsageError(_told(args.command, f"unrecognized arguments: {one_line(' '.join(unknown), 200)}"), fix)
    if args.command:
        idle = [name for name in _OPTIONS if hasattr(args, name) and name not in COMMANDS[args.command].options]
        if idle:
            raise UsageError(_told(args.command, f"{_flag(idle[0])} does nothing here"), "Leave it out")
    return args


def _told(command: str | None, message: str) -> str:
    return f"{command}: {message}" if command else message  # the line begins with "phitui: " anyway


def _see(command: str | None) -> str:
    return f"See phitui {command} --help" if command else "See phitui --help"


def parser_of(known: Collection[str]) -> Parser:
    """The parser, with all that the commands in `known` take: only their modules are imported."""
    parser = Parser(
        prog="phitui",
        parents=[_common(_OPTIONS)],
        description="A console for running Phi-3 Mini on a GPU: prompt it, watch the hardware.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--resume",
        dest="session",
        metavar="ID",
        nargs="?",
        type=int,
        const=0,
        help="continue a session; without ID the newest one",
    )
    parser.add_argument("--version", action="version", version=f"phitui {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for name, command in COMMANDS.items():
        sub = _add(commands.add_parser, command.options, name, command.about)
        if name in known:
            module = module_of(name)
            sub.epilog = f"examples:\n{module.EXAMPLES}"
            module.add_arguments(sub)
    return parser


def actions_of(parser: argparse.ArgumentParser) -> Callable[[str, str], argparse.ArgumentParser]:
    """How a command adds actions of its own: a function of an action's name and its line in the help."""
    return partial(_add, parser.add_subparsers(dest="action", metavar="ACTION", required=True).add_parser, ("config",))


def module_of(command: str) -> Any:
    """The module of phitui.cli that has a command."""
    return importlib.import_module(f"phitui.cli.{command}")


def _add(
    add_parser: Callable[..., argparse.ArgumentParser], options: Collection[str], name: str, about: str
) -> argparse.ArgumentParser:
    return add_parser(
        name,
        parents=[_common(options)],
        help=about,
        description=f"{about[:1].upper()}{about[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _common(names: Collection[str]) -> Parser:
    """Options that may stand before or after the command: what is not given leaves no trace."""
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    for name in names:
        common.add_argument(_flag(name), **_OPTIONS[name])
    return common


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
