"""A real tmux with one pane in which a shell runs, driven by `send-keys` and read by `capture-pane`."""

import re
import shlex
import subprocess

import psutil
from terminal import wait_until

PROMPT = "ready> "
AT_PROMPT = rf"(?m)^{PROMPT.rstrip()}\s*\Z"


class Pane:
    """A server of its own, with no configuration and no client. Use as a context manager: it leaves no process."""

    def __init__(self, folder, environ, columns, rows):
        self._socket = folder / "tmux"
        self._environ = dict(environ)
        for name in ("TMUX", "TMUX_PANE", "ENV", "COLORTERM"):
            self._environ.pop(name, None)
        self._tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(folder), "sh")
        self.shell = psutil.Process(int(self.ask("pane_pid")))
        self.type(f"PS1='{PROMPT}'; clear")
        self.keys("Enter")
        self.wait_for(AT_PROMPT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in [*self.shell.children(recursive=True), self.shell]:
            process.kill()
        self._tmux("kill-server", check=False)

    def _tmux(self, *words, check=True):
        command = ["tmux", "-S", str(self._socket), "-f", "/dev/null", *words]
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def ask(self, name):
        """One of tmux's own variables of the pane, e.g. `alternate_on`."""
        return self._tmux("display-message", "-p", f"#{{{name}}}").strip()

    def run(self, words):
        """Start a command in the shell."""
        self.type(shlex.join(words))
        self.keys("Enter")

    def type(self, text):
        self._tmux("send-keys", "-l", "--", text)

    def keys(self, *names):
        """Keys by tmux's names: Enter, Escape, C-n, F6."""
        self._tmux("send-keys", *names)

    def resize(self, columns, rows):
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def text(self):
        return self._tmux("capture-pane", "-p")

    def colours(self):
        """The sequences of all backgrounds that are seen."""
        return set(re.findall(r"48;(?:2;\d+;\d+;\d+|5;\d+)", self._tmux("capture-pane", "-p", "-e")))

    def wait_for(self, pattern, timeout_s=60):
        """The match of a regular expression over the screen. Raises AssertionError with the screen."""
        match = wait_until(lambda: re.search(pattern, self.text()), timeout_s, 0.05)
        assert match, f"{pattern!r} was not seen; the screen:\n{self.text()}"
        return match

    def state(self):
        """What a program has to leave as it was: main screen, cursor, mouse, keypad, the terminal's modes."""
        flags = ("alternate_on", "cursor_flag", "mouse_any_flag", "mouse_sgr_flag", "keypad_flag", "origin_flag")
        modes = subprocess.run(["stty", "-g", "-F", self.ask("pane_tty")], capture_output=True, text=True, check=True)
        return [self.ask(flag) for flag in flags], modes.stdout
