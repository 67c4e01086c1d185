"""Several answers to one prompt, side by side, one of which the chat goes on with."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Static

from phitui.jobs.exchanges import Exchange
from phitui.text import one_line
from phitui.tui.display import displayable
from phitui.tui.widgets.exchange import facts
from phitui.tui.widgets.stream_text import StreamText

# Of a column: below this the answers stand one above the other.
_LEAST_WIDTH = 38


class SeveralScreen(Screen[Exchange | None]):
    """Its answer is the chosen exchange, None where it was left without a choice. Answers that are on their way go on;
    `stop` stops them all."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Stop / back", key_display="esc", id="several.back", priority=True),
        Binding("left", "choose(-1)", "‹ ›", key_display="← →", id="several.left"),
        Binding("right", "choose(1)", "Next", show=False, id="several.right"),
        Binding("enter", "take", "Go on with it", id="several.take"),
        Binding("up,k", "scroll(-1)", "Up", show=False, id="several.up"),
        Binding("down,j", "scroll(1)", "Down", show=False, id="several.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="several.page_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="several.page_down"),
    ]

    DEFAULT_CSS = """
    SeveralScreen {
        #head { height: 1; background: $panel; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #answers { height: 1fr; layout: horizontal; }
        #answers.-stacked { layout: vertical; }
    }
    """

    def __init__(self, exchanges: list[Exchange], repaint_hz: float, stop: Callable[[], bool]) -> None:
        super().__init__()
        self._exchanges = exchanges
        self._period_s = 1 / repaint_hz
        self._stop = stop
        self._at = 0

    def compose(self) -> ComposeResult:
        prompt = one_line(self._exchanges[0].prompt, 300)
        yield Static(Content(displayable(f"{len(self._exchanges)} answers to: {prompt}")), id="head", markup=False)
        with Container(id="answers"):
            for number, exchange in enumerate(self._exchanges, 1):
                yield AnswerColumn(number, exchange)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._columns[0].set_class(True, "-chosen")
        self.set_interval(self._period_s, self._repaint)

    def on_resize(self, event: events.Resize) -> None:
        narrow = event.size.width // len(self._exchanges) < _LEAST_WIDTH
        self.query_one("#answers").set_class(narrow, "-stacked")

    @property
    def _columns(self) -> list[AnswerColumn]:
        return list(self.query(AnswerColumn))

    def _repaint(self) -> None:
        for column in self._columns:
            column.show()

    def action_choose(self, step: int) -> None:
        """Mark the answer beside the marked one."""
        columns = self._columns
        columns[self._at].set_class(False, "-chosen")
        self._at = (self._at + step) % len(columns)
        columns[self._at].set_class(True, "-chosen")
        columns[self._at].scroll_visible(animate=False)

    def action_take(self) -> None:
        """Go on with the marked answer; the others stay beside it."""
        self.dismiss(self._exchanges[self._at])

    def action_back(self) -> None:
        """Stop what is on its way; else leave."""
        if any(not exchange.state.over for exchange in self._exchanges):
            self._stop()
        else:
            self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        self._columns[self._at].move(lines)

    def action_page(self, direction: int) -> None:
        column = self._columns[self._at]
        column.move(direction * max(column.size.height - 3, 1))


class AnswerColumn(Vertical):
    """One answer, as plain text. Its end is followed until a person scrolls up."""

    DEFAULT_CSS = """
    AnswerColumn {
        width: 1fr; height: 1fr; min-height: 5; border: round $panel-lighten-2; padding: 0 1;
        &.-chosen { border: round $primary; background: $surface; }
        VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
        .facts { height: auto; max-height: 2; color: $text-muted; }
    }
    """

    def __init__(self, number: int, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange
        self._line = ""
        self._follows = False
        self.border_title = str(number)

    def compose(self) -> ComposeResult:
        with VerticalScroll(can_focus=False):
            yield StreamText(classes="answer")
        yield Static("", classes="facts", markup=False)

    def on_mount(self) -> None:
        self.show()

    def show(self) -> None:
        """Show what is there by now; what is the same is not painted again."""
        self.query_one(StreamText).show(displayable(self._exchange.text))
        pane = self.query_one(VerticalScroll)
        if pane.max_scroll_y and not self._follows:  # from the top until it is full
            self._follows = True
            pane.anchor()
        line = facts(self._exchange)
        if line != self._line:
            self._line = line
            self.query_one(".facts", Static).update(Content(line))

    def move(self, lines: int) -> None:
        """Scroll so many lines down, or up below 0; at the end, follow it again."""
        pane = self.query_one(VerticalScroll)
        if lines > 0 and pane.scroll_y + lines >= pane.max_scroll_y:
            pane.anchor()
        else:
            pane.scroll_relative(y=lines, animate=False)
