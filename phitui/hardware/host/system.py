"""Questions to the operating system, and what to do when one fails."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from phitui.hardware.figures import Missing, clean


def psutil() -> Any:
    """The library, imported when first needed: 30 ms that the console's start does not have."""
    import psutil as library

    return library


def attempt(question: Callable[[], Any]) -> Any:
    """The answer, or Missing with the error as its reason. Raises nothing."""
    try:
        return question()
    except Exception as error:  # noqa: BLE001 - a sensor that fails is a figure that is missing
        return Missing(clean(f"{type(error).__name__}: {error}"))


def load1() -> float | None:
    """The load average of one minute, None where it is not known."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None
