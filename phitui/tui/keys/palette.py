"""What the command palette (^p) offers: all that has a key, and what has none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen

from phitui.tui.keys.names import shown

# Before anything is typed: where one can go, then what is done most.
_FIRST = (
    "console.new", "console.models", "console.tuner", "console.monitor", "console.batches", "console.sessions",
    "console.parameters", "app.engines", "app.help", "app.themes", "console.stop", "transcript.copy",
    "transcript.parts", "transcript.edit", "transcript.again", "transcript.several", "transcript.find", "app.quit",
)  # fmt: skip
# What types, chooses in a list, or moves a cursor or a pane is of no use there.
_KEYS_ONLY = ("prompt.", "find.", "app.palette", "app.interrupt")
_MOVES = frozenset(
    (
        "up", "down", "page_up", "page_down", "half_up", "half_down", "first", "last", "left", "right", "previous",
        "next", "above", "below", "mark_older", "mark_newer", "pane", "next_pane", "to_list", "device_before", "toggle",
        "back",
    )
)  # fmt: skip
_TITLE_CELLS = 62


class _Act(NamedTuple):
    """An action of `node` with its keys, as people write them."""

    node: DOMNode
    binding: Binding
    keys: str

    @property
    def title(self) -> str:
        return self.binding.tooltip or self.binding.description

    @property
    def place(self) -> int:
        return _FIRST.index(self.binding.id) if self.binding.id in _FIRST else len(_FIRST)

    @property
    def leads_elsewhere(self) -> bool:
        return self.binding.action.startswith("app.")

    def does(self, command: SystemCommand) -> bool:
        """Whether it is what the command does, too."""
        method = f"action_{self.binding.action}"
        return command.title == self.title or command.callback == getattr(self.node, method, None)


def offered(
    screen: Screen[object], console: Screen[None] | None, others: Iterable[SystemCommand]
) -> Iterator[SystemCommand]:
    """All that can be done on `screen`, what is wanted most first: the actions that have keys, and the `others`. On a
    screen above the `console` its own come first, then those that lead elsewhere. Each has its keys in the place of a
    help text, and what is both an action and one of the others is there once."""
    focusable = (widget for widget in screen.query("*") if widget.can_focus and widget.display)
    nodes = (screen, *focusable)
    own = [act for node in nodes for act in _acts(node, screen.app)]
    everywhere = list(_acts(screen.app, screen.app))
    if screen is console:
        acts = sorted([*own, *everywhere], key=lambda act: act.place)
    else:
        heard = {key for node in nodes for key, _ in node._bindings}
        doors = _acts(console, screen.app) if console is not None else ()
        everywhere += (act for act in doors if act.leads_elsewhere and act.binding.key not in heard)
        acts = [*own, *sorted(everywhere, key=lambda act: act.place)]
    others = list(others)
    for act in acts:
        named = next((one for one in others if act.does(one)), None)
        if named is not None:
            others.remove(named)
        run = partial(screen.app.run_action, act.binding.action, act.node)
        yield SystemCommand(named.title if named else act.title, act.keys, run)
    yield from (SystemCommand(one.title, "", one.callback) for one in others)


def _acts(node: DOMNode, app: App[object]) -> Iterator[_Act]:
    keys: dict[str, list[str]] = {}
    first: dict[str, Binding] = {}
    for key, binding in node._bindings:
        if binding.id is not None and not _only_a_key(binding.id):
            keys.setdefault(binding.id, []).append(shown(key))
            first.setdefault(binding.id, binding)
    for name, binding in first.items():
        if app._check_action_state(binding.action, node) is not False:
            yield _Act(node, binding, " ".join(keys[name]))


def _only_a_key(name: str) -> bool:
    return name.startswith(_KEYS_ONLY) or name.rpartition(".")[2] in _MOVES


class PaletteCommands(Provider):
    """Textual's own sorts by the alphabet, and has two lines for each."""

    async def discover(self) -> Hits:
        for command in self.app.get_system_commands(self.screen):
            yield DiscoveryHit(_line(Content(command.title), command.help), command.callback, command.title)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for command in self.app.get_system_commands(self.screen):
            score = matcher.match(command.title)
            if score > 0:
                found = matcher.highlight(command.title)
                yield Hit(score, _line(found, command.help), command.callback, command.title)


def _line(title: Content, keys: str) -> Content:
    """A title and its keys, all keys below one another."""
    gap = " " * max(_TITLE_CELLS - title.cell_length, 2)
    return Content.assemble(title, gap, (keys, "not bold $text-muted")) if keys else title
