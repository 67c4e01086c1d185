"""The man page in docs has every command, option and example that the parser has, and no other."""

import argparse
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from phitui.cli.parser import COMMANDS, module_of, parser_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "phitui.1"
AGAIN = "make man writes it anew"


def plain():
    """The page's text in one line: without the marks of roff."""
    text = PAGE.read_text(encoding="utf-8")
    text = re.sub(r"\\f[BIR]|\\,|\\/|\\&", "", text).replace(r"\-", "-").replace(r"\e", "\\")
    return " ".join(text.split())


def parsers(parser):
    """A parser, and those of its commands and their actions."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from parsers(inner)


def test_every_command_and_option_is_in_it():
    text = plain()
    every = list(parsers(parser_of(COMMANDS)))
    assert len(every) > len(COMMANDS) + 5  # the actions of session and model, too
    for parser in every:
        assert f"{parser.prog} [-h]" in text, (parser.prog, AGAIN)
        for action in parser._actions:
            if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
                continue
            for option in action.option_strings:
                assert option in text, (parser.prog, option, AGAIN)
            told = " ".join((action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%").split())
            assert told and told in text, (parser.prog, action.dest, AGAIN)
    known = {option for parser in every for action in parser._actions for option in action.option_strings}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) <= known, AGAIN


def test_every_example_is_in_it():
    text = plain()
    for name in COMMANDS:
        assert " ".join(module_of(name).EXAMPLES.split()) in text, (name, AGAIN)


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here")
def test_groff_finds_nothing_wrong_with_it():
    made = subprocess.run(
        ["groff", "-man", "-Tutf8", "-P-cbou", "-ww", "-k", PAGE], capture_output=True, text=True, timeout=60
    )
    assert made.returncode == 0 and made.stderr == ""
    assert "EXIT STATUS" in made.stdout
