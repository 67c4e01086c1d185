"""Text to the terminal's clipboard. OSC 52 has no answer: that it was sent is all that can be said."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from textual.app import App
from textual.screen import Screen
from textual.widgets import TextArea

# hterm takes sequences of 100,000 bytes, which is so much before base64; others take more, or less.
_SURE_BYTES = 74_994
# tmux drops longer ones, and a slow link would be busy for a while.
_MOST_BYTES = 750_000


def send(app: App[None], text: str, what: str, environ: Mapping[str, str] = os.environ) -> str:
    """Send `text` to the clipboard and return the line to show. `what` names it for that line ("answer", "code")."""
    size = len(text.encode("utf-8", "replace"))
    if size > _MOST_BYTES:
        return f"Not sent: {what} has {size:,} bytes, a terminal takes fewer. s saves an answer to a file."
    app.copy_to_clipboard(text)
    return told(what, size, environ)


def told(what: str, size: int, environ: Mapping[str, str]) -> str:
    """What can honestly be said of `size` bytes that were sent."""
    line = f"{what}: copied, {size:,} bytes, if the terminal takes it (OSC 52)."
    if environ.get("TMUX"):
        line += " tmux passes them on with: set -g set-clipboard on."
    elif environ.get("STY"):
        line += " GNU screen does not pass them on."
    if size > _SURE_BYTES:
        line += f" Some terminals take at most {_SURE_BYTES:,} bytes."
    return line + " s saves to a file."


def selection(screen: Screen[Any]) -> str:
    """The text that is selected on a screen, "" where there is none; it is not selected any more then."""
    focused = screen.focused
    if isinstance(focused, TextArea) and focused.selected_text:
        text = focused.selected_text
        focused.move_cursor(focused.cursor_location)
        return text
    text = screen.get_selected_text() or ""
    screen.clear_selection()
    return text
