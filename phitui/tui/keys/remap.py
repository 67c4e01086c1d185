"""Gives widgets the keys of [keys] in config.toml.

Textual's own keymap (App.set_keymap) is laid over the bindings at each key press, and does not serve here: an empty
entry does not unbind, a new key takes all other actions off it, it comes after the check which keys a text field types
(so a letter that is rebound could not be typed any more), and a widget that looks at its own bindings never sees it. So
each widget's bindings are changed once, when it comes to the screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from textual.binding import Binding, BindingsMap
from textual.dom import DOMNode

from phitui.tui.keys.names import shown, split_keys

Keys = Mapping[str, tuple[str, ...]]


def parsed(settings: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """[keys] as `{id: keys}`; no key where the action has been unbound."""
    return {name: split_keys(setting) for name, setting in settings.items()}


def rebind(nodes: Iterable[DOMNode], keys: Keys) -> None:
    """Give these the keys in force."""
    for node in nodes:
        if any(binding.id in keys for _, binding in node._bindings):
            node._bindings = remapped(node._bindings, keys)


def remapped(bindings: BindingsMap, keys: Keys) -> BindingsMap:
    """The bindings with those keys. What the person has chosen goes before a default on the same key."""
    chosen: dict[str, list[Binding]] = {}
    defaults: dict[str, list[Binding]] = {}
    done: set[tuple[str, str]] = set()
    for key, binding in bindings:
        if binding.id is None or binding.id not in keys:
            defaults.setdefault(key, []).append(binding)
            continue
        if (binding.id, binding.action) in done:  # once for all its keys
            continue
        done.add((binding.id, binding.action))
        for wanted in keys[binding.id]:
            chosen.setdefault(wanted, []).append(binding.with_key(wanted))
    order = dict.fromkeys([*defaults, *chosen])
    return BindingsMap.from_keys({key: chosen.get(key, []) + defaults.get(key, []) for key in order})


def keys_for(node: DOMNode, action: str) -> tuple[str, ...]:
    """The keys in force for an action, given by its id, of this node."""
    return tuple(key for key, binding in node._bindings if binding.id == action)


def told(keys: Sequence[str]) -> str:
    """The key to name in a line: the first one, or where there is none the palette."""
    return shown(keys[0]) if keys else "the palette"
