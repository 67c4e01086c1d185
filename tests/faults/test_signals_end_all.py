"""Whatever a command waits for, SIGINT, SIGTERM and SIGHUP end it within 5 s, with all that it started."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import time

import psutil
import pytest
from support.waiting import until_in_thread
from terminal import environment

from phitui.core import leaving

# What is held here is that it ends at all: how soon, on a machine that has time for it, is `leaving.LIMIT_S`.
LATE_S = 20
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TINY = ["--model", "tiny-phi3", "--device", "cpu"]


class Started:
    """A command on pipes that take nothing more (or, with `terminal`, on a terminal that nobody reads)."""

    def __init__(self, words, environ, stdin=subprocess.DEVNULL, terminal=False):
        reading, writing = pty.openpty() if terminal else full_pipe()
        self._reading = reading
        self.process = subprocess.Popen(
            [sys.executable, "-m", "phitui", *words],
            env=environ,
            stdin=writing if terminal else stdin,
            stdout=writing,
            stderr=writing,
            start_new_session=True,
        )
        os.close(writing)
        self._family = []
        self._busy = (0.0, time.monotonic())

    def has_started(self):
        """It hears signals, and has hardly used the processor for a second: it waits."""
        assert self.process.poll() is None, self.said()
        with open(f"/proc/{self.process.pid}/status") as status:
            caught = int(next(line for line in status if line.startswith("SigCgt")).split()[1], 16)
        if not all(caught >> (number - 1) & 1 for number in SIGNALS):
            return False
        own = psutil.Process(self.process.pid)
        self._family = [own, *own.children(recursive=True)]
        used = sum(sum(one.cpu_times()[:2]) for one in self._family if one.is_running())
        if used > self._busy[0] + 0.05:
            self._busy = (used, time.monotonic())
        return time.monotonic() - self._busy[1] > 1

    def wait_ended(self):
        """Wait until it has ended, and all that it had started."""
        self.process.wait(60)
        for one in self._family:
            until_in_thread(lambda one=one: not one.is_running() or one.status() == psutil.STATUS_ZOMBIE)

    def said(self):
        """What it could not say before."""
        os.set_blocking(self._reading, False)
        said = b""
        try:
            while part := os.read(self._reading, 1 << 16):
                said += part
        except OSError:
            pass
        return said.strip(b"x").decode("utf-8", "replace")

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._reading)


def full_pipe():
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    return reading, writing


def end_all(words, environ, **options):
    started = [Started(words, environ, **options) for _ in SIGNALS]
    try:
        for one in started:
            until_in_thread(one.has_started)
        begun = time.monotonic()
        for one, number in zip(started, SIGNALS, strict=True):
            one.process.send_signal(number)
        for one, number in zip(started, SIGNALS, strict=True):
            one.wait_ended()
            assert time.monotonic() - begun < LATE_S, number
            assert one.process.returncode in (130, 128 + number)
            assert "Traceback" not in (said := one.said()), said
    finally:
        for one in started:
            one.close()


@pytest.fixture
def surroundings(home, tmp_path):
    """A model, a session, a batch's input, and a pipe that has no other end."""
    os.mkfifo(tmp_path / "pipe")
    row = {"id": "a", "prompt": "Say a word.", "max_tokens": 4}
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({**row, "id": number}) + "\n" for number in range(200)))
    exported = {"format": "phitui-session", "version": 1, "title": "t", "created": 1.0, "turns": []}
    (tmp_path / "session.json").write_text(json.dumps(exported))
    return {**environment(home), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["keys"],
        ["doctor"],
        ["model", "list"],
        ["session", "import", "session.json"],
        ["monitor", "--once"],
        ["monitor", "--json"],
        ["ask", *TINY, "--max-tokens", "4", "Say a word."],
        ["batch", *TINY, "in.jsonl", "-o", "-"],
        ["batch", *TINY, "in.jsonl", "-o", "pipe"],
        ["batch", *TINY, "pipe", "-o", "out.jsonl"],
        ["bench", *TINY, "--batch-sizes", "1", "--prompt-tokens", "8", "--max-tokens", "2", "--repeat", "1"],
        ["tune", *TINY, "--prompt-tokens", "8", "--max-tokens", "2"],
        ["model", "convert", "pipe"],
        ["session", "import", "pipe"],
        ["keys", "--config", "pipe"],
        ["monitor", "--replay", "pipe"],
        ["bench", "--compare", "pipe"],
    ],
    ids=" ".join,
)
def test_a_command_whose_pipes_nobody_reads(surroundings, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    end_all(words, surroundings)


def test_the_limit_is_within_five_seconds():
    assert leaving.LIMIT_S < 5


def test_a_command_that_waits_for_its_input(surroundings):
    reading, writing = os.pipe()
    try:
        end_all(["ask", "-"], surroundings, stdin=reading)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_console_whose_terminal_nobody_reads(surroundings):
    end_all(TINY, surroundings, terminal=True)
