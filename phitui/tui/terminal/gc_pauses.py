"""Runs Python's full garbage collections while the user is idle: one stops the screen for a tenth of a second."""

from __future__ import annotations

import gc
import time

_REST_S = 5.0
# What Textual keeps of frames makes Python look through everything again and again. So many of the smaller collections
# (the second generation's; each is of about 7,000 new objects) are worth a full one at rest, ...
_WORTH = 20
# ... and after so many it comes wherever it may.
_LAST_RESORT = 1000


class GcPauses:
    """Of one application. Call `look` every few seconds."""

    def __init__(self) -> None:
        self._thresholds = gc.get_threshold()
        self._typed = 0.0

    def begin(self) -> None:
        """The first frame is there. What the imports made stays: no collection need look at it again."""
        self._thresholds = gc.get_threshold()
        gc.set_threshold(*self._thresholds[:2], _LAST_RESORT)
        gc.enable()  # off since the start: see phitui.__main__
        gc.freeze()

    def end(self) -> None:
        """As it was before."""
        gc.set_threshold(*self._thresholds)

    def typed(self) -> None:
        """Record a key press; collections wait until the user is idle again."""
        self._typed = time.monotonic()

    def look(self) -> None:
        """Collect, if there is something to, and nobody has typed for a while."""
        if time.monotonic() - self._typed >= _REST_S and gc.get_count()[2] >= _WORTH:
            gc.collect()
