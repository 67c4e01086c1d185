"""What README, guide and reference name is there: commands, options, actions, settings, links, pictures."""

import argparse
import re
from functools import lru_cache
from pathlib import Path

import pytest

from phitui.cli.parser import COMMANDS
from phitui.cli.parser import parser_of as parser_with
from phitui.config.schema import SECTIONS
from phitui.tui.commands.chat import register_chat
from phitui.tui.commands.console import register_console
from phitui.tui.commands.registry import Commands
from phitui.tui.keys.catalog import all_actions

ROOT = Path(__file__).resolve().parents[1]
GUIDE = sorted(ROOT.glob("docs/guide/*.md"))
REFERENCE = sorted(ROOT.glob("docs/reference/*.md"))
PAGES = [ROOT / "README.md", *GUIDE, *REFERENCE]
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
README_LINES = 200
SUFFIXES = {"db", "json", "jsonl", "md", "py", "svg", "toml", "txt"}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def named(path):
    return str(path.relative_to(ROOT))


@lru_cache
def text_of(path):
    return path.read_text(encoding="utf-8")


def fences(path):
    """`(language, text)` of each fenced block."""
    return FENCE.findall(text_of(path))


def spans(path):
    """Code spans, outside of the fenced blocks."""
    return [span.replace("\\|", "|") for span in SPAN.findall(FENCE.sub("", text_of(path)))]


def shell_lines(path):
    return [line for language, block in fences(path) if language == "sh" for line in block.splitlines()]


def commands_in(path):
    """Every call of phitui, as words: those of code spans that begin with it, and of the lines of shell blocks."""
    lines = [*spans(path), *shell_lines(path)]
    pieces = [piece for line in lines for piece in re.split(r"\||&&|#|;", line.replace("\\|", " "))]
    return [piece.split() for piece in pieces if re.match(r"\s*(\.venv/bin/)?phitui(\s|$)", piece)]


@lru_cache
def parser_of(command=""):
    """The parser that `phitui COMMAND` has."""
    parser = parser_with({command} if command else ())
    return subparsers(parser)[command] if command else parser


def subparsers(parser):
    """The parsers of its commands or actions by name."""
    found = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0]) if found else {}


def options(parser):
    return {option for action in parser._actions for option in action.option_strings}


@lru_cache
def every_option():
    parsers = [parser_of(name) for name in ("", *COMMANDS)]
    parsers += [sub for parser in parsers[1:] for sub in subparsers(parser).values()]
    return set().union(*map(options, parsers))


def wrong_in(words):
    """What of a call does not exist: a command, an action, an option that is none of the command's."""
    words = [word.strip("\"'[](),…") for word in words[1:]]
    command = next((word for word in words if word in COMMANDS), "")
    plain = next((word for word in words if re.fullmatch(r"[a-z]+", word)), "")
    if not command and plain and not any(word.startswith("-") for word in words[: words.index(plain)]):
        return [plain]
    parser = parser_of(command)
    known = options(parser) | options(parser_of())
    actions = subparsers(parser) if command else {}
    if actions:
        after = words[words.index(command) + 1 :]
        action = next((word for word in after if re.fullmatch(r"[a-z]+", word)), "")
        if action and action not in actions:
            return [f"{command} {action}"]
        known |= options(actions[action]) if action else set()
    return [word for word in words if word.startswith("-") and len(word) > 1 and word.split("=")[0] not in known]


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_commands_with_their_options_exist(path):
    found = {" ".join(words): wrong_in(words) for words in commands_in(path)}
    assert {call: wrong for call, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_options_exist(path):
    texts = [*spans(path), *(line for line in shell_lines(path) if "phitui" in line)]
    found = {option for text in texts for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)}
    assert found - every_option() == set()


def test_every_command_and_option_is_in_the_reference():
    text = text_of(ROOT / "docs" / "reference" / "cli.md")
    for name in COMMANDS:
        assert f"\n## phitui {name}\n" in text
        section = text.split(f"\n## phitui {name}\n")[1].split("\n## ")[0]
        parser = parser_of(name)
        own = set().union(options(parser), *map(options, subparsers(parser).values())) - options(parser_of())
        missing = {one for one in own if not re.search(rf"`{one}[`\s]", section)}
        missing |= {action for action in subparsers(parser) if f"`phitui {name} {action}" not in section}
        assert (name, missing) == (name, set())
    assert {one for one in options(parser_of()) if not re.search(rf"`{one}[`\s]", text)} == set()


class _Anything:
    """Stands for the console: registering asks it for nothing but its methods."""

    def __getattr__(self, name):
        return _Anything()

    def __call__(self, *_):
        return None


@lru_cache
def slash_commands():
    commands = Commands()
    register_console(commands, _Anything())
    register_chat(commands, _Anything())
    return {command.name for command in commands.all()}


def slashes_in(path):
    """What code spans call as a slash command: "/name" alone or with an argument in capitals. Paths have more slashes,
    or are those of a server."""
    found = [re.fullmatch(r"/([a-z]+)( .*)?", span) for span in spans(path)]
    return {match[1] for match in found if match}


SERVERS_PATHS = {"props", "info", "metrics"}


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_slash_commands_exist(path):
    assert slashes_in(path) - slash_commands() - SERVERS_PATHS == set()


def test_every_slash_command_is_in_the_guide():
    assert slash_commands() - slashes_in(ROOT / "docs" / "guide" / "console.md") == set()


