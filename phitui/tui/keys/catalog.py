"""All actions with their ids and default keys, by the screen that they are for. Imports every screen: not before the
first frame."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from textual.binding import Binding


class Place(NamedTuple):
    """A screen, what it is for, and its widgets that have keys of their own: only one of them has the focus at a
    time."""

    title: str
    about: str
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
ABOUT_EVERYWHERE = "Keys that work on every screen. ^n is Ctrl and n pressed together, Alt+p is Alt and p."
ABOUT_COMMANDS = "Typed at the beginning of a prompt. Tab completes them."
ABOUT_REMAPPING = (
    "Every key can be changed in config.toml, by the id of what it does: "
    '"console.monitor" = "ctrl+g, f10" below [keys]; "none" takes the key away. phitui keys lists all ids.'
)
# Widgets whose keys have a section of their own in help.
PARTS = {
    f"{_WIDGETS}.prompt:Prompt": (
        "The prompt",
        "Where you type. From its first and last line ↑ ↓ lead to other prompts.",
    ),
    f"{_WIDGETS}.transcript:Transcript": (
        "The chat",
        "Tab leads to it, then letters are keys. Those for an answer mean the marked exchange, which ↑ ↓ choose.",
    ),
    f"{_WIDGETS}.find_bar:FindField": ("Finding words", "/ in the chat opens this line."),
}
PLACES = (
    Place(
        "Console",
        "The first screen: a chat with the model, and beside it what the hardware does.",
        f"{_SCREENS}.console:ConsoleScreen",
        (f"{_WIDGETS}.prompt:Prompt", f"{_WIDGETS}.transcript:Transcript", f"{_WIDGETS}.find_bar:FindField"),
    ),
    Place(
        "Models",
        "The models on this machine, and those that phitui can download and convert.",
        f"{_SCREENS}.models:ModelsScreen",
        (f"{_SCREENS}.models:ModelTable",),
    ),
    Place(
        "Tuner",
        "Measures which batch size and configuration give the most tokens per second, within the limits that you set.",
        f"{_SCREENS}.tuner:TunerScreen",
    ),
    Place(
        "Monitor",
        "What the GPUs and the CPU do now and have done, which processes use them, and hints why the work is slow.",
        f"{_SCREENS}.monitor:MonitorScreen",
    ),
    Place(
        "Batches",
        "Files of prompts, with one answer for each prompt, worked through while the chat goes on.",
        f"{_SCREENS}.batches:BatchScreen",
    ),
    Place(
        "Sessions",
        "Every chat is kept as a session. Here you search, resume, rename, export and delete them.",
        f"{_SCREENS}.sessions:SessionsScreen",
        (f"{_WIDGETS}.session_list:SessionTable", f"{_WIDGETS}.session_list:SearchField"),
    ),
    Place(
        "Parameters",
        "How the answers of this chat are made: system prompt, length, how random. Changes apply from the next prompt.",
        f"{_SCREENS}.parameters:ParametersScreen",
        (f"{_SCREENS}.parameters:SystemArea",),
    ),
    Place(
        "Presets",
        "System prompts that were kept under a name, for use in any chat.",
        f"{_WIDGETS}.preset_list:PresetList",
    ),
    Place(
        "Answers side by side",
        "Several answers to one prompt: choose the one that the chat goes on with. The others stay, too.",
        f"{_SCREENS}.several:SeveralScreen",
    ),
    Place(
        "Parts of an answer",
        "The code blocks of an answer, to copy or save one of them.",
        f"{_WIDGETS}.part_list:PartList",
    ),
    Place(
        "Themes", "The colours. A theme is shown as soon as the cursor is on it.", f"{_SCREENS}.theme_list:ThemeList"
    ),
    Place(
        "Help",
        "This screen. What you type is searched for in all keys and descriptions.",
        f"{_SCREENS}.help:HelpScreen",
    ),
    Place("A question", "Asked before something is stopped or lost.", f"{_WIDGETS}.dialogs:Confirm"),
    Place(
        "A line of text", "A name, a file or words to search for. Enter takes what is typed.", f"{_WIDGETS}.dialogs:Ask"
    ),
    Place(
        "Pulling a model",
        "Downloads a model from the Hugging Face Hub and converts it for this machine.",
        f"{_WIDGETS}.dialogs:PullDialog",
    ),
    Place(
        "Adding a batch",
        "Which file of prompts to run, and where its answers go.",
        f"{_WIDGETS}.batch_dialog:BatchDialog",
    ),
    Place(
        "Engines",
        "An engine computes the answers: the one on this machine, or a server that config.toml names.",
        f"{_WIDGETS}.engine_dialog:EngineDialog",
    ),
    Place(
        "Tuning form",
        "What the tuner is to measure for: the lengths of prompts and answers, and the limits.",
        f"{_WIDGETS}.tuning_form:TuningForm",
        (f"{_WIDGETS}.tuning_form:CheckBox",),
    ),
    Place(
        "Replay of a recording",
        "Plays what the monitor has recorded (phitui monitor --replay FILE).",
        "phitui.tui.app.replay_app:ReplayApp",
    ),
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
