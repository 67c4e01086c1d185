"""Screens that are left once, however many keys wanted it.

Keys that come in one burst are handled by several queues. Enter in a field is a message that its screen hears later:
where Esc has closed the screen meanwhile, Textual's `dismiss` would take the screen below off, or end in an error where
there is none.
"""

from __future__ import annotations

from textual.await_complete import AwaitComplete
from textual.command import CommandList, CommandPalette
from textual.screen import ModalScreen, Screen, ScreenResultType

from phitui.tui.terminal.compositor import FaithfulCompositor


class LeftOnce(Screen[ScreenResultType]):
    """Its end takes no other screen along."""

    def __init__(self) -> None:
        super().__init__()
        self._compositor = FaithfulCompositor()

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Leave with a result; nothing where it has been left, or another stands above it."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()


class Dialog(ModalScreen[ScreenResultType]):
    """A question above a screen, left as `LeftOnce`. (Of two bases Textual takes the style sheets of one.)"""

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """As `LeftOnce`."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()


class Palette(CommandPalette):
    """Textual's command palette, left as `LeftOnce`."""

    def dismiss(self, result: None = None) -> AwaitComplete:
        """As `LeftOnce`."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()

    def _action_command_list(self, action: str) -> None:
        """A page has no size before the list is laid out: Textual's list fails then."""
        if self.query_one(CommandList).size.height:
            super()._action_command_list(action)
