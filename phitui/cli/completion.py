"""`phitui completion`: what a shell needs so that Tab completes phitui's commands, options and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from phitui.cli.output import write
from phitui.cli.parser import COMMANDS, parser_of
from phitui.core.errors import ExitCode

EXAMPLES = """\
  phitui completion bash > ~/.local/share/bash-completion/completions/phitui
  phitui completion zsh > ~/.zfunc/_phitui     where fpath has ~/.zfunc
  phitui completion fish > ~/.config/fish/completions/phitui.fish
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")


def run(args: argparse.Namespace) -> int:
    """Print the shell's script and return 0. It has all words in it: no Tab starts phitui."""
    import shtab

    parser = parser_of(COMMANDS)
    for action in _actions(parser):
        if action.type is Path or "jsonl" in str(action.metavar):
            vars(action)["complete"] = shtab.FILE
    write(shtab.complete(parser, args.shell) + "\n")
    return int(ExitCode.DONE)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every option and argument, of the commands' and their actions', too."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _actions(sub)
