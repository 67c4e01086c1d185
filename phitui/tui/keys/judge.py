"""What is wrong with [keys]: ids and keys that there are not, keys that no terminal sends, two actions on one key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from phitui.config.schema import nearest
from phitui.core.text import one_line
from phitui.tui.keys.catalog import EVERYWHERE, Action, all_actions, chains
from phitui.tui.keys.names import canonical, exists, printable, split_keys, suggestion, why_not_sent, written
from phitui.tui.keys.remap import parsed

QUIT = "app.quit"


class InForce(NamedTuple):
    """An action with the keys that it has now."""

    action: Action
    keys: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether they are not the defaults."""
        return self.keys != self.action.keys


def in_force(settings: Mapping[str, str], actions: Sequence[Action] | None = None) -> list[InForce]:
    """Every action with its keys."""
    keys = parsed(settings)
    return [InForce(one, keys.get(one.id, one.keys)) for one in actions or all_actions()]


def problems(settings: Mapping[str, str]) -> list[str]:
    """One line for each thing that is wrong with [keys], none where nothing is."""
    if not settings:
        return []
    actions = in_force(settings)
    known = {one.action.id for one in actions}
    lines = [_unknown(name, known) for name in settings if name not in known]
    for name, setting in settings.items():
        if name in known:
            lines += _about_keys(name, setting)
    lines += _conflicts(actions, settings)
    if not any(_can_be_pressed(key) for one in actions if one.action.id == QUIT for key in one.keys):
        lines.append(f"keys.{QUIT}: no key quits any more. /quit and the palette still do.")
    return lines


def _can_be_pressed(key: str) -> bool:
    return exists(key) and not why_not_sent(key)


def _unknown(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    hint = f"did you mean {near}?" if near else "phitui keys lists them."
    return f'keys: there is no action "{one_line(name, 60)}"; {hint}'


def _about_keys(name: str, setting: str) -> list[str]:
    lines = []
    for key in split_keys(setting):
        where = f"keys.{name}"
        if not exists(key):
            near = suggestion(key)
            hint = f"; did you mean {near}?" if near else ""
            lines.append(f'{where}: there is no key "{one_line(key, 40)}"{hint}')
        elif why := why_not_sent(key):
            lines.append(f"{where}: {why}")
        elif printable(key) and name.startswith("prompt."):
            lines.append(f"{where}: {written(key)} can then not be typed into the prompt")
    return lines


def _conflicts(actions: Sequence[InForce], settings: Mapping[str, str]) -> list[str]:
    """Two actions on one key that hear it at the same time, at least one of them by [keys]."""
    lines: dict[tuple[str, str, str], str] = {}
    for place, key, first, second in clashes(actions):
        names = (first.action.id, second.action.id)
        if names[0] in settings or names[1] in settings:
            winner = _winner(first, second, settings)
            where = "" if EVERYWHERE in (first.action.place, second.action.place) else f" ({place})"
            text = f"keys: {written(canonical(key))} is both {names[0]} and {names[1]}{where}; it does {winner}"
            lines.setdefault((key, *names), text)
    return list(lines.values())


def clashes(actions: Sequence[InForce]) -> Iterator[tuple[str, str, InForce, InForce]]:
    """`(place, key, inner, outer)` for every two actions on one key that hear it at the same time."""
    for place, owners in chains():
        heard = [one for owner in owners for one in actions if one.action.owner == owner]
        by_key: dict[str, list[InForce]] = {}
        for one in heard:
            for key in one.keys:
                by_key.setdefault(key, []).append(one)
        for key, several in by_key.items():
            for first, second in combinations(several, 2):
                if first.action.id != second.action.id:
                    yield place, key, first, second


def _winner(inner: InForce, outer: InForce, settings: Mapping[str, str]) -> str:
    """Textual asks from the app inwards for keys with priority, then from the focus outwards. Of one owner the key of
    one's own goes first (`remap.remapped`)."""
    if inner.action.owner == outer.action.owner:
        return inner.action.id if inner.action.id in settings else outer.action.id
    return outer.action.id if outer.action.priority else inner.action.id
