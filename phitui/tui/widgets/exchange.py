"""One prompt and its answer in the transcript."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from phitui.core.text import one_line
from phitui.tui.terminal.display import displayable
from phitui.tui.widgets.readings import NOTHING
from phitui.tui.widgets.stream_text import StreamText
from phitui.tui.widgets.thinking import ThinkingView
from phitui.workbench.chat.chat import Exchange, State

# More of a prompt than this is not repeated in the transcript.
PROMPT_LINES, PROMPT_CHARS = 40, 4000
# Prose is no wider, so that the eye finds the next line: in the style sheets here, of thinking and of Markdown.
PROSE_CELLS = 100
# More than this stays plain text: a table of thousands of cells takes many seconds to lay out.
MARKDOWN_CHARS, MARKDOWN_BARS = 50_000, 600

Siblings = Callable[[Exchange], list[Exchange]]


class ExchangeView(Vertical):
    """Streams as plain text, which is cheap to repaint, and turns into Markdown once it is complete."""

    DEFAULT_CSS = """
    ExchangeView {
        height: auto;
        margin: 0 1 1 1;
        .asked { padding: 0 1; border-left: outer $primary; background: $surface; height: auto; }
        .answer { padding: 0 1 0 2; margin: 1 0 0 0; height: auto; max-width: 103; }
        .facts { padding: 0 1 0 2; color: $text-muted; height: auto; }
        .facts.bad { color: $text-error; }
        Markdown { padding: 0 0 0 2; margin: 1 0 0 0; background: transparent; }
        &.-marked .asked { border-left: outer $accent; background: $panel; }
        &.-marked .answer, &.-marked Markdown { outline-left: vkey $accent; }  /* its prompt may be out of view */
    }
    """

    def __init__(self, exchange: Exchange, markdown: bool, siblings: Siblings, scroll_lines: int) -> None:
        super().__init__()
        self.exchange = exchange
        self._markdown = markdown
        self._siblings = siblings
        self._scroll_lines = scroll_lines
        self._shown_text = displayable(exchange.text)
        self._shown_growing = self._grows
        self._shown_facts = self._facts()

    def compose(self) -> ComposeResult:
        yield Static(Content(_clipped(displayable(self.exchange.prompt))), classes="asked", markup=False)
        if self.exchange.thinking:
            yield ThinkingView(self.exchange, self._scroll_lines)
        answer = StreamText("answer", self._scroll_lines)
        answer.display = bool(self._shown_text)
        answer.show(self._shown_text, self._shown_growing)
        yield answer
        bad = " bad" if self._went_wrong else ""
        yield Static(Content(self._shown_facts), classes=f"facts{bad}", markup=False)

    @property
    def _went_wrong(self) -> bool:
        exchange = self.exchange
        return exchange.state in (State.REFUSED, State.LOST, State.BROKEN) or _lacks_answer(exchange)

    @property
    def _grows(self) -> bool:
        return not self.exchange.state.over

    def _facts(self) -> str:
        line = facts(self.exchange)
        siblings = self._siblings(self.exchange)
        if len(siblings) < 2:
            return line
        place = next(i for i, one in enumerate(siblings, 1) if one is self.exchange)
        return f"‹ {place}/{len(siblings)} › {line}"

    async def refresh_exchange(self) -> None:
        """Show what has changed; parts that are the same are not painted again."""
        await self._show_thinking()
        text = displayable(self.exchange.text)
        if (text, self._grows) != (self._shown_text, self._shown_growing):
            self._shown_text, self._shown_growing = text, self._grows
            answer = self.query_one(StreamText)
            answer.display = bool(text)
            answer.show(text, self._grows)
        line = self._facts()
        if line != self._shown_facts:
            # Laying out the screen again costs more than all the rest: not for a number that counts up.
            resize = len(line) != len(self._shown_facts)
            self._shown_facts = line
            label = self.query_one(".facts", Static)
            label.set_class(self._went_wrong, "bad")
            label.update(Content(line), layout=resize)

    async def _show_thinking(self) -> None:
        if not self.exchange.thinking:
            return
        view = next(iter(self.query(ThinkingView)), None)
        if view is None:
            await self.mount(ThinkingView(self.exchange, self._scroll_lines), after=self.query_one(".asked"))
        else:
            view.show()

    def toggle_thinking(self) -> bool:
        """Fold or unfold what was thought; False where nothing was."""
        view = next(iter(self.query(ThinkingView)), None)
        if view is not None:
            view.toggle()
        return view is not None

    @property
    def wants_markdown(self) -> bool:
        """Whether the answer is complete, plain so far, and not too much for Markdown."""
        if not self._markdown or self.exchange.state is not State.DONE or not self._shown_text:
            return False
        return len(self._shown_text) <= MARKDOWN_CHARS and self._shown_text.count("|") <= MARKDOWN_BARS

    async def to_markdown(self) -> None:
        """Lay the answer out as Markdown, in the place of the plain text."""
        self._markdown = self._shown_growing = False
        text = self._shown_text
        from phitui.tui.widgets.answer_markdown import AnswerMarkdown  # tens of ms: not before the first frame

        plain = self.query_one(StreamText)
        rich = AnswerMarkdown(text)
        await self.mount(rich, after=plain)
        await plain.remove()


def _clipped(prompt: str) -> str:
    """A long prompt's beginning: laying out a hundred thousand lines would stop the screen for seconds."""
    lines = prompt.split("\n")
    head = "\n".join(lines[:PROMPT_LINES])[:PROMPT_CHARS]
    return head if len(head) == len(prompt) else f"{head}\n… {len(prompt):,} characters in {len(lines):,} lines"


