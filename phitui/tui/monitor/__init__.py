"""What the monitor shows, as rows of text: nothing here knows Textual but `canvas`, which paints them."""

from __future__ import annotations

import sys


def wants_ascii(symbols: str) -> bool:
    """Whether to draw in ASCII alone: by the setting monitor.symbols, or because the terminal takes no UTF-8."""
    if symbols == "auto":
        encoding = (sys.stdout.encoding or "") if sys.stdout is not None else ""
        return encoding.lower().replace("-", "") != "utf8"
    return symbols == "ascii"
