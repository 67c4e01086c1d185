"""`phitui session` as scripts use it: the real command on a real file."""

import json
import stat
import subprocess
import time

import pytest
from damaged_sessions import killed_while_writing, make_sessions, pages, spoil
from terminal import Console, command, environment

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
    assert second.split("\t")[2:] == ["1 turn", "tiny", "Rivers"]
    assert done(home, "search", "nile") == "1\tRivers\tName a river The Nile.\n"
    assert done(home, "search", "needle").split("\t")[:2] == ["2", "Evil title"]
    assert done(home, "search", "nowhere") == ""
    text = done(home, "show", "2")
    assert "## System\n\nbe brief" in text and "an answer with a needle" in text and "another" not in text
    assert "\x1b" not in text + first


def test_list_as_json_has_what_is_in_the_file(home):
    second, first = json.loads(done(home, "list", "--json"))
    assert (first["id"], first["title"], first["model"], first["turns"]) == (1, "Rivers", "tiny", 1)
    assert first["created_unix_s"] == 1e9 and abs(first["changed_unix_s"] - time.time()) < 3600
    assert (first["system"], first["parameters"]) == ("", {})
    assert (second["title"], second["system"], second["parameters"]) == (
        "Evil\ttitle\x1b[2J", "be brief", {"temperature": 0.9},
    )  # fmt: skip


@pytest.mark.parametrize(("columns", "title"), [(80, "Evil title"), (38, "Evil tit…")])
def test_list_on_a_terminal_is_a_table_that_fits(home, columns, title):
    with Console(command("session", "list"), environment(home), columns, 10, cwd=home) as console:
        assert console.wait_ended() == 0
        lines = console.text().splitlines()[:4]
    assert lines[0].split() == ["id", "changed", "turns", "model", "title"] and lines[3] == ""
    assert [line.split()[0] for line in lines[1:3]] == ["2", "1"]
    at = lines[0].index("title")
    assert [line[at:] for line in lines[1:3]] == [title, "Rivers"]
    assert b"\x1b[2J" not in console.output


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
        ({"parameters": {"temperature": 9}}, "generation.temperature: expected a number from 0 to 5, got 9"),
        ({"parameters": {"nonsense": 1}}, "no such setting"),
        ({"version": 2}, "not a session that phitui exported"),
        ({"leaf": 77}, "leaf 77 is none of the turns"),
    ],
)
def test_what_is_no_session_is_refused_and_nothing_is_brought_in(home, change, said):
    exported = json.loads(done(home, "export", "1", "--json"))
    (home / "in.json").write_text(json.dumps({**exported, **change}))
    assert said in fails(home, "import", str(home / "in.json"))
    assert "there is no such file" in fails(home, "import", str(home / "absent.json"))
    assert len(done(home, "list").splitlines()) == 2


def all_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


READING = (["list"], ["show", "3"], ["export", "4", "--json"], ["search", "needle"])


