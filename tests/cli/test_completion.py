"""`phitui completion` in the shell that it is for."""

import subprocess

import pytest
from terminal import command, environment

from phitui.cli.parser import COMMANDS

# Asks as bash does at Tab after the words in "$@".
_TAB = """
source phitui.bash && complete -p phitui >&2
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_shtab_phitui "$1" "${COMP_WORDS[COMP_CWORD]}" && printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(home, shell):
    done = subprocess.run(
        command("completion", shell), env=environment(home), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["mod"], ["model"]),
        ([""], list(COMMANDS)),
        (["model", "p"], ["pull"]),
        (["ask", "--max"], ["--max-tokens"]),
        (["keys", "--mod"], []),
        (["--device", ""], ["auto", "cuda", "cpu"]),
        (["--device", "cpu", "ask", "--j"], ["--json"]),
        (["batch", "in"], ["in.jsonl"]),
        (["batch", "in.jsonl", "-o", ""], ["in.jsonl", "phitui.bash"]),
        (["completion", "f"], ["fish"]),
    ],
    ids=" ".join,
)
def test_bash_completes(home, tmp_path, words, completed):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "in.jsonl").touch()
    (folder / "phitui.bash").write_text(script(home, "bash"))
    asked = ["bash", "--norc", "-c", _TAB, "bash", "phitui", *words]
    done = subprocess.run(asked, cwd=folder, env=environment(home), capture_output=True, text=True, timeout=60)
    assert "-F _shtab_phitui phitui" in done.stderr
    assert sorted(done.stdout.split()) == sorted(completed)


@pytest.mark.parametrize(("shell", "sign"), [("zsh", "#compdef phitui\n"), ("fish", "complete -c phitui ")])
def test_the_other_shells_get_a_script_of_their_own(home, shell, sign):
    text = script(home, shell)
    assert sign in text and all(f" {name}" in text or f'"{name}' in text for name in COMMANDS)


def test_it_needs_no_configuration(home):
    (home / "config" / "phitui" / "config.toml").write_text("not TOML")
    assert script(home, "bash")
