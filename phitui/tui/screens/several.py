"""Several answers to one prompt, side by side, one of which the chat goes on with."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from phitui.core.text import one_line
from phitui.tui.terminal.display import Pace, displayable
from phitui.tui.widgets.exchange import facts
from phitui.tui.widgets.key_footer import KeyFooter
from phitui.tui.widgets.single_dismiss import LeftOnce
from phitui.tui.widgets.stream_text import StreamText
from phitui.tui.widgets.thinking import with_thinking
from phitui.workbench.chat.exchanges import Exchange

# Of a column: below this the answers stand one above the other.
_LEAST_WIDTH = 38
_LEAST_HEIGHT = 6
_COLUMNS_AT_FULL_RATE = 2


class SeveralScreen(LeftOnce[Exchange | None]):
    """Its answer is the chosen exchange, None where it was left without a choice. Answers that are on their way go on;
    `stop` stops those that it is given."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape",
            "back",
            "Stop / back",
            id="several.back",
            tooltip="Stop the answers, then back to the chat",
            priority=True,
        ),
        Binding("left", "choose(-1)", "‹ ›", key_display="← →", id="several.left", tooltip="Choose the answer before"),
        Binding("right", "choose(1)", "Next", show=False, id="several.right", tooltip="Choose the next answer"),
        Binding("enter", "take", "Go on with it", id="several.take", tooltip="Go on with the chosen answer"),
        Binding("up,k", "scroll(-1)", "Up", show=False, id="several.up"),
        Binding("down,j", "scroll(1)", "Down", show=False, id="several.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="several.page_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="several.page_down"),
    ]

    DEFAULT_CSS = """
    SeveralScreen {
        #answers { height: 1fr; layout: horizontal; scrollbar-size-vertical: 1; }
        #answers.-stacked { layout: vertical; }
    }
    """

    def __init__(self, exchanges: list[Exchange], pace: Pace, stop: Callable[[list[Exchange]], None]) -> None:
        super().__init__()
        self._exchanges = exchanges
        # Many columns change more cells in a repaint: they share what one answer may have of the terminal.
        self._period_s = max(1.0, len(exchanges) / _COLUMNS_AT_FULL_RATE) / pace.repaint_hz
        self._scroll_lines = pace.scroll_lines
        self._stop = stop
        self._at = 0

    def compose(self) -> ComposeResult:
        prompt = one_line(self._exchanges[0].prompt, 300)
        yield Static(Content(displayable(f"{len(self._exchanges)} answers to: {prompt}")), id="head", markup=False)
        with VerticalScroll(id="answers", can_focus=False):
            for number, exchange in enumerate(self._exchanges, 1):
                column = AnswerColumn(number, exchange, self._scroll_lines)
                column.set_class(number == 1, "-chosen")
                yield column
        yield KeyFooter(show_command_palette=False)

    def on_mount(self) -> None:
        self.set_interval(self._period_s, self._repaint)

    def on_resize(self, event: events.Resize) -> None:
        if not self._columns:
            return
        number = len(self._exchanges)
        narrow = event.size.width // number < _LEAST_WIDTH
        self.query_one("#answers").set_class(narrow, "-stacked")
        few = not narrow or (event.size.height - 2) // number >= _LEAST_HEIGHT  # without head and footer
        for column in self._columns:  # with more than there is room for, "1fr" would give each all of it
            column.styles.height = "1fr" if few else _LEAST_HEIGHT

    @property
    def _columns(self) -> list[AnswerColumn]:
        """There are none where the screen is left as it opens."""
        return list(self.query(AnswerColumn))

    @property
    def _marked(self) -> AnswerColumn | None:
        return next(iter(self._columns[self._at :]), None)

    def _repaint(self) -> None:
        for column in self._columns:
            column.show()

    def action_choose(self, step: int) -> None:
        """Mark the answer beside the marked one."""
        columns = self._columns
        if not columns:
            return
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
            self._stop(self._exchanges)
        else:
            self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        if (column := self._marked) is not None:
            column.move(lines)

    def action_page(self, direction: int) -> None:
        if (column := self._marked) is not None:
            column.move(direction * max(column.size.height - 3, 1))


class AnswerColumn(Vertical):
    """One answer, as plain text. Its end is followed until a person scrolls up."""

    DEFAULT_CSS = """
    AnswerColumn {
        width: 1fr; height: 1fr; border: round $panel-lighten-2; padding: 0 1;
        border-title-color: $text-muted;
        &:light { border: round $panel-darken-3; }
        &.-chosen { border: round $primary; background: $surface; }
        VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
        .facts { height: auto; max-height: 2; color: $text-muted; }
    }
    """

    def __init__(self, number: int, exchange: Exchange, scroll_lines: int) -> None:
        super().__init__()
        self._exchange = exchange
        self._scroll_lines = scroll_lines
        self._line = ""
        self._follows = False
        self.border_title = str(number)

    def compose(self) -> ComposeResult:
        with VerticalScroll(can_focus=False):
            yield StreamText("answer", self._scroll_lines)
        yield Static("", classes="facts", markup=False)

    def on_mount(self) -> None:
        self.show()

    def show(self) -> None:
        """Show what is there by now; what is the same is not painted again."""
        self.query_one(StreamText).show(displayable(with_thinking(self._exchange)), grows=not self._exchange.state.over)
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