@lru_cache
def action_ids():
    return {action.id for action in all_actions()}


@lru_cache
def settings():
    return {f"{section}.{field}" for section, struct in SECTIONS.items() for field in struct.__struct_fields__}


def dotted_in(path):
    """What has the form of an action's id or a setting in a code span, and what a block of TOML has in quotes before =.
    `phitui.tui.keys` and files are not meant."""
    dotted = re.compile(r"(?<![\w./~-])[a-z]+\.[a-z][a-z0-9_]*(?![\w./(-])")
    found = {name for span in spans(path) for name in dotted.findall(span)}
    blocks = [block for language, block in fences(path) if language == "toml"]
    found |= {name for block in blocks for name in re.findall(r'^"([a-z.0-9_]+)" =', block, re.MULTILINE)}
    prefixes = {name.partition(".")[0] for name in action_ids() | settings()}
    return {name for name in found if name.partition(".")[0] in prefixes and name.partition(".")[2] not in SUFFIXES}


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_actions_and_settings_exist(path):
    assert dotted_in(path) - action_ids() - settings() == set()


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=named)
def test_targets_of_make_exist(path):
    makefile = text_of(ROOT / "Makefile")
    calls = [call for call in (*spans(path), *shell_lines(path)) if call.startswith("make ")]
    called = {word for call in calls for word in call.split("#")[0].split()[1:] if re.fullmatch(r"[a-z-]+", word)}
    assert {target for target in called if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()


def headings(path):
    """The anchors of a page, as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def broken(path, link):
    """Whether a link leads nowhere here."""
    target, _, anchor = link.partition("#")
    file = (path.parent / target).resolve() if target else path
    if not file.is_relative_to(ROOT) or not file.exists():
        return True
    return bool(anchor) and file.suffix == ".md" and anchor not in headings(file)


@pytest.mark.parametrize("path", LINKED, ids=named)
def test_links_and_pictures_lead_to_files(path):
    links = [link for link in LINK.findall(FENCE.sub("", text_of(path))) if not re.match(r"https?://", link)]
    assert [link for link in links if broken(path, link)] == []


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=named)
def test_files_that_are_named_are_there(path):
    """Paths of this repository in code spans."""
    tops = "benchmarks|docs|parity|phitui|tests|themes|vllm_tests"
    found = {span for span in spans(path) if re.fullmatch(rf"({tops})/[\w./-]+", span)}
    assert {name for name in found if "NAME" not in name and not (ROOT / name).exists()} == set()


def test_all_pages_are_linked_from_the_readme():
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in LINK.findall(text_of(ROOT / "README.md"))}
    assert {named(path) for path in [*GUIDE, *REFERENCE] if path not in linked} == set()


def test_every_picture_is_shown():
    shown = {(path.parent / link).resolve() for path in LINKED for link in LINK.findall(text_of(path))}
    assert {named(path) for path in (ROOT / "docs" / "pictures").iterdir() if path not in shown} == set()


def test_the_readme_is_short_and_has_the_two_commands():
    text = text_of(ROOT / "README.md")
    assert len(text.splitlines()) <= README_LINES
    assert {"make run", "make test"} <= {line.split("#")[0].strip() for line in shell_lines(ROOT / "README.md")}


def test_there_are_pages():
    assert len(GUIDE) >= 11
    assert len(REFERENCE) >= 3


HOUSE = [ROOT / "CONTRIBUTING.md", ROOT / "docs/ARCHITECTURE.md", ROOT / "docs/METRICS.md"]


@lru_cache
def files_of_the_house():
    """Every file's path as it may be named: whole, or from any folder on."""
    tops = ("phitui", "tests", "benchmarks", "docs", "parity", "themes", "vllm_tests")
    paths = [path.relative_to(ROOT).parts for top in tops for path in (ROOT / top).rglob("*.*")]
    paths += [(path.name,) for path in ROOT.iterdir()]
    return {"/".join(parts[start:]) for parts in paths for start in range(len(parts))}


def dotted_is_there(name):
    """Whether `tui.app.app.PhituiApp` names a module of phitui, or what one defines; True of what is no such name."""
    parts = name.removeprefix("phitui.").split(".")
    if not (ROOT / "phitui" / parts[0]).is_dir():
        # A module by its own name and a class in it, as `lease.Lease`.
        found = [path for path in files_of_the_house() if path == f"{parts[0]}.py"] or not parts[-1][0].isupper()
        return bool(found)
    for end in range(len(parts), 0, -1):
        at = ROOT.joinpath("phitui", *parts[:end])
        if at.is_dir():
            return end == len(parts)
        if (module := at.with_suffix(".py")).is_file():
            words = set(re.findall(r"\w+", text_of(module)))
            return all(part in words for part in parts[end:])
    return False


def is_setting(name):
    section, _, key = name.partition(".")
    return section in SECTIONS and key in SECTIONS[section].__struct_fields__


@pytest.mark.parametrize("path", HOUSE, ids=named)
def test_the_house_is_as_it_is_described(path):
    wrong = []
    for span in spans(path):
        if re.fullmatch(r"[\w/-]+\.(py|c|toml|ini)", span):
            there = span in files_of_the_house() or "NAME" in span
        else:
            other = not re.fullmatch(r"(\w+\.)+\w+", span) or span.rpartition(".")[2] in SUFFIXES
            there = other or is_setting(span) or dotted_is_there(span)
        if not there:
            wrong.append(span)
    assert wrong == []
