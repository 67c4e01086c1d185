"""How far a tuning is, on stderr where somebody watches: one line that is drawn over."""

from __future__ import annotations

import os
import sys

from phitui.core.text import one_line

_CELLS = 20
_NARROW = 80


class ProbeBar:
    """A bar of probes, with what is measured now beside it. Nothing is drawn where stderr is no terminal."""

    def __init__(self) -> None:
        self._on = sys.stderr is not None and sys.stderr.isatty()

    def draw(self, number: int, most: int, what: str) -> None:
        """Probe `number` of at most `most` runs."""
        if self._on:
            text = f"{bar((number - 1) / max(most, 1))} {number - 1} of at most {most}; probe {number}: {what}"
            sys.stderr.write(f"\r\x1b[K{one_line(text, _columns() - 1)}")  # a line that wraps is not taken away whole
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away: what comes next begins at the left."""
        if self._on:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def bar(share: float) -> str:
    """E.g. "[#####...............]"."""
    full = round(max(0.0, min(share, 1.0)) * _CELLS)
    return f"[{'#' * full}{'.' * (_CELLS - full)}]"


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _NARROW
    except OSError:
        return _NARROW
