"""End to end, as a person sees it: keys in, screen out, and nothing left behind."""

import os
import re
import signal

import psutil
import pytest
from terminal import Console, command, environment, wait_until

pytestmark = pytest.mark.terminal

CTRL_C, CTRL_J, CTRL_N, CTRL_Q, CTRL_T, CTRL_U = "\x03", "\n", "\x0e", "\x11", "\x14", "\x15"
ESC, ENTER, UP = "\x1b", "\r", "\x1b[A"
STORY = "Tell me a very long story about a lighthouse."
TINY = ("--model", "tiny-phi3")  # where it does not matter what is answered


def gone(processes):
    return wait_until(lambda: all(not p.is_running() or p.status() == psutil.STATUS_ZOMBIE for p in processes), 60)


@pytest.mark.parametrize(("columns", "rows"), [(120, 40), (80, 24)])
def test_prompt_answer_and_figures(open_console, columns, rows):
    console = open_console(columns=columns, rows=rows)
    console.wait_for("SmolLM2 135M Instruct .* CPU, ")
    console.send("What is the capital of France? Answer with one word." + ENTER)
    console.wait_for("Paris")
    facts = console.wait_for(r"(\d+) tokens · ([\d.]+) tok/s\s+· TTFT (\d+) ms\s+· prompt (\d+)")
    assert int(facts[1]) > 1
    assert float(facts[2]) > 0
    console.wait_for(r"context \d+ (\(\d+ %\) of 8,192|%)")  # in a narrow line the share alone
    console.wait_for(r"CPU\s+\d+ %")
    console.wait_for(r"RAM\s+(\S+ )?[\d.]+ ?/ ?[\d.]+ GiB")  # with the bar before it where it is one line
    console.send(CTRL_Q)
    assert console.wait_ended() == 0
    assert console.terminal_restored()


def test_what_is_typed_arrives_whole_in_order_and_without_escapes(open_console):
    console = open_console(*TINY)
    console.send("line one" + CTRL_J + "line two")  # while it starts
    console.wait_for(r"│ line one.*\n.*│ line two")
    console.send(ENTER)
    console.wait_for(r"▌ line one.*\n.*▌ line two")
    console.wait_for(r"│ Ask something")
    console.send(UP)
    console.wait_for(r"│ line one.*\n.*│ line two")
    console.wait_for("is ready on")
    console.send(CTRL_N)
    console.send(CTRL_U * 3 + "first words of the first prompt" + ENTER + "second prompt" + ENTER + "and a draft")
    console.wait_for("▌ first words of the first prompt")
    console.wait_for("▌ second prompt")
    console.wait_for("│ and a draft")
    console.send(CTRL_U)
    console.send("  " + ENTER)
    console.wait_for("the prompt is empty")
    console.send(CTRL_N + CTRL_U)
    console.paste("evil \x9d0;owned\x9c \x9b2J title \u202egnirts [bold]markup[/bold]")
    console.send(ENTER)
    console.wait_for(r"▌ evil +title gnirts \[bold\]markup\[/bold\]")
    for raw in ("\x9d", "\x9b", "\u202e"):
        assert raw.encode() not in console.output


def test_escape_stops_an_answer_and_the_chat_goes_on(open_console):
    console = open_console()
    console.wait_for("is ready on")
    console.send(STORY + ENTER)
    console.wait_for(r"answering · \d+ tokens")
    console.send(ESC)
    console.wait_for(r"tokens\s+· stopped")
    console.send(CTRL_N)
    console.send("What is the capital of France? Answer with one word." + ENTER)
    console.wait_for("Paris")


def test_a_killed_worker_is_told_and_replaced_and_the_prompt_comes_back(open_console):
    console = open_console()
    console.wait_for("is ready on")
    console.send(STORY + ENTER)
    console.wait_for(r"answering · \d{2,} tokens")
    console.worker().kill()
    console.wait_for(r"the engine died during this answer[^·]*SIGKILL[^·]*·\s+\d+\s+tokens\s+kept")
    console.wait_for(r"│ Tell me a very long story about a lighthouse\.")
    console.wait_for(r"φ phitui  SmolLM2 135M Instruct")
    console.send(ENTER)
    console.wait_for(r"answering · \d+ tokens")


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("way", ["ctrl-c", "ctrl-q", "SIGINT", "SIGTERM", "SIGHUP", "hang up"])
def test_every_way_out_leaves_nothing_behind(open_console, way, busy):
    console = open_console(*([] if busy else TINY))
    console.wait_for("is ready on")
    if busy:
        console.send(STORY + ENTER)
        console.wait_for(r"answering · \d+ tokens")
    assert wait_until(lambda: len(console.family()) == 3, 60)  # with the engine and its template; the rate is measured
    family = console.family()
    if way.startswith("ctrl"):
        if way == "ctrl-c":
            console.send(CTRL_C)
            console.wait_for(r"Stopped. \S+ again quits" if busy else "again quits")
        console.send({"ctrl-c": CTRL_C, "ctrl-q": CTRL_Q}[way])
        assert console.wait_ended() == 0
        assert (b"phitui --resume 1 goes on with it" in console.output) == busy
    elif way == "hang up":
        console.hang_up()
        console.wait_ended()
    else:
        number = getattr(signal, way)
        os.kill(console.process.pid, number)
        assert console.wait_ended() == 128 + number
    assert gone(family)
    if way != "hang up":
        assert console.terminal_restored()


