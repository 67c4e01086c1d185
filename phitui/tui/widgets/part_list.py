"""Choose what of an answer to copy: all of it, or one of its code blocks."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from phitui.core.text import one_line
from phitui.tui.widgets.code_blocks import CodeBlock
from phitui.tui.widgets.dialogs import BOX
from phitui.tui.widgets.single_dismiss import Dialog

_LINE_CHARS = 60


class Taken(NamedTuple):
    """Code block `number`, from 1; 0 is the whole answer. `save` is for a file instead of the clipboard."""

    number: int
    save: bool


class PartList(Dialog[Taken | None]):
    """A digit copies the block of this number at once."""

    DEFAULT_CSS = BOX.format(name="PartList") + " PartList OptionList { height: auto; max-height: 14; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Back", id="parts.back"),
        Binding("s", "save", "Save", id="parts.save", tooltip="Save the code to a file"),
    ]

    def __init__(self, text: str, blocks: list[CodeBlock]) -> None:
        super().__init__()
        self._text = text
        self._blocks = blocks

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static("Copy" if self._blocks else "Copy · this answer has no code blocks", markup=False)
            options = [_option(0, "whole answer", self._text)]
            options += [_option(i, block.language or "code", block.text) for i, block in enumerate(self._blocks, 1)]
            yield OptionList(*options, compact=True, markup=False)
            yield Static("Enter or its digit copies · s saves to a file · Esc back", classes="keys", markup=False)

    def on_mount(self) -> None:
        self.query_one(OptionList).highlighted = 1 if self._blocks else 0

    @on(OptionList.OptionSelected)
    def _take(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(Taken(message.option_index, False))

    def on_key(self, event: events.Key) -> None:
        if event.character and event.character in "0123456789"[: min(len(self._blocks), 9) + 1]:
            event.stop()
            self.dismiss(Taken(int(event.character), False))

    def action_save(self) -> None:
        """To a file."""
        self.dismiss(Taken(self.query_one(OptionList).highlighted or 0, True))


def _option(number: int, kind: str, text: str) -> Option:
    lines = text.strip("\n").split("\n")
    first = one_line(next((line for line in lines if line.strip()), ""), _LINE_CHARS)
    return Option(Content(f"{number}  {one_line(kind, 20)} · {len(lines)} line{'s' * (len(lines) != 1)} · {first}"))
