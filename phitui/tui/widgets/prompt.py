"""Where a person types: several lines, history, and a limit on what is pasted.

A text area writes to the terminal whatever it holds, and an earlier prompt may hold anything: a file that went with
it, a session from elsewhere. So what comes in is held without controls, and stays what it was until it is edited.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType, NoBinding
from textual.message import Message
from textual.widgets.text_area import EditResult

from phitui.core.text import without_controls
from phitui.tui.widgets.completion import Completion
from phitui.tui.widgets.history import PromptHistory
from phitui.tui.widgets.plain_area import PlainArea


class Prompt(PlainArea):
    """A text area that sends with Enter."""

    DEFAULT_CSS = """
    Prompt {
        height: auto;
        min-height: 3;
        max-height: 10;
        border: round $panel-lighten-2; border-title-color: $text-muted;
        background: $surface;
        padding: 0 1;
        &:light { border: round $panel-darken-3; }
        &:focus { border: round $primary; }
        & .text-area--placeholder { color: $text-muted; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", id="prompt.send", tooltip="Send the prompt"),
        Binding("ctrl+j,shift+enter", "newline", "New line", id="prompt.newline"),
        Binding(
            "tab", "accept", "Complete", show=False, id="prompt.accept", tooltip="Complete the word, or go to the chat"
        ),
        Binding("ctrl+underscore,alt+z", "undo", "Undo", show=False, id="prompt.undo", tooltip="Undo what was typed"),
        Binding("up", "up", "Older prompt", show=False, id="prompt.older"),
        Binding("down", "down", "Newer prompt", show=False, id="prompt.newer"),
    ]

    @dataclass
    class Sent(Message):
        """The person sends `text`."""

        text: str

    @dataclass
    class Kept(Message):
        """`text` has gone into the history."""

        text: str

    @dataclass
    class PasteRefused(Message):
        """A paste of `characters` was over the limit and was not taken."""

        characters: int

    def __init__(self, history_size: int, paste_limit: int) -> None:
        super().__init__(
            id="prompt",
            soft_wrap=True,
            show_line_numbers=False,
            placeholder="Ask something…",
            highlight_cursor_line=False,
        )
        for key in ("f6", "f7"):  # the text area's "select line" and "select all": here the sessions and the parameters
            self._bindings.key_to_bindings.pop(key, None)
        self._shown = self._given = ""  # the text that was loaded, as it is displayed and as it came
        self._history = PromptHistory(history_size)
        self._paste_limit = paste_limit
        self.completion: Completion | None = None  # where what is typed is a command

    async def _on_hide(self, event: events.Hide) -> None:  # type: ignore[override]  # Textual itself has both kinds
        """The focus stays: it is hidden only where the terminal is too small for a moment, and on a busy machine this
        comes when it has been shown again, in the middle of what somebody types."""
        await super()._on_hide(event)
        event.prevent_default()

    async def _on_key(self, event: events.Key) -> None:
        """Run this widget's own bindings here, in the order in which the keys came.

        Textual runs a binding only after the key has bubbled through other queues; the letters of a fast typist, or
        of a slow link that delivers in bursts, would overtake it: "a⏎b" became "ab⏎".
        """
        try:
            bindings = self._bindings.get_bindings_for_key(event.key)
        except NoBinding:
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()
        await self.run_action(bindings[0].action)

    def action_send(self) -> None:
        """Hand the text over and make room at once: what is typed next is the next prompt."""
        text = self.whole
        if text.strip():
            self._history.add(text)
            self.post_message(self.Kept(text))
            self.clear()
        self.post_message(self.Sent(text))

    @property
    def whole(self) -> str:
        """What is sent: as it was given while nothing of it has been edited, else what is shown."""
        return self._given if self.text == self._shown else self.text

    def load_text(self, text: str) -> None:
        """Have this as the text."""
        self._shown, self._given = without_controls(text), text
        super().load_text(self._shown)

    def clear(self) -> EditResult:
        """Have no text."""
        self._shown = self._given = ""
        return super().clear()

    def action_newline(self) -> None:
        self.insert("\n")

    def action_accept(self) -> None:
        """Take what is offered; where nothing is, on to the next pane."""
        chosen = self.completion.chosen if self.completion else None
        if chosen is None:
            self.screen.focus_next()
        else:
            self._show(chosen.text if chosen.text.endswith("/") else f"{chosen.text} ")

    def remember(self, older: list[str], draft: str) -> None:
        """What was kept of earlier starts. Where something has been typed since, the draft is in the history."""
        self._history.remember(older)
        if draft.strip() and not self.put_back(draft):
            self._history.add(draft)

    def replace_text(self, text: str) -> None:
        """Have this as the draft."""
        self._show(text)

    def action_up(self) -> None:
        """Up a line; from the first line to the older prompt. In an open list up a line."""
        if self.completion is not None and self.completion.shown:
            self.completion.move(-1)
        elif self.cursor_location[0] > 0:
            self.action_cursor_up()
        else:
            self._show(self._history.older(self.whole))

    def action_down(self) -> None:
        """Down a line; from the last line to the newer prompt. In an open list down a line."""
        if self.completion is not None and self.completion.shown:
            self.completion.move(1)
        elif self.cursor_location[0] < self.document.line_count - 1:
            self.action_cursor_down()
        else:
            self._show(self._history.newer())

    def put_back(self, text: str) -> bool:
        """Give a prompt back to the person; False when a draft stands there: the prompt is then in the history."""
        if self.text.strip():
            return False
        self._show(text)
        return True

    async def _on_paste(self, event: events.Paste) -> None:
        """Insert what is pasted, up to the limit."""
        event.prevent_default()
        event.stop()
        if len(event.text) > self._paste_limit:
            self.post_message(self.PasteRefused(len(event.text)))
        else:
            done = self.replace(event.text, *self.selection, maintain_selection_offset=False)
            self.move_cursor(done.end_location)  # which brings it into view

    def _show(self, text: str | None) -> None:
        if text is not None:
            self.text = text
            self.move_cursor(self.document.end)
