"""What a model thought before it answered: seen while there is no answer yet, folded into a line once there is one."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from phitui.tui.terminal.display import displayable
from phitui.tui.widgets.stream_text import StreamText
from phitui.workbench.chat.exchanges import Exchange


class ThinkingView(Vertical):
    """A line that says how much there is, and the text below it. A click on the line folds and unfolds it."""

    DEFAULT_CSS = """
    ThinkingView {
        height: auto; padding: 0 1 0 2; margin: 1 0 0 0;
        .head { width: auto; height: auto; color: $text-muted; }
        .thought {
            padding: 0 0 0 1; border-left: outer $panel; color: $text-muted; height: auto; max-width: 102;
        }
    }
    """

    def __init__(self, exchange: Exchange, scroll_lines: int) -> None:
        super().__init__()
        self._exchange = exchange
        self._scroll_lines = scroll_lines
        self._wanted: bool | None = None  # whether the person wants to see it; None: as long as there is no answer
        self._head = ""

    def compose(self) -> ComposeResult:
        yield Static("", classes="head", markup=False)
        yield StreamText("thought", self._scroll_lines)

    def on_mount(self) -> None:
        self.show()

    def on_click(self) -> None:
        self.toggle()

    @property
    def unfolded(self) -> bool:
        """Whether the text is seen."""
        return self._wanted if self._wanted is not None else not self._exchange.text.strip()

    def toggle(self) -> None:
        """Fold or unfold it."""
        self._wanted = not self.unfolded
        self.show()

    def show(self) -> None:
        """Show what there is by now; what is the same is not painted again."""
        exchange, text = self._exchange, self.query_one(StreamText)
        thinks = not exchange.text and not exchange.state.over
        if text.display != self.unfolded:
            text.display = self.unfolded
        if self.unfolded:
            text.show(displayable(exchange.thinking.strip("\n")), grows=thinks)
        head = f"{'▾' if self.unfolded else '▸'} {'thinking' if thinks else f'thought · {amount(exchange)}'}"
        if head != self._head:
            self._head = head
            self.query_one(".head", Static).update(Content(head))


def amount(exchange: Exchange) -> str:
    """How much was thought: in tokens where those were counted."""
    count = exchange.thinking_tokens
    if count is not None:
        return f"{count:,} token{'s' * (count != 1)}"
    return f"{len(exchange.thinking):,} characters"


def with_thinking(exchange: Exchange) -> str:
    """An answer as plain text: what was thought as long as nothing else is there, else one line of it above."""
    if not exchange.thinking.strip():
        return exchange.text
    if not exchange.text.strip():
        return exchange.thinking.strip("\n")
    return f"▸ thought · {amount(exchange)}\n\n{exchange.text}"
