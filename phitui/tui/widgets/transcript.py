"""The chat so far. Changes are gathered and painted a few times a second."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from phitui.tui.terminal.display import Pace
from phitui.tui.widgets.exchange import PROMPT_LINES, PROSE_CELLS, ExchangeView, Siblings
from phitui.tui.widgets.windowed import WindowedScroll
from phitui.workbench.chat.exchanges import Exchange, path_to

# Answers are laid out as Markdown when the scrolling has rested for this long, one at a time.
_REST_S = 0.15
_POLISH_S = 0.05

Deed = Literal["edit", "again", "several", "compare", "fork", "older", "newer", "copy", "parts", "save"]


@dataclass(eq=False)
class Note:
    """A line of phitui's own. `kind` is "", "warn" or "bad"."""

    text: str
    kind: str


def _deed(key: str, deed: Deed, word: str, about: str) -> Binding:
    return Binding(key, f"deed('{deed}')", word, id=f"transcript.{deed}", tooltip=about)


def _quiet(keys: str, action: str, name: str, about: str) -> Binding:
    """One that the footer has no room for."""
    return Binding(keys, action, about, show=False, id=f"transcript.{name}")


class Transcript(WindowedScroll):
    """Follows its end until the person scrolls up, and again once they are back at the end. While it has the focus one
    exchange is marked; keys that mean an exchange mean that one."""

    DEFAULT_CSS = """
    Transcript {
        height: 1fr;
        padding: 1 0 0 0;
        scrollbar-size-vertical: 1;
        scrollbar-background: $background;
        scrollbar-background-hover: $background;
        &:focus { outline-left: vkey $primary; }
        .note { color: $text-muted; margin: 0 2 1 2; height: auto; }
        .note.bad { color: $text-error; }
        .note.warn { color: $text-warning; }
    }
    """

    # What is typed after a click, made to select or to scroll, is still for the prompt: here letters are commands.
    FOCUS_ON_CLICK: ClassVar[bool] = False

    BINDINGS: ClassVar[list[BindingType]] = [
        _quiet("k", "scroll_up", "up", "A line up"),
        _quiet("j", "scroll_down", "down", "A line down"),
        _quiet("ctrl+u", "half(-1)", "half_up", "Half a page up"),
        _quiet("ctrl+d", "half(1)", "half_down", "Half a page down"),
        _quiet("ctrl+b", "page(-1)", "page_up", "A page up"),
        _quiet("ctrl+f", "page(1)", "page_down", "A page down"),
        _quiet("up,left_square_bracket", "mark(-1)", "mark_older", "Mark the exchange before"),
        _quiet("down,right_square_bracket", "mark(1)", "mark_newer", "Mark the next exchange"),
        _quiet("g,home", "first", "first", "To the beginning of the chat"),
        _quiet("G,end", "last", "last", "To the end of the chat, and follow it"),
        Binding("slash", "screen.find", "Find", id="transcript.find", priority=True, tooltip="Find words in this chat"),
        _quiet("n", "screen.find_next(1)", "next_match", "Next match"),
        _quiet("N", "screen.find_next(-1)", "match_before", "Match before"),
        _deed("e", "edit", "Edit", "Edit the prompt and have it answered again"),
        _deed("r", "again", "Again", "Answer again: another answer to the same prompt"),
        _deed("a", "several", "3 more", "Three more answers to the same prompt, side by side"),
        _quiet("v", "deed('compare')", "compare", "Compare the answers to this prompt, side by side"),
        _deed("y", "copy", "Copy", "Copy the answer"),
        _deed("c", "parts", "Code", "Copy code: choose a block of the answer"),
        _deed("s", "save", "Save", "Save the answer to a file"),
        _quiet("t", "thinking", "thinking", "Fold or unfold what the model thought before its answer"),
        _deed("f", "fork", "Fork", "Fork: go on from this exchange; what followed it stays"),
        Binding(
            "left",
            "deed('older')",
            "‹ ›",
            key_display="← →",
            id="transcript.sibling_older",
            tooltip="Other version of this exchange: the one before",
        ),
        _quiet("right", "deed('newer')", "sibling_newer", "Other version of this exchange: the next one"),
    ]

    @dataclass
    class Wanted(Message):
        """The person wants something done with an exchange."""

        deed: Deed
        exchange: Exchange

    def __init__(self, pace: Pace, markdown: bool, siblings: Siblings = lambda exchange: [exchange]) -> None:
        super().__init__(id="transcript")
        self._markdown = markdown
        self._siblings = siblings
        self._period_s = 1.0 / pace.repaint_hz
        self._scroll_lines = pace.scroll_lines
        self._known: set[Exchange] = set()
        self._changed: set[Exchange] = set()
        self._marked: Exchange | None = None
        self._scrolled_at = 0.0
        self._timer: Timer | None = None
        self._polisher: Timer | None = None

    def on_mount(self) -> None:
        self._timer = self.set_interval(self._period_s, self._repaint, pause=True)
        self._polisher = self.set_interval(_POLISH_S, self._polish, pause=True)
        self.anchor()

    def make_view(self, item: object) -> Widget:
        if isinstance(item, Note):
            return Static(Content(item.text), classes=f"note {item.kind}", markup=False)
        assert isinstance(item, Exchange)  # noqa: S101 - nothing else is added below
        view = ExchangeView(item, self._markdown, self._siblings, self._scroll_lines)
        view.set_class(item is self._marked, "-marked")
        if self._polisher is not None:
            self._polisher.resume()
        return view

    def estimate(self, item: object, width: int) -> int:
        room = max(width - 6, 10)
        if isinstance(item, Note):
            return 2 + len(item.text) // room
        assert isinstance(item, Exchange)  # noqa: S101
        asked = min(item.prompt.count("\n") + len(item.prompt) // room, PROMPT_LINES)
        shown = item.text or item.thinking
        return 5 + asked + shown.count("\n") + len(shown) // min(room, PROSE_CELLS) + (2 if item.thinking else 0)

    def note(self, text: str, kind: str = "") -> None:
        """Add a line of phitui's own. `kind` is "", "warn" or "bad"."""
        self.add_item(Note(text, kind))

    def show(self, exchange: Exchange) -> None:
        """Something of `exchange` has changed. Cheap: the painting comes with the next tick, an end at once."""
        if exchange not in self._known:
            if exchange.parent is not self._last():  # of another branch
                self.show_path(path_to(exchange))
            else:
                self._known.add(exchange)
                self.add_item(exchange)
            self.anchor()
        self._changed.add(exchange)
        if self._timer is not None:
            self._timer.resume()
            if exchange.state.over:
                self.call_later(self._repaint)

    def show_path(self, path: list[Exchange]) -> None:
        """Show this branch of the chat. phitui's own lines stay up to where it differs from the one before."""
        kept: list[object] = []
        place = 0
        for item in self._items:
            if isinstance(item, Exchange):
                if place >= len(path) or path[place] is not item:
                    break
                place += 1
            kept.append(item)
        self._known = set(path)
        self._changed |= self._known & set(self._views)
        self.set_items([*kept, *path[place:]])
        if self._marked not in self._known:
            self.mark(None)
        if self._timer is not None:
            self._timer.resume()

    def page(self, direction: int, pages: float = 1.0) -> None:
        """Scroll a page, or a part of one, up (-1) or down (1); at the end, follow it again."""
        height = max(round(self.scrollable_content_region.height * pages), 1)
        if not self.max_scroll_y:
            return
        if direction > 0 and self.scroll_y + height >= self.max_scroll_y:
            self.scroll_end(animate=False)
        else:
            self.scroll_relative(y=direction * height, animate=False)

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
        self._changed.clear()
        self.mark(None)
        self.set_items([])
        self.anchor()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        self._scrolled_at = time.monotonic()
        super().watch_scroll_y(old_value, new_value)

    async def _repaint(self) -> None:
        changed, self._changed = self._changed, set()
        for exchange in sorted(changed, key=lambda one: one.number):
            view = self.view_of(exchange)
            if isinstance(view, ExchangeView) and view.is_mounted:
                await view.refresh_exchange()
                if view.wants_markdown and self._polisher is not None:
                    self._polisher.resume()
            elif view is not None:
                self._changed.add(exchange)  # not there yet: with the next tick
            else:
                self.item_changed(exchange)
        if not self._changed and self._timer is not None:
            self._timer.pause()

    async def _polish(self) -> None:
        """Lay out as Markdown one answer near the view, while nobody scrolls: it takes some tens of ms."""
        if time.monotonic() - self._scrolled_at < _REST_S and not self.follows_end:
            return
        views = [view for view in self._views.values() if isinstance(view, ExchangeView) and view.wants_markdown]
        if not views:
            if self._polisher is not None:
                self._polisher.pause()
            return
        seen = {id(item) for item in self.items_in_view()}
        views.sort(key=lambda view: (id(view.exchange) not in seen, -view.exchange.number))
        if views[0].is_mounted:
            await views[0].to_markdown()

    @property
    def marked(self) -> Exchange | None:
        """The exchange that keys and commands mean: the marked one, else the last."""
        if self._marked is not None and self.has_focus:
            return self._marked
        return self._last()

    def _last(self) -> Exchange | None:
        return next((item for item in reversed(self._items) if isinstance(item, Exchange)), None)

    def mark(self, exchange: Exchange | None) -> None:
        """Mark an exchange, or none."""
        for one in (self._marked, exchange):
            view = self.view_of(one) if one is not None else None
            if view is not None:
                view.set_class(one is exchange, "-marked")
        self._marked = exchange

    @property
    def exchanges(self) -> list[Exchange]:
        """Those that are shown, from the beginning of the chat."""
        return [item for item in self._items if isinstance(item, Exchange)]

    def show_match(self, exchange: Exchange, line: int) -> None:
        """Mark an exchange, and bring about this line of it into the upper half of the view."""
        self.mark(exchange)
        self.show_item(exchange, max(line - self.scrollable_content_region.height // 3, 0))

    def _on_hide(self, event: events.Hide) -> None:
        """As the prompt: the focus stays."""
        event.prevent_default()

    def on_focus(self) -> None:
        if self._marked is not None and self._marked in self.items_in_view():
            return
        in_view = self._exchanges_in_view()
        self.mark(in_view[-1] if in_view else None)

    def on_blur(self) -> None:
        if self.app.app_focus:  # else it is the terminal that somebody has left for a moment
            self.mark(None)

    async def _tend(self) -> None:
        await super()._tend()
        self._mark_in_view()

    def _mark_in_view(self) -> None:
        """Keys mean the marked exchange, so it has to be one that is seen: where it has been scrolled away, the nearest
        to it that is."""
        if self._marked is None or self._pin is not None or not self.has_focus:
            return
        in_view = self._exchanges_in_view()
        if in_view and self._marked not in in_view:
            path = self.exchanges
            self.mark(in_view[0] if path.index(self._marked) < path.index(in_view[0]) else in_view[-1])

    def _exchanges_in_view(self) -> list[Exchange]:
        return [item for item in self.items_in_view() if isinstance(item, Exchange)]

    def action_mark(self, step: int) -> None:
        """Mark the exchange before or after the marked one and show it."""
        path = self.exchanges
        in_view = self._exchanges_in_view()
        if not path:
            return
        if self._marked in in_view or not in_view:
            places = [i for i, one in enumerate(path) if one is self._marked]
            at = max(0, min(len(path) - 1, (places[0] if places else len(path) - 1) + step))
            chosen = path[at]
        else:  # scrolled away from it
            chosen = in_view[-1 if step < 0 else 0]
        self.mark(chosen)
        self._bring_into_view(chosen)

    def _bring_into_view(self, exchange: Exchange) -> None:
        top, bottom = self.scroll_y, self.scroll_y + self.scrollable_content_region.height
        for item, start, end in self._places():
            if item is exchange and start >= top and (end <= bottom or start < bottom - 3):
                return
        self.show_item(exchange)

    def action_page(self, direction: int) -> None:
        self.page(direction)

    def action_half(self, direction: int) -> None:
        """Half a page up or down."""
        self.page(direction, 0.5)

    def action_first(self) -> None:
        """To the beginning of the chat."""
        self.scroll_home(animate=False)

    def action_last(self) -> None:
        """To its end, and follow it."""
        self.anchor()

    def action_thinking(self) -> None:
        """Fold or unfold what the model thought before the marked answer."""
        view = self.view_of(self.marked) if self.marked is not None else None
        if not isinstance(view, ExchangeView) or not view.toggle_thinking():
            self.notify("This answer has no thinking.")

    def action_deed(self, deed: Deed) -> None:
        """Have something done with the marked exchange."""
        exchange = self.marked
        if exchange is not None:
            self.post_message(self.Wanted(deed, exchange))
