"""The themes as a list: the screen below shows each one as the cursor moves over it."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from phitui.tui.widgets.single_dismiss import Dialog


class ThemeList(Dialog[str | None]):
    """Gives the chosen name, or None with the theme as it was before."""

    DEFAULT_CSS = """
    ThemeList {
        align: right middle;
        background: transparent;
        #box { width: 34; max-width: 100%; height: auto; max-height: 100%; padding: 0 1; margin: 0 2;
               background: $surface; border: round $primary; }
        OptionList { height: auto; max-height: 16; background: $surface; padding: 0; &, &:focus { border: none; } }
        .keys { color: $text-muted; margin: 1 0 0 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "back", "Back", id="themes.back")]

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self._names = names
        self._before = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield OptionList(*(Option(Content(name), id=name) for name in self._names))
            yield Static("Enter keeps it · Esc goes back", classes="keys", markup=False)

    def on_mount(self) -> None:
        self._before = self.app.theme
        found = self.query_one(OptionList)
        found.highlighted = self._names.index(self._before) if self._before in self._names else 0
        found.focus()

    @on(OptionList.OptionHighlighted)
    def _show(self, message: OptionList.OptionHighlighted) -> None:
        if message.option.id:
            self.app.theme = message.option.id

    @on(OptionList.OptionSelected)
    def _keep(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(message.option.id)

    def action_back(self) -> None:
        self.app.theme = self._before
        self.dismiss(None)
