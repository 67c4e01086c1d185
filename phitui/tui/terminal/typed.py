"""All that a keyboard, an input method or an emoji picker sends is text.

Textual asks `str.isprintable`, which is for Python's `repr`: it takes the ideographic space and the no-break space, the
joiners of Persian and of emoji, and the tags of a flag for no text, and each text field would drop them.
"""

from __future__ import annotations

import unicodedata

from textual import events


def types_text(event: events.Key) -> bool:
    """Whether a key types its character: each does but controls and halves of characters."""
    return bool(event.character) and all(unicodedata.category(one) not in ("Cc", "Cs") for one in event.character or "")


def take_all_characters() -> None:
    """Have every text field take them."""
    events.Key.is_printable = property(types_text)  # type: ignore[method-assign, assignment]
