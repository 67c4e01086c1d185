"""Names of keys: which there are, how they are written, and which of them a terminal can send."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual.keys import KEY_NAME_REPLACEMENTS, KEY_TO_UNICODE_NAME, Keys, _character_to_key

from phitui.config.schema import nearest

_MODIFIERS = ("ctrl", "alt", "shift", "super", "hyper", "meta")
# What people write, and how Textual calls it.
_ALIASES = {
    "esc": "escape",
    "return": "enter",
    "pgup": "pageup",
    "pgdn": "pagedown",
    "page_up": "pageup",
    "page_down": "pagedown",
    "del": "delete",
    "ins": "insert",
    "control": "ctrl",
    "option": "alt",
}
# A terminal sends one byte for both (ASCII: Ctrl clears the bits above 31).
TWINS = {
    "ctrl+i": "tab",
    "ctrl+m": "enter",
    "ctrl+h": "backspace",
    "ctrl+left_square_bracket": "escape",
    "ctrl+space": "ctrl+@",
}
UNBOUND = ("", "none")
# Keys with names, as they are written for people; of the others that have one its first letter is a capital.
_WORDS = {
    "escape": "Esc",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "delete": "Del",
    "insert": "Ins",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
}


def split_keys(setting: str) -> tuple[str, ...]:
    """The keys of a setting, a list with commas, as Textual calls them. "" and "none" are no key at all."""
    if setting.strip().lower() in UNBOUND:
        return ()
    return tuple(dict.fromkeys(canonical(part) for part in setting.split(",") if part.strip()))


def canonical(key: str) -> str:
    """A key as Textual calls it: "?" is question_mark, "Ctrl+G" and "^g" are ctrl+g. A name that there is not stays as
    it is."""
    key = key.strip()
    if len(key) == 1:
        return _character_to_key(key)
    if len(key) == 2 and key[0] == "^":
        key = f"ctrl+{key[1]}"
    *modifiers, base = key.replace("++", "+plus").split("+")
    modifiers = [_ALIASES.get(name.lower(), name.lower()) for name in modifiers]
    if len(base) == 1:
        base = _character_to_key(base.lower() if modifiers else base)
    else:
        base = _ALIASES.get(base.lower(), base.lower())
    if modifiers == ["shift"] and len(base) == 1 and base.isalpha():
        return base.upper()
    return "+".join([*sorted(modifiers), base])  # in the order in which Textual puts them


def printable(key: str) -> bool:
    """Whether the key types a character: where text is written it is that character."""
    return "+" not in key and (len(key) == 1 or key == "space" or key in _signs())


def exists(key: str) -> bool:
    """Whether there is a key of this (canonical) name."""
    *modifiers, base = key.split("+")
    return all(name in _MODIFIERS for name in modifiers) and (len(base) == 1 or base in _bases())


def suggestion(key: str) -> str | None:
    """The name that `key` looks most like."""
    *modifiers, base = key.split("+")
    if any(name not in _MODIFIERS for name in modifiers):
        modifiers = [nearest(name, _MODIFIERS) or "ctrl" for name in modifiers]
    near = base if len(base) == 1 or base in _bases() else nearest(base, _bases())
    return "+".join([*modifiers, near]) if near else None


def why_not_sent(key: str) -> str:
    """Why a terminal cannot send a key that there is; "" where each can."""
    if key in TWINS:
        return f"a terminal sends {key} as {TWINS[key]}"
    *modifiers, base = key.split("+")
    if key in _sent() or not modifiers:
        return ""
    if len(base) == 1 and base.isascii() and base.isalnum() and modifiers in (["alt"], ["alt", "shift"]):
        taken = ANSI_SEQUENCES_KEYS.get(f"\x1b{base.upper() if 'shift' in modifiers else base}")
        if taken is None:
            return ""
        other = taken[0].value if isinstance(taken, tuple) else str(taken)
        return f"what a terminal sends for {key} is read as {other}"
    return f"most terminals do not send {key} (only those with the Kitty keyboard protocol, and not through tmux)"


@lru_cache(1)
def _bases() -> frozenset[str]:
    named = {key.value for key in Keys if "+" not in key.value and not key.value.startswith("<")}
    return frozenset(named | {f"f{number}" for number in range(1, 25)} | _signs() | {"space"})


@lru_cache(1)
def _signs() -> frozenset[str]:
    """The names of characters that are no letter or digit."""
    ascii_signs = {_character_to_key(chr(code)) for code in range(33, 127) if not chr(code).isalnum()}
    return frozenset({name for name in ascii_signs if len(name) > 1} | set(KEY_TO_UNICODE_NAME) | _replaced())


def _replaced() -> set[str]:
    return set(KEY_NAME_REPLACEMENTS.values())


@lru_cache(1)
def _sent() -> frozenset[str]:
    """Keys that Textual knows a sequence for without the Kitty protocol. Ctrl with digits is rxvt's alone."""
    known = (keys for keys in ANSI_SEQUENCES_KEYS.values() if isinstance(keys, tuple))
    names = {str(getattr(key, "value", key)) for keys in known for key in keys}
    return frozenset(name for name in names if not name[-1].isdigit() or "f" in name.rpartition("+")[2])


def written(key: str) -> str:
    """A key as [keys] has it: ctrl+g, alt+1, ?, space."""
    *modifiers, base = key.split("+")
    return "+".join([*modifiers, _character(base)])


def shown(key: str) -> str:
    """A key as every screen and text writes it: ^g, Alt+1, F1, Esc, ?, Space."""
    *modifiers, base = key.split("+")
    word = _WORDS.get(base) or _character(base)
    if len(word) > 1:
        word = word[0].upper() + word[1:]
    if modifiers == ["ctrl"] and len(word) == 1 and word.isascii():
        return f"^{word}"
    return "+".join([*(name.capitalize() for name in modifiers), word])


def _character(base: str) -> str:
    """What a key of a character types; of another key its name."""
    return _sign(base) if base != "space" and base in _signs() else base


def _sign(name: str) -> str:
    spelled = {short: long for long, short in KEY_NAME_REPLACEMENTS.items()}.get(name, name)
    try:
        return unicodedata.lookup(KEY_TO_UNICODE_NAME.get(spelled, spelled.replace("_", " ").upper()))
    except KeyError:
        return name
