"""Makes docs/phitui.1, the man page, from the parser of the command line. `make man` runs it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from argparse_manpage.manpage import Manpage

from phitui import __version__
from phitui.cli.parser import COMMANDS, module_of, parser_of

PAGE = Path(__file__).with_name("phitui.1")
FILES = r"""\fB~/.config/phitui/config.toml\fR
.br
Your settings, where you keep any; XDG_CONFIG_HOME moves it.
.PP
\fB~/.local/share/phitui\fR
.br
Models, sessions, prompts, tunings and logs; XDG_DATA_HOME or PHITUI_HOME moves it."""
EXIT_STATUS = (
    """0 done; 1 the work failed; 2 wrong usage or bad input; 3 engine or hardware not available; 130 interrupted."""
)


def page() -> str:
    """The man page as groff reads it."""
    os.environ["COLUMNS"] = "10000"  # man breaks the lines of usage
    parser = parser_of(COMMANDS)
    examples = [parser.epilog or "", *(module_of(name).EXAMPLES for name in COMMANDS)]
    parser.epilog = None
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            _name_commands(parser, action)
    made = Manpage(
        parser,
        {"description": "run Phi-3 Mini on a GPU: prompt it, watch the hardware", "manual_title": "phitui's manual",
         "date": __version__},
        format="single-commands-section",
    )  # fmt: skip
    made.add_section("examples", ">", _verbatim("\n".join(text.removeprefix("examples:\n") for text in examples)))
    made.add_section("exit status", ">", EXIT_STATUS)
    made.add_section("files", ">", FILES)
    return str(made)


def _name_commands(
    parser: argparse.ArgumentParser, commands: argparse._SubParsersAction[argparse.ArgumentParser]
) -> None:
    """A heading of their own, and what each does once: its line in the help is its description, too."""
    parser._action_groups.append(parser._action_groups.pop(0))
    parser._positionals.title = "commands"
    for one in commands.choices.values():
        one.description = None
        for action in one._actions:
            if isinstance(action, argparse._SubParsersAction):
                for inner in action.choices.values():
                    inner.description = None


def _verbatim(text: str) -> str:
    lines = (line.replace("\\", "\\e").replace("-", "\\-") for line in text.rstrip().splitlines())
    return "\n".join([".nf", *(rf"\&{line}" for line in lines), ".fi"])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE}: read it with man -l {PAGE}")
