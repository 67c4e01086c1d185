"""The line in which words are looked for within the chat."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from phitui.core.tasks import start_task
from phitui.tui.terminal.display import displayable
from phitui.tui.widgets.exchange import PROMPT_LINES
from phitui.tui.widgets.finding import Match, Search, line_of
from phitui.tui.widgets.transcript import Transcript


class FindField(Input):
    """Takes the words."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "screen.find_done",
            "To the chat",
            show=False,
            priority=True,
            id="find.done",
            tooltip="To the chat, where n and N go on",
        ),
        Binding(
            "down", "screen.find_next(1)", "Next", show=False, priority=True, id="find.next", tooltip="The next match"
        ),
        Binding(
            "up",
            "screen.find_next(-1)",
            "Previous",
            show=False,
            priority=True,
            id="find.previous",
            tooltip="The match before",
        ),
    ]


class FindBar(Horizontal):
    """Below the transcript while words are looked for. It begins with the last match in view."""

    DEFAULT_CSS = """
    FindBar {
        display: none; height: 1; background: $panel;
        FindField, FindField:focus { width: 30; height: 1; border: none; padding: 0 1; background: $panel-lighten-1; }
        #found { width: 1fr; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._search = Search("")
        self._matches: list[Match] = []
        self._at = 0
        self._searching: asyncio.Task[None] | None = None
        self._came_from: Widget | None = None  # where the focus was before

    def compose(self) -> ComposeResult:
        yield FindField(placeholder="find in this chat", id="find", select_on_focus=False)
        yield Static("", id="found", markup=False)

    @property
    def active(self) -> bool:
        """Whether words are looked for."""
        return bool(self.display)

    def open(self, words: str = "") -> None:
        """Look for words: these, or those that are typed."""
        if not self.active:
            self._came_from = self.screen.focused
        self.display = True
        field = self.query_one(FindField)
        field.value = displayable(words)
        if words:
            self._look(words)
            self.screen.set_focus(self._transcript)
        else:
            self.screen.set_focus(field)  # at once: the words may come in the same burst as the key
            self._tell()

    def leave(self) -> bool:
        """End it, and go back to where it was begun; False where nothing is looked for."""
        if not self.active:
            return False
        self.display = False
        self._stop()
        self._search, self._matches = Search(""), []
        self.query_one(FindField).clear()
        self.screen.set_focus(self._came_from or self._transcript)
        return True

    @property
    def _transcript(self) -> Transcript:
        return self.screen.query_one(Transcript)

    @on(Input.Changed)
    def _changed(self, message: Input.Changed) -> None:
        message.stop()
        if self.active and self.query_one(FindField).has_focus:
            self._look(message.value)

    def _look(self, words: str) -> None:
        self._search = self._search.narrowed(words)
        self._run(self._begin)

    def _run(self, done: Callable[[], None]) -> None:
        """Look through what is new in the chat, then do the rest. Where it is much, the screen goes on in between."""
        self._stop()
        steps = self._search.work(self._transcript.exchanges)
        if next(steps, None) is None:
            self._finish(done)
        else:
            self.query_one("#found", Static).update(Content("searching…"))
            self._searching = start_task(self._go_on(steps, done))

    async def _go_on(self, steps: Iterator[int], done: Callable[[], None]) -> None:
        for _ in steps:
            await asyncio.sleep(0)
        self._finish(done)

    def _stop(self) -> None:
        if self._searching is not None:
            self._searching.cancel()
            self._searching = None

    def on_unmount(self) -> None:
        self._stop()

    def _finish(self, done: Callable[[], None]) -> None:
        self._matches = self._search.matches(self._transcript.exchanges)
        done()
        self._show()

    def _begin(self) -> None:
        seen = {id(item) for item in self._transcript.items_in_view()}
        near = [i for i, match in enumerate(self._matches) if id(match.exchange) in seen]
        self._at = near[-1] if near else len(self._matches) - 1

    def step(self, by: int) -> None:
        """To the next match (1) or the one before (-1), around the ends."""
        if not self.active:
            return
        current = self._matches[self._at] if self._matches else None

        def go() -> None:
            if self._matches:
                place = self._matches.index(current) if current in self._matches else 0
                self._at = (place + by) % len(self._matches)

        self._run(go)  # there may be more by now

    def _show(self) -> None:
        if self._matches:
            match = self._matches[self._at]
            self._transcript.show_match(match.exchange, self._line(match))
        self._tell()

    def _line(self, match: Match) -> int:
        """About in which line of its exchange it stands."""
        width = self._transcript.size.width - 6
        if not match.in_answer:
            return min(line_of(match.text, match.start, width), PROMPT_LINES)
        asked = min(line_of(match.exchange.prompt, len(match.exchange.prompt), width) + 1, PROMPT_LINES)
        return asked + 1 + line_of(match.text, match.start, width)

    def _tell(self) -> None:
        told = self.query_one("#found", Static)
        if self._matches:
            before, found, after = self._matches[self._at].around()
            count = f"{self._at + 1}/{len(self._matches)}{'+' if self._search.full else ''}  "
            told.update(
                Content.assemble(count, (before, "$text-muted"), (found, "bold $accent"), (after, "$text-muted"))
            )
        elif self.query_one(FindField).value.strip():
            told.update(Content("not in this chat"))
        else:
            told.update(Content("Enter, then n and N for the next and the one before · Esc ends it"))
