"""Small questions on top of a screen."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Select, Static

from phitui.tui.display import displayable

# How weights can be stored: those of phitui.models.quantize, which is not for this process.
PRECISIONS = ("int8", "int8_float16", "int8_bfloat16", "int8_float32", "float16", "bfloat16", "float32")

_BOX = """
    {name} {{
        align: center middle;
        #box {{
            width: 64; max-width: 100%; height: auto; max-height: 100%;
            padding: 1 2; background: $surface; border: round $primary;
        }}
        .keys {{ color: $text-muted; margin: 1 0 0 0; }}
    }}
"""


class Confirm(ModalScreen[bool]):
    """A question whose answer is yes or no."""

    DEFAULT_CSS = _BOX.format(name="Confirm")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "answer(True)", "Yes", id="confirm.yes"),
        Binding("n,escape", "answer(False)", "No", id="confirm.no"),
    ]

    def __init__(self, question: str, yes: str) -> None:
        """`yes` says what happens then."""
        super().__init__()
        self._question = question
        self._yes = yes

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Content(displayable(self._question)), markup=False)
            yield Static(Content(displayable(f"Enter or y: {self._yes} · Esc or n: no")), classes="keys", markup=False)

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)


class PullWish(NamedTuple):
    """What to pull and how to store its weights."""

    name: str
    precision: str


class PullDialog(ModalScreen[PullWish | None]):
    """Asks which model to pull, and at which precision."""

    DEFAULT_CSS = _BOX.format(name="PullDialog")
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Back", id="pull.back")]

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static("Pull a model of the list, or organisation/model", markup=False)
            yield Input(self._name, placeholder="organisation/model", max_length=200, id="wanted")
            yield Static("Precision of the stored weights", markup=False)
            yield Select([(kind, kind) for kind in PRECISIONS], value="int8", allow_blank=False, id="precision")
            yield Static("Enter pulls · Tab to the precision · Esc back", classes="keys", markup=False)

    @on(Input.Submitted)
    def _submit(self, message: Input.Submitted) -> None:
        wanted = message.value.strip()
        if wanted:
            precision = self.query_one("#precision", Select).value
            self.dismiss(PullWish(wanted, str(precision)))

    def action_cancel(self) -> None:
        self.dismiss(None)
