"""The help screen: every key in force and every command, the screen that one comes from first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from phitui.tui.keys.catalog import EVERYWHERE, PLACES
from phitui.tui.keys.judge import InForce, in_force
from phitui.tui.keys.names import shown
from phitui.tui.widgets.key_footer import KeyFooter
from phitui.tui.widgets.single_dismiss import LeftOnce

Section = tuple[str, list[tuple[str, str, str]]]
_KEY_CELLS = 18


class HelpScreen(LeftOnce[None]):
    """`over` is the screen that it was opened on, `keys` what [keys] has, `commands` the slash commands."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", key_display="esc", id="help.back", priority=True),
        Binding("up", "by(-1)", "Up", show=False, id="help.up", priority=True),
        Binding("down", "by(1)", "Down", show=False, id="help.down", priority=True),
        Binding("pageup", "page(-1)", "Page up", show=False, id="help.page_up", priority=True),
        Binding("pagedown", "page(1)", "Page down", show=False, id="help.page_down", priority=True),
    ]
    AUTO_FOCUS = "#wanted"
    DEFAULT_CSS = """
    HelpScreen {
        #wanted, #wanted:focus { height: 1; border: none; padding: 0 1; background: $surface; }
        VerticalScroll { height: 1fr; padding: 1 1 0 1; scrollbar-size-vertical: 1; }
        #lines { height: auto; }
    }
    """

    def __init__(self, over: type, keys: Mapping[str, str], commands: Iterable[tuple[str, str]]) -> None:
        super().__init__()
        self._over = f"{over.__module__}:{over.__qualname__}"
        self._sections = sections(in_force(keys), self._over, commands)

    def compose(self) -> ComposeResult:
        yield Static(Content.assemble(("φ phitui", "bold $primary"), "  Keys and commands"), id="head", markup=False)
        yield Input(placeholder="type to search: a key, an action, an id", id="wanted")
        with VerticalScroll(can_focus=False):
            yield Static("", id="lines", markup=False)
        yield KeyFooter(show_command_palette=False)

    def on_mount(self) -> None:
        self._show("")

    @on(Input.Changed)
    def _search(self, message: Input.Changed) -> None:
        self._show(message.value)

    def _show(self, wanted: str) -> None:
        lines = list(as_lines(self._sections, wanted.strip().casefold()))
        self.query_one("#lines", Static).update(
            Content("\n").join(lines) if lines else Content("Nothing has these words in it.")
        )
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def action_by(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_page(self, direction: int) -> None:
        scroll = self.query_one(VerticalScroll)
        scroll.scroll_relative(y=direction * max(scroll.size.height - 1, 1), animate=False)


def sections(actions: Iterable[InForce], over: str, commands: Iterable[tuple[str, str]]) -> list[Section]:
    """`(title, [(keys, what it does, id)])`: the place of `over` first, then what is everywhere, commands, the rest."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for one in actions:
        keys = " ".join(shown(key) for key in one.keys) or "–"
        found.setdefault(one.action.place, []).append((keys, one.action.about, one.action.id))
    told = [(name, summary, "") for name, summary in commands]
    here = next((place.title for place in PLACES if place.screen == over), PLACES[0].title)
    order = dict.fromkeys([here, EVERYWHERE, "Commands", *(place.title for place in PLACES)])
    found["Commands"] = told
    return [(title, found[title]) for title in order if found.get(title)]


def as_lines(wanted: Iterable[Section], words: str) -> Iterator[Content]:
    """The lines to show: those with these words, each section below its title."""
    for title, rows in wanted:
        kept = [row for row in rows if words in " ".join((title, *row)).casefold()]
        if not kept:
            continue
        yield Content.styled(title, "bold $primary")
        for keys, about, name in kept:
            yield Content.assemble(f"  {keys:<{_KEY_CELLS}}  ", f"{about}  ", (name, "$text-muted"))
        yield Content("")
