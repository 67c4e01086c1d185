"""A question that is answered with y or n."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static


class ConfirmScreen(ModalScreen[bool]):
    """Returns True for y; Enter is no answer, because it may have been meant for something else."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="confirm.yes"),
        Binding("n,escape", "answer(False)", "No", id="confirm.no"),
    ]
    DEFAULT_CSS = """
    ConfirmScreen {
        align: center middle;
        #question { width: auto; max-width: 90%; padding: 1 3; border: round $warning; background: $surface; }
    }
    """

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        yield Static(f"{self._question}\n\n[ y ] yes    [ n ] no", id="question", markup=False)

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)
