"""What reaches the terminal: repaints in few bytes, none lost, and none while something else has the terminal."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from rich.console import RenderableType
from textual._compositor import ChopsUpdate
from textual.app import App
from textual.screen import Screen

from phitui.tui.terminal.screen_diff import DiffUpdate
from phitui.tui.terminal.shown_cells import ShownCells


class PaintingApp(App[None]):
    """Textual (8.2.8) with its repaints mended."""

    def __init__(self) -> None:
        super().__init__()
        self._away = False  # an editor or a shell has the terminal
        self._terminal_cells = ShownCells()
        self._unpainted = False

    @property
    def _background_screens(self) -> list[Screen[Any]]:
        """The screens that are seen through those above them, the lowest first. Textual has the one below the top among
        them in any case: an answer that streams there would have the whole of the top painted anew."""
        seen: list[Screen[Any]] = []
        for above, below in pairwise(reversed(self._screen_stack)):
            if above.styles.background.a == 1:
                break
            seen.insert(0, below)
        return seen

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Every repaint passes here on its way to the terminal."""
        if self._away or renderable is None:
            return
        if self._batch_count:  # Textual drops it
            self._unpainted = True
        elif isinstance(renderable, ChopsUpdate):
            super()._display(screen, DiffUpdate(renderable, self._terminal_cells))
        else:
            self._terminal_cells.forget()
            super()._display(screen, renderable)

    def _end_batch(self) -> None:
        """Paint what was to change during a batch of updates. In Textual a change that a screen hears of in the middle
        of one waits for the screen's next message, which may never come: "Written." was not to be seen."""
        super()._end_batch()
        if self._batch_count or not self._screen_stack:
            return
        if self._unpainted:
            self._unpainted = False
            self.screen.refresh()
        for screen in (*self._background_screens, self.screen):
            screen.check_idle()
