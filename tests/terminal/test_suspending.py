"""Ctrl-Z is the shell's, and the draft survives it."""

import shutil

import pytest
from terminal import command, environment
from tmux_pane import AT_PROMPT, Pane

pytestmark = pytest.mark.terminal
CTRL_Q = "\x11"


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_ctrl_z_goes_to_the_shell_and_fg_comes_back(home):
    with Pane(home, environment(home), 80, 24) as pane:
        pane.run(command())
        pane.wait_for("is ready on")
        pane.type("my draft")
        pane.wait_for("│ my draft")
        pane.keys("C-z")
        pane.wait_for(AT_PROMPT)
        pane.type("stty -a | grep -c ' icanon'; jobs")
        pane.keys("Enter")
        pane.wait_for(r"(?s)\n1\n.*(Stopped|suspended)")
        pane.type("fg")
        pane.keys("Enter")
        pane.wait_for(r"│ my draft")
        pane.type(" goes on")
        pane.wait_for(r"│ my draft goes on")
        pane.keys("C-q")
        pane.wait_for(AT_PROMPT)


def test_ctrl_z_where_no_shell_waits(home, open_console):
    console = open_console()
    console.wait_for("is ready on")
    console.send("my draft\x1a")
    console.wait_for("Not suspended")
    assert "my draft" in console.text()
    console.send(CTRL_Q)
    assert console.wait_ended() == 0
