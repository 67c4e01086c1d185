"""The tuner in the real console, from its key to the file that it writes."""

import os
import re
import signal

import psutil
import pytest
from terminal import wait_until

pytestmark = pytest.mark.terminal

F3, ESC, ENTER, TAB, CTRL_Q = "\x1bOR", "\x1b", "\r", "\t", "\x11"
FORM = "120" + TAB + "16" + TAB + "200MB" + TAB + TAB + "4" + ENTER


def started(open_console, columns=120, rows=40):
    console = open_console("--model", "tiny-phi3", "--device", "cpu", columns=columns, rows=rows)
    console.wait_for("is ready on")
    console.send(F3)
    console.wait_for("no tuning has been kept yet")
    console.send("s")
    console.wait_for("Enter starts")
    console.send(FORM)
    console.wait_for(r"Probe \d+: \d+ rows? × ")
    return console


def test_start_see_points_cancel_start_again_apply(open_console, home):
    settings = home / "config" / "phitui" / "config.toml"
    settings.write_text("# kept\n" + settings.read_text())
    console = started(open_console)
    console.wait_for(r"●")  # a point has been measured
    console.wait_for(r"(?m)^ +1 1×1 int8_float32 .* ok")
    console.send("c")
    console.wait_for("The tuning was cancelled.")
    console.wait_for(r"cancelled +\d+:\d\d")  # the engine is back
    console.send("s")
    console.wait_for("200MB")  # as it was filled in
    console.send(ENTER)
    console.wait_for("Done. a writes the answer", 120)
    best = int(console.wait_for(r"B\* +(\d+) rows?, the fastest")[1])
    console.wait_for(r"done +\d+:\d\d")  # the engine is back
    console.send("a")
    console.wait_for(rf"engine\.batch = {best}\b")
    console.send("y")
    console.wait_for(r"Written\.")
    text = settings.read_text()
    assert text.startswith("# kept\n")
    assert re.search(rf"^batch = {best}$", text, re.MULTILINE)
    console.send(ESC)
    console.wait_for("φ phitui  Tiny Phi-3")
    console.send("hello" + ENTER)
    console.wait_for(r"\d+ tokens? · ")
    console.send(CTRL_Q)
    assert console.wait_ended() == 0
    assert console.terminal_restored()


@pytest.mark.parametrize("way", ["key", "hangup"])
def test_the_end_of_the_console_is_the_end_of_its_tuning(open_console, way):
    console = started(open_console, 80, 24)
    family = console.family()
    assert any("phitui.engine.worker.worker" in " ".join(process.cmdline()) for process in family)
    if way == "key":
        console.send(CTRL_Q)
        assert console.wait_ended() == 0
        assert console.terminal_restored()
    else:
        os.kill(console.process.pid, signal.SIGHUP)
        assert console.wait_ended() == 128 + signal.SIGHUP
    assert wait_until(lambda: not any(_lives(process) for process in family), 10)


def _lives(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
