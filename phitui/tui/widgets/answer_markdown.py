"""An answer laid out as Markdown, with all that the model wrote in it."""

from __future__ import annotations

from markdown_it.token import Token
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content, Span
from textual.widgets import Label, Markdown, Static
from textual.widgets._markdown import MarkdownBullet, MarkdownOrderedList, MarkdownOrderedListItem
from textual.widgets.markdown import MarkdownBlock, MarkdownFence

from phitui.tui.widgets.answer_parser import AnswerParser

_TEXTS = ("h1", "h2", "h3", "h4", "h5", "h6", "paragraph_open", "th_open", "td_open")
_STYLES = {"em_open": ".em", "strong_open": ".strong", "s_open": ".s"}


class _Inline:
    """Goes before a class of text blocks. Textual's own makes one space of several, and has no place for what it does
    not know. Not a widget itself: Textual would take the styles of that in the place of the block's."""

    def _token_to_content(self, token: Token) -> Content:
        parts: list[str] = []
        spans: list[Span] = []
        open_styles: list[tuple[str, int]] = []
        length = 0
        for child in token.children or []:
            text = "\n" if child.type == "hardbreak" else child.content
            if child.nesting > 0:
                open_styles.append((_STYLES.get(child.type, ""), length))
            elif child.nesting < 0:
                style, start = open_styles.pop()
                spans += [Span(start, length, style)] if style else []
            elif child.type == "code_inline":
                spans.append(Span(length, length + len(text), ".code_inline"))
            parts.append(text)
            length += len(text)
        return Content("".join(parts), spans=spans)


class _OrderedList(MarkdownOrderedList):
    """With the numbers that the model gave."""

    def compose(self) -> ComposeResult:
        items = [block for block in self._blocks if isinstance(block, MarkdownOrderedListItem)]
        labels = [f"{item.bullet}{item._token.markup} " for item in items]
        width = max(map(len, labels), default=0) + 1
        for item, label in zip(items, labels, strict=True):
            bullet = MarkdownBullet()
            bullet.symbol = label.rjust(width)
            yield Horizontal(bullet, Vertical(*item._blocks))
        self._blocks.clear()


class _Fence(MarkdownFence):
    """Code with its language above it. Long lines are broken: cut off, their ends could be seen nowhere."""

    DEFAULT_CSS = """
    _Fence {
        overflow: hidden;
        & > Label { width: 1fr; }
        & > .language { padding: 1 2 0 2; height: auto; color: $text-muted; }
        & > .named { padding: 0 2 1 2; }
    }
    """

    def compose(self) -> ComposeResult:
        language = self.lexer.strip()
        if language:
            yield Static(Content(language), classes="language", markup=False)
        yield Label(self._highlighted_code, id="code-content", classes="named" if language else "", expand=True)


def _inline(name: str) -> type[MarkdownBlock]:
    base = Markdown.BLOCKS[name]
    return type(base.__name__, (_Inline, base), {})


class AnswerMarkdown(Markdown):
    """Nothing in it can be opened."""

    DEFAULT_CSS = """
    AnswerMarkdown MarkdownTableContent {
        & > .cell, & > .header { text-overflow: fold; }
    }
    """
    BLOCKS = Markdown.BLOCKS | {
        **{name: _inline(name) for name in _TEXTS},
        "ordered_list_open": _OrderedList,
        "fence": _Fence,
        "code_block": _Fence,
    }

    def __init__(self, text: str) -> None:
        super().__init__(text, open_links=False, parser_factory=AnswerParser)
