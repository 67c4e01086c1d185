"""The chat so far. Changes are gathered and painted a few times a second."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static

from phitui.jobs.chat import Exchange
from phitui.tui.widgets.exchange import ExchangeView


class Transcript(VerticalScroll):
    """Follows its end until the person scrolls up, and again once they are back at the end."""

    DEFAULT_CSS = """
    Transcript {
        height: 1fr;
        padding: 1 0 0 0;
        scrollbar-size-vertical: 1;
        scrollbar-background: $background;
        scrollbar-background-hover: $background;
        scrollbar-color: $panel;
        .note { color: $text-muted; margin: 0 2 1 2; height: auto; }
        .note.bad { color: $text-error; }
        .note.warn { color: $text-warning; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "scroll_up", "Up", show=False, id="transcript.up"),
        Binding("j", "scroll_down", "Down", show=False, id="transcript.down"),
    ]

    def __init__(self, repaint_hz: float, markdown: bool) -> None:
        super().__init__(id="transcript")
        self._markdown = markdown
        self._period_s = 1.0 / repaint_hz
        self._views: dict[int, ExchangeView] = {}
        self._changed: set[int] = set()
        self._timer: Timer | None = None

    def on_mount(self) -> None:
        self._timer = self.set_interval(self._period_s, self._repaint, pause=True)
        self.anchor()

    def note(self, text: str, kind: str = "") -> None:
        """Add a line of phitui's own. `kind` is "", "warn" or "bad"."""
        self.mount(Static(Content(text), classes=f"note {kind}", markup=False))

    def show(self, exchange: Exchange) -> None:
        """Something of `exchange` has changed. Cheap: the painting comes with the next tick."""
        if exchange.number not in self._views:
            view = ExchangeView(exchange, self._markdown)
            self._views[exchange.number] = view
            self.mount(view)
            self.anchor()
        self._changed.add(exchange.number)
        if self._timer is not None:
            self._timer.resume()

    def page(self, direction: int) -> None:
        """Scroll a page up (-1) or down (1); at the end, follow it again."""
        height = self.scrollable_content_region.height
        if not self.max_scroll_y:
            return
        if direction > 0 and self.scroll_y + height >= self.max_scroll_y:
            self.scroll_end(animate=False)
        else:
            self.scroll_relative(y=direction * height, animate=False)

    async def clear(self) -> None:
        """Forget everything."""
        self._views.clear()
        self._changed.clear()
        await self.remove_children()

    async def _repaint(self) -> None:
        changed, self._changed = self._changed, set()
        for number in sorted(changed):
            view = self._views.get(number)
            if view is not None and view.is_mounted:
                await view.refresh_exchange()
            elif view is not None:
                self._changed.add(number)  # not there yet: with the next tick
        if not self._changed and self._timer is not None:
            self._timer.pause()
