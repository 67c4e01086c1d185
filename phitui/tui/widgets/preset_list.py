"""Choose one of the kept system prompts, or delete some."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from phitui.core.errors import PhituiError
from phitui.core.text import one_line
from phitui.storage.presets import NAME_CHARS, Preset, Presets
from phitui.tui.widgets.dialogs import BOX, Confirm
from phitui.tui.widgets.single_dismiss import Dialog


class PresetList(Dialog[Preset | None]):
    """Its answer is the chosen one, None where nothing was chosen."""

    DEFAULT_CSS = BOX.format(name="PresetList") + " PresetList OptionList { height: auto; max-height: 14; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Back", id="presets.back"),
        Binding("d,delete", "delete", "Delete", id="presets.delete", tooltip="Delete the preset"),
    ]

    def __init__(self, presets: Presets, all_of_them: list[Preset]) -> None:
        super().__init__()
        self._presets = presets
        self._all = all_of_them

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static("System prompts", markup=False)
            yield OptionList(*map(_option, self._all), compact=True, markup=False)
            yield Static("Enter takes it · d deletes it · Esc back", classes="keys", markup=False)

    @on(OptionList.OptionSelected)
    def _take(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(self._all[message.option_index])

    def action_delete(self) -> None:
        """Delete the chosen one, after a question: this cannot be undone."""
        place = self.query_one(OptionList).highlighted
        if place is None:
            return
        preset = self._all[place]

        def decided(yes: bool | None) -> None:
            if yes:
                self._delete(preset)

        self.app.push_screen(Confirm(f"Delete the preset “{one_line(preset.name, NAME_CHARS)}”?", "delete it"), decided)

    def _delete(self, preset: Preset) -> None:
        options = self.query_one(OptionList)
        try:
            self._presets.delete(preset.name)
            self._all = self._presets.all()
        except PhituiError as error:
            self.notify(str(error), severity="warning")
            return
        if not self._all:
            self.dismiss(None)
            return
        options.clear_options()
        options.add_options(map(_option, self._all))
        options.highlighted = 0


def _option(preset: Preset) -> Option:
    return Option(Content(f"{one_line(preset.name, NAME_CHARS)} — {one_line(preset.text[:400], 80)}"))
