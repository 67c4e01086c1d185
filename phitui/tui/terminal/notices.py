"""Tells a person who looks elsewhere that something long has ended: the terminal's bell, or OSC 9."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.app import App

from phitui.config.schema import ConsoleSettings
from phitui.core.text import one_line

_CHARS = 200


class Notices:
    """What ends sooner than `console.notify_after_s` is not told of."""

    def __init__(self, app: App[None], settings: ConsoleSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._settings = settings
        self._clock = clock
        self._begun: dict[str, float] = {}

    def begin(self, what: str) -> None:
        """A piece of work is under way. Said again it changes nothing."""
        self._begun.setdefault(what, self._clock())

    def end(self, what: str, text: str) -> None:
        """It has ended; `text` says how. Of what has not begun nothing is told."""
        begun = self._begun.pop(what, None)
        if begun is not None:
            self.tell(text, self._clock() - begun)

    def answered(self, text: str, seconds: float, watched: bool) -> None:
        """An answer is complete. `watched` says that its screen is the one that is shown; whether the terminal has the
        focus is known where it tells."""
        if not (watched and self._app.app_focus):
            self.tell(text, seconds)

    def tell(self, text: str, seconds: float) -> None:
        """Tell of what took so many seconds, in the way that is set."""
        driver = self._app._driver
        if self._settings.notify == "off" or seconds < self._settings.notify_after_s or driver is None:
            return
        driver.write("\a" if self._settings.notify == "bell" else f"\x1b]9;phitui: {one_line(text, _CHARS)}\a")
