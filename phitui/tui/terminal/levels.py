"""From when on a figure is a warning: the same for the console's gauges and the monitor's."""

from __future__ import annotations

from typing import Literal

Level = Literal["ok", "warn", "bad"]
# Shares of full scale from which on a load is moderate and heavy. It is no warning: limits have levels of their own.
MODERATE, HEAVY_LOAD = 0.5, 0.8


def memory_level(used: float, usable: float) -> Level:
    """Of memory, by its share of what is usable: the total without the driver's reserve."""
    return _level(used / usable, 0.85, 0.95) if usable > 0 else "ok"


def power_level(share: float) -> Level:
    """Of the power, as a share of its limit: a board at work stands at it, and swings over it by a percent or two."""
    return _level(share, 0.95, 1.02)


def heat_level(celsius: float) -> Level:
    """Of a chip's temperature."""
    return _level(celsius, 80, 90)


def _level(value: float, warn: float, bad: float) -> Level:
    return "bad" if value >= bad else "warn" if value >= warn else "ok"
