"""The help screen: every key in force and every command, the screen that one comes from first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from textwrap import wrap
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from phitui.tui.keys.catalog import ABOUT_COMMANDS, ABOUT_EVERYWHERE, ABOUT_REMAPPING, EVERYWHERE, PARTS, PLACES, Place
from phitui.tui.keys.judge import InForce, in_force
from phitui.tui.keys.names import shown, written
from phitui.tui.widgets.key_footer import KeyFooter
from phitui.tui.widgets.single_dismiss import LeftOnce

# With less room beside the keys what they do is written below them.
_NARROW = 24


class Row(NamedTuple):
    """`keys` are written as people do, or are a command; `words` are more that it is found by."""

    keys: str
    about: str
    words: str = ""


class Section(NamedTuple):
    """A part of phitui: what it is for, and its keys."""

    title: str
    about: str
    rows: list[Row]


class HelpScreen(LeftOnce[None]):
    """`over` is the screen that it was opened on, `keys` what [keys] has, `commands` the slash commands."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", id="help.back", priority=True),
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
        yield Input(placeholder="type to search: a key, or words of what it does", id="wanted")
        with VerticalScroll(can_focus=False):
            yield Static("", id="lines", markup=False)
        yield KeyFooter(show_command_palette=False)

    def on_resize(self) -> None:
        """Lines are broken for the width that there is."""
        self._show(self.query_one(Input).value)

    @on(Input.Changed)
    def _search(self, message: Input.Changed) -> None:
        self._show(message.value)
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def _show(self, wanted: str) -> None:
        lines = list(as_lines(self._sections, wanted.strip().casefold(), self.size.width - 3))
        self.query_one("#lines", Static).update(
            Content("\n").join(lines) if lines else Content("Nothing has these words in it.")
        )

    def action_by(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_page(self, direction: int) -> None:
        scroll = self.query_one(VerticalScroll)
        scroll.scroll_relative(y=direction * max(scroll.size.height - 1, 1), animate=False)


def sections(actions: Iterable[InForce], over: str, commands: Iterable[tuple[str, str]]) -> list[Section]:
    """The place of `over` first, then what is everywhere, the commands, and the rest."""
    rows: dict[str, list[Row]] = {}
    about = {EVERYWHERE: ABOUT_EVERYWHERE, **dict(PARTS.values()), **{place.title: place.about for place in PLACES}}
    for one in actions:
        keys = " ".join(shown(key) for key in one.keys) or "–"
        title = PARTS[one.action.owner][0] if one.action.owner in PARTS else one.action.place
        found = f"{one.action.id} {' '.join(map(written, one.keys))}"
        rows.setdefault(title, []).append(Row(keys, one.action.about, found))
    here = next((place for place in PLACES if place.screen == over), PLACES[0])
    order = dict.fromkeys([*_titles(here), EVERYWHERE, "", *(title for place in PLACES for title in _titles(place))])
    told = Section("Commands", ABOUT_COMMANDS, [Row(name, summary) for name, summary in commands])
    all_of = [
        Section(title, about[title], rows[title]) if title else told for title in order if title in rows or not title
    ]
    return [*(one for one in all_of if one.rows), Section("Your own keys", ABOUT_REMAPPING, [])]


def _titles(place: Place) -> list[str]:
    """A place's sections, the screen's own before those of its widgets."""
    return [place.title, *(PARTS[widget][0] for widget in place.widgets if widget in PARTS)]


def as_lines(wanted: Iterable[Section], words: str, width: int) -> Iterator[Content]:
    """The lines to show: those with these words, each section below its title and what it is for."""
    for title, about, rows in wanted:
        kept = [row for row in rows if words in " ".join((title, *row)).casefold()]
        if not kept and (rows or words not in f"{title} {about}".casefold()):
            continue
        yield Content.styled(title, "bold $primary")
        yield from (Content.styled(line, "$text-muted") for line in wrap(about, width))
        column = max((cell_len(row.keys) for row in rows), default=0) + 2
        for row in kept:
            yield from _row(row, column, width)
        yield Content("")


def _row(row: Row, column: int, width: int) -> Iterator[Content]:
    """Its keys and what it does, side by side or where that is too narrow one below the other."""
    if width - column < _NARROW:
        yield Content.styled(f"  {row.keys}", "bold")
        yield from (Content(f"    {line}") for line in wrap(row.about, max(width - 4, 8)))
        return
    keys = row.keys
    for line in wrap(row.about, width - column - 2):
        yield Content.assemble(f"  {keys}{' ' * (column - cell_len(keys))}", line)
        keys = ""
