"""`phitui session` as scripts use it: the real command on a real file."""

import json
import stat
import subprocess

import pytest
from terminal import command, environment

from phitui.storage.sessions.session_types import KeptTurn
from phitui.storage.sessions.sessions import SessionStore


@pytest.fixture
def home(tmp_path):
    """Two sessions, the second with two branches and parameters of its own."""
    folder = tmp_path / "home"
    store = SessionStore(folder / "sessions.db")
    store.insert("Rivers", "", 1e9, [KeptTurn(id=-1, prompt="Name a river", text="The Nile.", model="tiny")], -1)
    turns = [
        KeptTurn(id=-1, prompt="\x1b[2Jevil", text="an \x1b]0;t\x07answer with a needle", model="tiny"),
        KeptTurn(id=-2, prompt="\x1b[2Jevil", text="another", model="tiny"),
    ]
    store.insert("Evil\ttitle\x1b[2J", "be brief", 1e9, turns, -1, '{"temperature":0.9}')
    store.close()
    return folder


def session(home, *arguments):
    return subprocess.run(
        command("session", *arguments), env=environment(home), cwd=home, capture_output=True, timeout=60, text=True
    )


def done(home, *arguments):
    ended = session(home, *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def fails(home, *arguments):
    ended = session(home, *arguments)
    assert (ended.returncode, ended.stdout) == (2, "") and "Traceback" not in ended.stderr
    return ended.stderr


def test_list_search_and_show_are_safe_lines(home):
    first, second = done(home, "list").splitlines()
    assert first.split("\t")[0] == "2" and first.split("\t")[2:] == ["2 turns", "tiny", "Evil title"]
    assert second.split("\t")[2:] == ["1 turns", "tiny", "Rivers"]
    assert done(home, "search", "nile") == "1\tRivers\tName a river The Nile.\n"
    assert done(home, "search", "needle").split("\t")[:2] == ["2", "Evil title"]
    assert done(home, "search", "nowhere") == ""
    text = done(home, "show", "2")
    assert "## System\n\nbe brief" in text and "an answer with a needle" in text and "another" not in text
    assert "\x1b" not in text + first


def test_export_import_and_rm(home):
    markdown = home / "out.md"
    assert done(home, "export", "2", "-o", str(markdown)) == ""
    assert "needle" in markdown.read_text() and stat.S_IMODE(markdown.stat().st_mode) == 0o600
    assert "is there already" in fails(home, "export", "2", "-o", str(markdown))
    exported = json.loads(done(home, "export", "2", "--json"))
    assert exported["parameters"] == {"temperature": 0.9} and len(exported["turns"]) == 2
    file = home / "in.json"
    file.write_text(json.dumps(exported))
    number = done(home, "import", str(file)).strip()
    again = json.loads(done(home, "export", number, "--json"))
    assert again["parameters"] == exported["parameters"] and again["system"] == "be brief"
    assert [turn["text"] for turn in again["turns"]] == [turn["text"] for turn in exported["turns"]]
    assert done(home, "rm", number) == ""
    assert "there is no session" in fails(home, "show", number)
    assert len(done(home, "list").splitlines()) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parameters": {"temperature": 9}}, "generation.temperature: expected float from 0 to 5, got 9"),
        ({"parameters": {"nonsense": 1}}, "no such setting"),
        ({"version": 2}, "no session that phitui exported"),
        ({"leaf": 77}, "leaf 77 is none of the turns"),
    ],
)
def test_what_is_no_session_is_refused_and_nothing_is_brought_in(home, change, said):
    exported = json.loads(done(home, "export", "1", "--json"))
    (home / "in.json").write_text(json.dumps({**exported, **change}))
    assert said in fails(home, "import", str(home / "in.json"))
    assert "there is no such file" in fails(home, "import", str(home / "absent.json"))
    assert len(done(home, "list").splitlines()) == 2
