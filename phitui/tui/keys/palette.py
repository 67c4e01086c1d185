"""What keys do, in the command palette."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.app import SystemCommand
from textual.dom import DOMNode
from textual.screen import Screen

from phitui.tui.keys.names import shown

# What moves the cursor, chooses in a list or types is of no use there.
_KEYS_ONLY = ("prompt.send", "prompt.newline", "prompt.older", "prompt.newer", "prompt.undo", "app.palette", "find.")


def actions_of(screen: Screen[object], offered: set[str]) -> Iterator[SystemCommand]:
    """Every action of the screen, its widgets and the app that has an id and is not `offered` by its title already."""
    known = {title.casefold() for title in offered}
    for node in _nodes(screen):
        keys: dict[str, list[str]] = {}
        for key, binding in node._bindings:
            if binding.id is not None:
                keys.setdefault(binding.id, []).append(shown(key))
        seen: set[str] = set()
        for _, binding in node._bindings:
            title = binding.tooltip or binding.description
            if binding.id is None or binding.id in seen or binding.id.startswith(_KEYS_ONLY):
                continue
            seen.add(binding.id)
            if {title.casefold(), binding.description.casefold()} & known or not _enabled(screen, node, binding.action):
                continue
            known.add(title.casefold())
            run = partial(screen.app.run_action, binding.action, node)
            yield SystemCommand(title, f"{', '.join(keys[binding.id])} · {binding.id}", run)


def _enabled(screen: Screen[object], node: DOMNode, action: str) -> bool:
    return screen.app._check_action_state(action, node) is not False


def _nodes(screen: Screen[object]) -> Iterator[DOMNode]:
    """The screen, then what can have the focus in it, then the app."""
    yield screen
    yield from (widget for widget in screen.query("*") if widget.can_focus and widget.display)
    yield screen.app
