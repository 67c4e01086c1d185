"""All actions with their ids and default keys, by the screen that they are for. Imports every screen: not before the
first frame."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from textual.binding import Binding


class Place(NamedTuple):
    """A screen, and its widgets that have keys of their own: only one of them has the focus at a time."""

    title: str
    screen: str
    widgets: tuple[str, ...] = ()


class Action(NamedTuple):
    """What a key can do. `keys` are the defaults; `owner` is the class that has it, "module:Class"."""

    id: str
    title: str
    about: str
    keys: tuple[str, ...]
    place: str
    owner: str
    priority: bool


_SCREENS, _WIDGETS = "phitui.tui.screens", "phitui.tui.widgets"
# In every screen, whatever else is there.
APPS = ("phitui.tui.app.base_app:BaseApp", "phitui.tui.app.app:PhituiApp")
EVERYWHERE = "Everywhere"
PLACES = (
    Place(
        "Console",
        f"{_SCREENS}.console:ConsoleScreen",
        (f"{_WIDGETS}.prompt:Prompt", f"{_WIDGETS}.transcript:Transcript", f"{_WIDGETS}.find_bar:FindField"),
    ),
    Place("Models", f"{_SCREENS}.models:ModelsScreen", (f"{_SCREENS}.models:ModelTable",)),
    Place("Tuner", f"{_SCREENS}.tuner:TunerScreen"),
    Place("Monitor", f"{_SCREENS}.monitor:MonitorScreen"),
    Place("Batches", f"{_SCREENS}.batches:BatchScreen"),
    Place(
        "Sessions",
        f"{_SCREENS}.sessions:SessionsScreen",
        (f"{_WIDGETS}.session_list:SessionTable", f"{_WIDGETS}.session_list:SearchField"),
    ),
    Place("Parameters", f"{_SCREENS}.parameters:ParametersScreen", (f"{_SCREENS}.parameters:SystemArea",)),
    Place("Presets", f"{_WIDGETS}.preset_list:PresetList"),
    Place("Answers side by side", f"{_SCREENS}.several:SeveralScreen"),
    Place("Parts of an answer", f"{_WIDGETS}.part_list:PartList"),
    Place("Themes", f"{_SCREENS}.theme_list:ThemeList"),
    Place("Help", f"{_SCREENS}.help:HelpScreen"),
    Place("A question", f"{_WIDGETS}.dialogs:Confirm"),
    Place("A line of text", f"{_WIDGETS}.dialogs:Ask"),
    Place("Pulling a model", f"{_WIDGETS}.dialogs:PullDialog"),
    Place("Adding a batch", f"{_WIDGETS}.batch_dialog:BatchDialog"),
    Place("Engines", f"{_WIDGETS}.engine_dialog:EngineDialog"),
    Place("Tuning form", f"{_WIDGETS}.tuning_form:TuningForm", (f"{_WIDGETS}.tuning_form:CheckBox",)),
    Place("Replay of a recording", "phitui.tui.app.replay_app:ReplayApp"),
)


def of_class(name: str) -> type:
    """The class that "module:Class" means."""
    module, _, attribute = name.partition(":")
    found: type = getattr(importlib.import_module(module), attribute)
    return found


@lru_cache(1)
def all_actions() -> tuple[Action, ...]:
    """Every action, place by place, in the order in which the classes have them."""
    owners = [(EVERYWHERE, owner) for owner in APPS]
    owners += [(place.title, owner) for place in PLACES for owner in (*place.widgets, place.screen)]
    return tuple(action for title, owner in owners for action in _of_owner(title, owner))


def _of_owner(place: str, owner: str) -> Iterator[Action]:
    keys: dict[str, list[str]] = {}
    first: dict[str, Binding] = {}
    for binding in Binding.make_bindings(of_class(owner).__dict__.get("BINDINGS", [])):
        if binding.id is not None:
            keys.setdefault(binding.id, []).append(binding.key)
            first.setdefault(binding.id, binding)
    for name, binding in first.items():
        about = binding.tooltip or binding.description
        yield Action(name, binding.description, about, tuple(keys[name]), place, owner, binding.priority)


def chains() -> Iterator[tuple[str, tuple[str, ...]]]:
    """What hears a key at once: `(place, owners)` from the widget that has the focus outwards."""
    for place in PLACES:
        apps = APPS[:1] if place.screen.startswith("phitui.tui.app.replay_app") else APPS
        for widget in place.widgets or ("",):
            yield place.title, (*([widget] if widget else []), place.screen, *apps)