@pytest.mark.parametrize("damage", ["cut", "text"])
def test_of_a_damaged_file_what_can_be_read_is_shown_and_nothing_is_moved(tmp_path, damage):
    path = tmp_path / "sessions.db"
    make_sessions(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
        if damage == "text":
            file.truncate(0)
            file.write(b"a text\n" * 100)
    before = all_of(tmp_path)
    for words in (*READING, ["rm", "3"]):
        ended = session(tmp_path, *words)
        assert ended.returncode == 1 and "Traceback" not in ended.stderr
        first, *more = ended.stderr.splitlines()
        assert f"{path} is damaged" in first and "phitui session recover" in first
        assert bool(ended.stdout) == (damage == "cut" and words[0] != "rm")
        assert len(more) == (damage == "text" and words[0] in ("show", "export"))
        assert all_of(tmp_path) == before
    assert damage == "text" or len(session(tmp_path, "list").stdout.splitlines()) == 20


def test_reading_makes_nothing(tmp_path):
    listed = session(tmp_path, "list")
    assert (listed.returncode, listed.stdout) == (0, "") and listed.stderr.endswith("To open it: phitui\n")
    assert (done(tmp_path, "list", "--json"), done(tmp_path, "search", "needle")) == ("[]\n", "")
    assert "there is no session 1" in fails(tmp_path, "show", "1")
    assert "nothing was set aside" in done(tmp_path, "recover")
    assert list(tmp_path.iterdir()) == []


def test_recover_brings_back_what_can_be_read_and_keeps_the_damaged_file(tmp_path):
    path = tmp_path / "sessions.db"
    make_sessions(path)
    spoil(path, pages(path) // 2)
    damaged = path.read_bytes()
    said = done(tmp_path, "recover")
    (kept,) = tmp_path.glob("sessions.db.recovered-*")
    assert f"{path}: 20 sessions with 19" in said and "lost: 0 sessions, " in said and str(kept) in said
    assert kept.read_bytes() == damaged
    assert len(done(tmp_path, "list").splitlines()) == 20 and "needle 20-10" in done(tmp_path, "show", "20")
    assert "nothing was set aside" in done(tmp_path, "recover")
    more = done(tmp_path, "recover", str(kept))  # asked for by name: once more, beside what is there
    assert kept.exists() and str(kept) in more
    assert len(done(tmp_path, "list").splitlines()) == 40


def test_recover_leaves_what_has_nothing_in_it_and_says_so(home):
    aside = home / "sessions.db.damaged-20260101-000000"
    aside.write_bytes(b"a text")
    ended = session(home, "recover")
    assert (ended.returncode, ended.stdout) == (1, "") and f"{aside}: nothing in it can be read" in ended.stderr
    assert aside.exists() and len(done(home, "list").splitlines()) == 2
    assert "no such file" in fails(home, "recover", "nowhere")
    assert "is not damaged" in fails(home, "recover", str(home / "sessions.db"))


_READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd / && exec "$@"'
# A disk of its own over the folder, with a copy of what is there, and full.
_FULL = """
mount --bind "$0" /mnt && mount -t tmpfs -o size=900k none "$0" && cp /mnt/sessions.db "$0" && cd "$0"
cat /dev/zero > fill 2>/dev/null
"$@"; ended=$?
cmp -s sessions.db /mnt/sessions.db || echo moved
ls -A | grep -e damaged -e fresh -e recovered; exit $ended
"""


def on_disk(script, home, *words):
    """In a mount namespace of its own; skips where there are none to be had."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(home)]
    try:
        subprocess.run([*unshare[:-2], "mount -t tmpfs none /mnt"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no mounts of one's own here")
    return subprocess.run(
        [*unshare, *command("session", *words)],
        env=environment(home), cwd="/", capture_output=True, timeout=60, text=True,
    )  # fmt: skip


def test_on_a_full_disk_reading_goes_on_and_nothing_is_moved(tmp_path):
    path = tmp_path / "sessions.db"
    make_sessions(path, 3)
    for words in READING[:2]:
        ended = on_disk(_FULL, tmp_path, *words)
        assert (ended.returncode, ended.stderr) == (0, "") and ended.stdout
    ended = on_disk(_FULL, tmp_path, "rm", "1")
    assert (ended.returncode, ended.stderr) == (1, f"phitui: {path}: no space left on the disk at {tmp_path}\n")
    spoil(path, pages(path) // 2)
    ended = on_disk(_FULL, tmp_path, "recover")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "no space left on the disk at " in ended.stderr


@pytest.mark.parametrize("left_by_a_kill", [False, True])
def test_on_a_read_only_disk_reading_goes_on(tmp_path, left_by_a_kill):
    (killed_while_writing if left_by_a_kill else make_sessions)(tmp_path / "sessions.db", 5)
    tmp_path.joinpath("sessions.db-shm").unlink(missing_ok=True)
    for words in READING:
        ended = on_disk(_READ_ONLY, tmp_path, *words)
        assert (ended.returncode, ended.stderr) == (0, "") and ended.stdout
    ended = on_disk(_READ_ONLY, tmp_path, "rm", "3")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"phitui: {tmp_path / 'sessions.db'}: Read-only file system\n"
