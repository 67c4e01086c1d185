"""What a command that is being typed can become: a few lines under the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from textual.content import Content
from textual.widgets import Static

from phitui.core.text import one_line

_LINES = 7


class Suggestion(NamedTuple):
    """What an argument, or the whole line, can be completed to, and what that is."""

    text: str
    about: str = ""


class Completion(Static):
    """Never has the focus: the prompt's keys choose in it."""

    DEFAULT_CSS = """
    Completion { display: none; height: auto; max-height: 8; padding: 0 2; background: $panel; }
    """

    def __init__(self) -> None:
        super().__init__("", id="completion", markup=False)
        self._choices: Sequence[Suggestion] = ()
        self._at = 0

    @property
    def shown(self) -> bool:
        return bool(self.display)

    @property
    def chosen(self) -> Suggestion | None:
        """What Tab would take."""
        return self._choices[self._at] if self.shown and self._choices else None

    def show(self, choices: Sequence[Suggestion]) -> None:
        """Offer these; with none it closes."""
        self._choices, self._at = choices, 0
        self.display = bool(choices)
        self._paint()

    def move(self, by: int) -> None:
        """Choose the next or the one before."""
        self._at = (self._at + by) % max(len(self._choices), 1)
        self._paint()

    def _paint(self) -> None:
        first = max(0, min(self._at - _LINES // 2, len(self._choices) - _LINES))
        rows = self._choices[first : first + _LINES]
        width = min(max((len(row.text) for row in rows), default=0), 40)
        lines = [self._line(row, width, first + i == self._at) for i, row in enumerate(rows)]
        if len(self._choices) > len(rows):
            lines.append(
                Content.styled(f"  {self._at + 1} of {len(self._choices)} · Tab takes it, Esc closes", "$text-muted")
            )
        self.update(Content("\n").join(lines))

    @staticmethod
    def _line(choice: Suggestion, width: int, chosen: bool) -> Content:
        name = one_line(choice.text, 60)
        about = (f"  {one_line(choice.about, 80)}", "$text-muted")
        return Content.assemble("› " if chosen else "  ", (f"{name:<{width}}", "bold $accent" if chosen else ""), about)