def facts(exchange: Exchange) -> str:
    """The line below an answer: what it took, in real counts and times (docs/METRICS.md)."""
    if exchange.state is State.QUEUED:
        return "queued"
    if exchange.state is State.PREFILL:
        if exchange.prompt_tokens is None:  # a remote engine counts at the end
            return "sent · waiting for the first token"
        return f"reading the prompt · {_tokens(exchange.prompt_tokens)}"
    if exchange.state is State.ANSWERING:
        doing = "thinking" if exchange.thinking and not exchange.text else "answering"
        rate = exchange.decode_tokens_per_s
        return f"{doing} · {_tokens(exchange.tokens)}{'' if rate is None else f' · {rate:.1f} tok/s'} · Esc stops"
    if exchange.state is State.REFUSED:
        return f"not answered: {displayable(exchange.error)}"
    if exchange.state is State.LOST and not exchange.error:
        return f"cut off: phitui ended during this answer · {_tokens(exchange.tokens)} kept"
    if exchange.state is State.LOST:
        kept = f"{_tokens(exchange.tokens)} kept"
        return f"the engine died during this answer ({displayable(exchange.error)}) · {kept}"
    if exchange.state is State.BROKEN:
        kept = " · what came is kept" if exchange.text else ""
        return f"not answered: {displayable(exchange.error)}{kept}"
    return _done(exchange)


def _tokens(count: int | None) -> str:
    return f"{NOTHING if count is None else count} token{'s' * (count != 1)}"


def _lacks_answer(exchange: Exchange) -> bool:
    """Whether it has ended in a way that nobody asked for: without an answer, or by a filter."""
    ended = exchange.state is State.DONE and bool(exchange.error)
    return ended and not (exchange.text.strip() and exchange.reason in ("stop", "length"))


def _done(exchange: Exchange) -> str:
    if _lacks_answer(exchange):
        count = exchange.usage.completion_tokens if exchange.usage else None
        return displayable(exchange.error) + (f" · {_tokens(count)}" if count else "")
    ends = {"length": " · token limit reached", "cancelled": " · stopped"}
    end = ends.get(exchange.reason or "", "")
    if exchange.usage is None and exchange.tokens:  # another model was asked for before the engine had stopped
        return f"{_tokens(exchange.tokens)}{end}"
    nothing = not exchange.text and not (exchange.usage and exchange.usage.completion_tokens)
    if exchange.usage is None or exchange.timings is None or nothing:
        return f"no answer{end}"
    rate = exchange.timings.decode_tokens_per_s
    ttft = exchange.timings.ttft_ms
    return (
        f"{_tokens(exchange.usage.completion_tokens)}"
        f" · {NOTHING if rate is None else format(rate, '.1f')} tok/s"
        f" · TTFT {NOTHING if ttft is None else format(ttft, '.0f')} ms"
        f" · prompt {_tokens(exchange.usage.prompt_tokens)}{end}{_whose(exchange)}"
    )


def _whose(exchange: Exchange) -> str:
    """Which model answered, and when it was asked: with the day where that was not today."""
    asked = time.localtime(exchange.created)
    today = asked[:3] == time.localtime()[:3]
    model = f"{displayable(one_line(exchange.model, 40))} " if exchange.model else ""
    return f" · {model}{time.strftime('%H:%M' if today else '%Y-%m-%d %H:%M', asked)}"
