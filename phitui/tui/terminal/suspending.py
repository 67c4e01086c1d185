"""Hands the terminal back to the shell for a while."""

from __future__ import annotations

import os
import signal

import psutil


def can_come_back() -> bool:
    """Whether a shell waits for this job, and can take it up again. Where none does (`ssh HOST phitui`, a pane of tmux
    that runs nothing else), the terminal would be left with a console that has stopped for ever."""
    try:
        job, session = os.getpgrp(), os.getsid(0)
        pid = os.getpid()
        while pid and os.getpgid(pid) == job:
            pid = psutil.Process(pid).ppid()
        return bool(pid) and os.getsid(pid) == session
    except (OSError, psutil.Error):
        return False


def suspend_job() -> None:
    """Stop this process and all of its job, as the terminal does it for programs that leave ^z to it."""
    os.kill(0, signal.SIGTSTP)
