"""Screens that are left once, however many keys wanted it.

Keys that come in one burst are handled by several queues. Enter in a field is a message that its screen hears later:
where Esc has closed the screen meanwhile, Textual's `dismiss` would take the screen below off, or end in an error where
there is none.
"""

from __future__ import annotations

from textual.await_complete import AwaitComplete
from textual.command import CommandList, CommandPalette
from textual.content import Content
from textual.screen import ModalScreen, Screen, ScreenResultType
from textual.widgets import Static

from phitui.core.text import one_line
from phitui.tui.terminal.compositor import FaithfulCompositor
from phitui.tui.terminal.display import displayable


class LeftOnce(Screen[ScreenResultType]):
    """Its end takes no other screen along. Most have a line #head at the top, and a line #said above the keys."""

    DEFAULT_CSS = """
    LeftOnce {
        #head { height: 1; background: $panel; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #said { height: auto; max-height: 4; padding: 0 2; color: $text-muted; }
        #said.bad { color: $text-error; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._compositor = FaithfulCompositor()

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Leave with a result; nothing where it has been left, or another stands above it."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()

    def action_back(self) -> None:
        """Leave."""
        self.dismiss()

    def say(self, text: str, bad: bool = False) -> None:
        """One line above the keys; nothing where the screen is being left."""
        text = displayable(one_line(text, 500))
        for said in self.query("#said").results(Static):
            said.set_class(bad, "bad")
            if str(said.content) != text:
                said.update(Content(text))


class Dialog(ModalScreen[ScreenResultType]):
    """A question above a screen, left as `LeftOnce`. (Of two bases Textual takes the style sheets of one.)"""

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """As `LeftOnce`."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()

    def action_cancel(self) -> None:
        """Leave without an answer."""
        self.dismiss(None)


class Palette(CommandPalette):
    """Textual's command palette, left as `LeftOnce`."""

    def dismiss(self, result: None = None) -> AwaitComplete:
        """As `LeftOnce`."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()

    def _action_command_list(self, action: str) -> None:
        """A page has no size before the list is laid out: Textual's list fails then."""
        if self.query_one(CommandList).size.height:
            super()._action_command_list(action)
