"""^c, as a shell has it: it stops what is being made. It leaves only when it is said twice."""

from __future__ import annotations

import time

from textual.app import App

from phitui.tui.app.asking import ask_before
from phitui.workbench.lease import Use
from phitui.workbench.workbench import Workbench

# So long after the first one means the second.
_TWICE_S = 4.0


class Interrupts:
    """Of one application and what it would lose."""

    def __init__(self, app: App[None], workbench: Workbench) -> None:
        self._app, self._workbench = app, workbench
        self._at = float("-inf")

    def press(self, key: str) -> None:
        """Stop the answer, or take back the prompt queued last; the second time leave, after a question where that
        stops something that is not an answer. `key` is what the person pressed, by its name."""
        if time.monotonic() - self._at < _TWICE_S:
            self._at = float("-inf")
            ask_before(self._app, self._workbench.leases, Use.LEAVING, "stop it and quit", self._app.exit)
            return
        self._at = time.monotonic()
        stopped = "Stopped. " if self._workbench.chat.cancel() else ""
        self._app.notify(f"{stopped}{key} again quits.", timeout=_TWICE_S)
