"""The mouse while the console runs: phitui's, or the terminal's own for selecting."""

from __future__ import annotations

from textual.app import App

TAKEN = "The mouse clicks and scrolls in phitui. Hold Shift to select text; {key} gives it back to the terminal."
GIVEN = "The mouse selects text, as in any terminal. {key} gives it to phitui."


def toggle(app: App[None], key: str) -> str:
    """Take the mouse, or give it back; returns the line that says so. `key` is the one that does it."""
    driver = app._driver
    if driver is None:
        return ""
    taken = not driver._mouse
    if taken:
        driver._mouse = True
        _call(driver, "_enable_mouse_support")
        if getattr(driver, "_mouse_pixels", False):  # else positions would be read as pixels that are cells
            _call(driver, "_enable_mouse_pixels")
    else:
        _call(driver, "_disable_mouse_support")  # says nothing once it is off
        driver._mouse = False
    return (TAKEN if taken else GIVEN).format(key=key)


def _call(driver: object, name: str) -> None:
    """Drivers without a terminal, as in tests, have no such method."""
    method = getattr(driver, name, None)
    if callable(method):
        method()