def test_a_terminal_that_vanishes_without_a_signal_ends_the_console(home, tmp_path):
    """The console's parent ignores SIGHUP for it, as a wrapper may; nothing but the closed terminal tells."""
    console = Console(["env", "--ignore-signal=HUP", *command()], environment(home), cwd=home)
    console.wait_for("is ready on")
    console.send(STORY + ENTER)
    console.wait_for(r"answering · \d+ tokens")
    family = console.family()
    console.hang_up()
    assert gone(family)
    console.process.wait(10)


def test_a_console_that_is_killed_takes_its_worker_along(open_console):
    console = open_console(*TINY)
    console.wait_for("is ready on")
    family = console.family()
    console.process.kill()
    console.process.wait()
    assert gone(family)


def test_a_console_that_was_stopped_goes_on_and_leaves_the_terminal_as_it_was(open_console):
    console = open_console(*TINY)
    console.wait_for("is ready on")
    os.kill(console.process.pid, signal.SIGSTOP)
    assert wait_until(lambda: psutil.Process(console.process.pid).status() == psutil.STATUS_STOPPED, 60)
    os.kill(console.process.pid, signal.SIGCONT)
    console.send("still here")
    console.wait_for("│ still here")
    console.send(CTRL_Q)
    assert console.wait_ended() == 0
    assert console.terminal_restored()
    assert b"Warning" not in console.output


def test_leaving_while_the_engine_loads(open_console):
    console = open_console(*TINY)
    console.wait_for("phitui")
    family = console.family()
    console.send(CTRL_Q)
    assert console.wait_ended() == 0
    assert gone(family)
    assert console.terminal_restored()


def test_a_large_paste_is_refused_and_the_console_goes_on(open_console):
    console = open_console()
    console.wait_for("is ready on")
    console.paste("lorem ipsum " * 90_000)
    console.wait_for(r"Not pasted: 1,080,000 characters", 60)
    console.send("What is the capital of France? Answer with one word." + ENTER)
    console.wait_for("Paris")


def test_a_prompt_over_the_context_window_is_refused_with_figures(open_console):
    console = open_console()
    console.wait_for("is ready on")
    console.paste("lorem ipsum " * 9_000)
    console.send(ENTER)
    match = console.wait_for(r"not sent: ([\d,]+) tokens with the chat so far", 60)
    assert int(match[1].replace(",", "")) > 8192


def test_a_key_parks_the_model_and_the_next_prompt_brings_it_back(open_console):
    console = open_console()
    console.wait_for("is ready on")
    console.send("\x1b[19~")  # F8
    console.wait_for(r"SmolLM2 135M Instruct · parked \(disk\)")
    console.send("What is the capital of France? Answer with one word." + ENTER)
    console.wait_for(r"The model was brought back in [\d.]+ s")
    console.wait_for("Paris")


def test_another_model_is_switched_to_and_back(open_console):
    console = open_console(columns=80, rows=24)
    console.wait_for("is ready on")
    console.send("\x1bOQ")  # F2
    console.wait_for(r"● smollm2-135m +SmolLM2 135M Instruct +0\.14 GB +int8 +8,192")
    console.send("\x1b[B" + ENTER)  # the one below it
    console.wait_for("φ phitui  Tiny Phi-3 · ")
    console.wait_for("From here on another model answers")
    assert wait_until(lambda: len(console.family()) == 3, 60)  # the console, one engine and its template
    console.send("\x1bOQ")
    console.wait_for(r"● tiny-phi3 ")
    console.send("\x1b[A" + ENTER)
    console.wait_for("φ phitui  SmolLM2 135M Instruct · ")
    console.send("What is the capital of France? Answer with one word." + ENTER)
    console.wait_for("Paris")


def test_a_terminal_that_is_too_small_says_so_and_recovers(open_console):
    console = open_console(columns=20, rows=5)
    console.wait_for("too")
    assert "20×5" in console.text()
    console.resize(100, 30)
    console.wait_for("Ask something")
    console.resize(20, 5)
    wait_until(lambda: "too" in console.text() and "Ask" not in console.text(), 60)
    console.resize(100, 30)
    console.wait_for("Ask something")
    console.send("the focus is back")
    console.wait_for("│ the focus is back")
    console.send(CTRL_Q)
    assert console.wait_ended() == 0


def test_the_theme_changes_while_running_and_is_kept(open_console, home):
    console = open_console(*TINY)
    console.wait_for("is ready on")
    before = set(re.findall(rb"48;2;\d+;\d+;\d+", console.output))
    console.send(CTRL_T)
    console.wait_for("Theme ")
    assert wait_until(lambda: set(re.findall(rb"48;2;\d+;\d+;\d+", console.output)) - before, 60)
    assert "name = " in (home / "config" / "phitui" / "config.toml").read_text()


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_cannot_draw_is_one_line_and_exit_2(open_console, term):
    console = open_console(TERM=term)
    assert console.wait_ended() == 2
    assert wait_until(lambda: "cannot show the console" in console.text(), 60)
    assert b"\x1b" not in console.output


def test_without_a_terminal_it_is_one_line_and_exit_2(home):
    import subprocess

    done = subprocess.run(command(), env=environment(home), capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"needs a terminal" in done.stderr
    assert done.stderr.count(b"\n") == 1
