"""Ends the console when its terminal is gone, even where the event loop can no longer do it.

Textual's writer thread ends at the first write to a closed terminal, and the loop then blocks for ever on the writer's
full queue: whether SIGHUP is handled before that is a race. So a thread watches the terminal, and leaving has a limit.
"""

from __future__ import annotations

import select
import signal
import sys
import threading
from collections.abc import Callable

from phitui.core.leaving import leave_within_limit


def watch_terminal(on_hangup: Callable[[], None]) -> None:
    """Call `on_hangup` from a thread when the terminal on standard input is closed. Nothing where there is none."""
    if sys.__stdin__ is None or not sys.__stdin__.isatty():
        return
    poll = select.poll()
    poll.register(sys.__stdin__.fileno(), 0)  # no event but hanging up, which is always told

    def wait() -> None:
        poll.poll()
        leave_within_limit(128 + signal.SIGHUP)
        on_hangup()

    threading.Thread(target=wait, name="phitui-terminal", daemon=True).start()
