"""The command line before any command runs: helps, their examples, and options."""

import re
import shlex

import pytest

from phitui.cli.parser import COMMANDS, parse, parser_of
from phitui.core.errors import UsageError


def help_of(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        parse([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def examples_in(text):
    """The calls of phitui below "examples:", as words: up to a pipe, a redirection, or what explains them."""
    lines = text.partition("\nexamples:\n")[2].splitlines()
    calls = [re.sub(r"( {2,}(?=\S)| \| (?!phitui)| >>? ).*", "", line.strip()) for line in lines]
    return [shlex.split(call.rpartition("| ")[2]) for call in calls if "phitui" in call]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_help_fits_80_columns_and_has_examples_that_can_be_run(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of(capsys, *[command][: bool(command)])
    calls = examples_in(text)
    assert calls
    for words in calls:
        assert words[0] == "phitui"
        assert command in ("", parse(words[1:]).command)
    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_helps_keep_their_case(capsys):
    assert "Watch the GPUs and their processes: screen, text, JSON, recordings." in help_of(capsys, "monitor")
    assert "Print a session as text" in help_of(capsys, "session", "show")


ENGINE = {"model": "x", "engine": "x", "device": "cpu", "compute_type": "x"}
NO_ENGINE = [
    (words, name) for words in (["keys"], ["session", "list"], ["model", "list"], ["monitor"]) for name in ENGINE
]


def flag(name):
    return "--" + name.replace("_", "-")


@pytest.mark.parametrize(("words", "name"), [*NO_ENGINE, (["ask", "hi"], "theme"), (["doctor"], "compute_type")])
def test_an_option_that_would_do_nothing_is_refused(words, name):
    option = [flag(name), ENGINE.get(name, "nord")]
    with pytest.raises(UsageError, match=f"^{words[0]}: {flag(name)} does nothing here. Leave it out$"):
        parse([*option, *words])
    with pytest.raises(UsageError, match=f"^{words[0]}: unrecognized arguments: .*See phitui {words[0]} --help$"):
        parse([*words, *option])


@pytest.mark.parametrize("words", [["ask", "hi"], ["tune"], ["bench"], ["batch", "in", "-o", "out"]])
def test_options_of_the_engine_stand_before_or_after_the_command(words):
    options = [word for name, value in ENGINE.items() for word in (flag(name), value)]
    assert vars(parse([*options, *words])) == vars(parse([*words, *options]))
    assert ENGINE.items() <= vars(parse([*words, *options])).items()


def test_the_configuration_is_named_before_or_after_a_command_and_its_action():
    calls = [["--config", "f", "session", "list"], ["session", "--config", "f", "list"]]
    calls += [
        ["session", "list", "--config", "f"],
        *([name, "--config", "f"] for name in ("keys", "monitor", "doctor")),
    ]
    assert {str(parse(words).config) for words in calls} == {"f"}


def test_only_the_command_that_is_called_is_imported():
    import subprocess
    import sys

    code = "import sys; from phitui.cli.parser import parse; parse(['keys']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = {name.rpartition(".")[2] for name in done.stdout.split() if name.startswith("phitui.cli.")}
    assert found & set(COMMANDS) == {"keys"}


def test_an_option_may_have_the_name_of_a_command_as_its_value():
    args = parse(["--model", "bench", "ask", "--max-tokens", "3", "tune"])
    assert (args.command, args.model, args.max_tokens, args.prompt) == ("ask", "bench", 3, "tune")


def test_the_console_takes_all_of_them():
    assert set(ENGINE) | {"theme", "config"} <= {action.dest for action in parser_of(())._actions}


def told(words):
    with pytest.raises(UsageError) as wrong:
        parse(words)
    return str(wrong.value)


ASK = 'To ask a model: phitui ask "…". phitui --help lists all'


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["What is a KV cache?"], f"there is no command 'What is a KV cache?'. {ASK}"),
        (["What", "is", "it"], f"there is no command 'What'. {ASK}"),
        (
            ["ask", "What", "is", "it"],
            "ask: unrecognized arguments: is it. Put words that belong together in quotes. See phitui ask --help",
        ),
        (["two\nlines"], f"there is no command 'two lines'. {ASK}"),
        (["ask me"], f"there is no command 'ask me'. {ASK}"),
        (["moniter", "--once"], "there is no command 'moniter'. Did you mean monitor? phitui --help lists all"),
        (["model", "lst"], "model: there is no action 'lst'. Did you mean list? phitui model --help lists all"),
        (["session", "dance"], "session: there is no action 'dance'. phitui session --help lists all"),
    ],
)
def test_what_is_no_command_may_be_a_prompt_or_misspelt(words, says):
    assert told(words) == says
