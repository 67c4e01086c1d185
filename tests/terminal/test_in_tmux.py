"""The ten flows that a day with the console is made of, in a real tmux."""

import json
import re
import shutil
import sqlite3

import pytest
from terminal import command, environment, wait_until
from tmux_pane import AT_PROMPT, Pane

pytestmark = [
    pytest.mark.terminal,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]

FIGURES = r"\d+ tokens? · [\d.]+ tok/s"
CAPITAL = "What is the capital of France?"


@pytest.fixture
def pane(home, request):
    with Pane(home, environment(home), *request.param) as one:
        yield one


def started(pane, *arguments):
    """The console in the pane; returns the state of the terminal before."""
    before = pane.state()
    pane.run(command(*arguments))
    pane.wait_for("is ready on")
    return before


def left(pane, before):
    """Quit; the shell has its terminal back as it was, and no process of the console is left."""
    pane.keys("C-q")
    pane.wait_for(AT_PROMPT)
    assert wait_until(lambda: pane.state() == before, 60), (pane.state(), before)
    assert not pane.shell.children(recursive=True)
    assert "Traceback" not in pane.text()


@pytest.mark.parametrize("pane", [(80, 24)], ids=["80x24"], indirect=True)
def test_prompts_stop_new_chat_sessions_and_parameters(pane, home):
    before = started(pane)
    # A prompt, its answer and the figures.
    pane.type(CAPITAL)
    pane.keys("Enter")
    pane.wait_for(rf"▌ What is the capital of France\?[\s\S]*{FIGURES}")
    pane.wait_for(r"context \d+")
    # A prompt of several lines; its answer is stopped.
    pane.type("Tell me a very long story")
    pane.keys("C-j")
    pane.type("about a lighthouse and all who lived in it.")
    pane.wait_for(r"│ Tell me a very long story.*\n.*│ about a lighthouse")
    pane.keys("Enter")
    pane.wait_for(r"answering · \d{2,} tokens")
    pane.keys("Escape")
    pane.wait_for(r"tokens?\s+· stopped")
    # A new chat begins from nothing.
    pane.keys("C-n")
    wait_until(lambda: "▌" not in pane.text(), 60)
    assert "▌" not in pane.text()
    # A parameter of this chat.
    pane.keys("F7")
    pane.wait_for("System prompt · default")
    pane.keys(*["Tab"] * 5, "7")
    pane.wait_for(r"max tokens +7 ")
    pane.keys("Escape")
    pane.wait_for("Ask something")
    pane.type("Count to one hundred.")
    pane.keys("Enter")
    pane.wait_for(rf"▌ Count to one hundred[\s\S]*{FIGURES}")
    # Sessions: one is searched and resumed.
    pane.keys("F6")
    pane.wait_for("Sessions · 2")
    pane.type("/capital")
    pane.wait_for("Sessions · 1 of 2 found")
    pane.keys("Enter")
    pane.wait_for(r"▌ What is the capital of France\?[\s\S]*Ask something")
    left(pane, before)
    with sqlite3.connect(f"file:{home / 'sessions.db'}?mode=ro", uri=True) as kept:
        turns = kept.execute("SELECT prompt, state, reason, tokens FROM turn ORDER BY id").fetchall()
    assert [turn[0].split()[0] for turn in turns] == ["What", "Tell", "Count"]
    assert turns[1][2] == "cancelled" and 1 <= turns[2][3] <= 7


@pytest.mark.parametrize("pane", [(120, 40)], ids=["120x40"], indirect=True)
def test_models_tuner_monitor_batch_palette_and_resize(pane, home):
    (home / "rows.jsonl").write_text(
        "".join(json.dumps({"id": n, "prompt": f"Row {n}", "max_tokens": 4}) + "\n" for n in range(3))
    )
    before = started(pane)
    # Another model.
    pane.keys("F2")
    pane.wait_for("● smollm2-135m ")
    pane.keys("Down", "Enter")
    pane.wait_for("φ phitui  Tiny Phi-3 · ")
    # The tuner, and back.
    pane.keys("F3")
    pane.wait_for("no tuning has been kept yet")
    pane.keys("Escape")
    pane.wait_for("Ask something")
    # The monitor, and back.
    pane.keys("F4")
    pane.wait_for(r"Processes \d")
    pane.keys("F4")
    pane.wait_for("Ask something")
    # A file of prompts, to its end.
    pane.keys("F5")
    pane.wait_for("No file yet")
    pane.keys("a")
    pane.wait_for("A file of prompts: JSON Lines")
    pane.type("rows.jsonl")
    pane.keys("Enter")
    pane.wait_for(r"complete +3/3 ")
    answers = [json.loads(line) for line in (home / "rows-answers.jsonl").read_text().splitlines()]
    assert sorted(answer["id"] for answer in answers) == [0, 1, 2]
    pane.keys("Escape")
    pane.wait_for("Ask something")
    # The palette changes the theme.
    colours = pane.colours()
    pane.keys("C-p")
    pane.wait_for("Search for commands")
    pane.type("Theme: phitui-light")
    pane.wait_for("Theme: phitui-light[\\s\\S]*Theme: phitui-light")  # typed, and found
    wait_until(lambda: False, 0.5)  # the first find is highlighted behind the keys
    pane.keys("Enter")
    settings = home / "config" / "phitui" / "config.toml"
    assert wait_until(lambda: 'name = "phitui-light"' in settings.read_text(), 60), pane.text()
    pane.wait_for("│ Ask something")
    assert wait_until(lambda: pane.colours() - colours, 60)
    # Narrow, the gauges are one line; wide again, a column.
    pane.resize(80, 24)
    pane.wait_for(r"CPU +\d+ %.*RAM ")
    pane.resize(120, 40)
    wait_until(lambda: not re.search(r"CPU +\d+ %.*RAM ", pane.text()), 60)
    pane.wait_for(r"RAM +[\d.]+ ?/ ?[\d.]+ GiB")
    left(pane, before)
