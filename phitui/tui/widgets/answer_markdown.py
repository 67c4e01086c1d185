"""An answer laid out as Markdown, with all that the model wrote in it."""

from __future__ import annotations

import re

from markdown_it.token import Token
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content, Span
from textual.css.types import TextAlign
from textual.highlight import HighlightTheme, highlight
from textual.widgets import Label, Markdown, Static
from textual.widgets._markdown import (
    MarkdownBullet,
    MarkdownOrderedList,
    MarkdownOrderedListItem,
    MarkdownTable,
    MarkdownTableContent,
)
from textual.widgets.markdown import MarkdownBlock, MarkdownFence

from phitui.tui.widgets.answer_parser import AnswerParser

_TEXTS = ("h1", "h2", "h3", "h4", "h5", "h6", "paragraph_open", "th_open", "td_open")
_SIDES: tuple[TextAlign, ...] = ("left", "center", "right")
_SEE_THROUGH = re.compile(r" \d+%")
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


class _TableContent(MarkdownTableContent):
    """`sides` are how the columns are aligned."""

    def __init__(self, headers: list[Content], rows: list[list[Content]], sides: list[TextAlign]) -> None:
        super().__init__(headers, rows)
        self._sides = sides

    def compose(self) -> ComposeResult:
        for number, cell in enumerate(super().compose()):
            cell.styles.text_align = self._sides[number % len(self._sides)]
            yield cell


class _Table(MarkdownTable):
    """With its columns aligned as the line below its heading says: figures to the right."""

    def compose(self) -> ComposeResult:
        self._headers, self._rows = self._get_headers_and_rows()
        heads = self._blocks[0]._blocks[0]._blocks
        yield _TableContent(self._headers, self._rows, [_side(block._token) for block in heads])


def _side(token: Token) -> TextAlign:
    style = str(token.attrGet("style") or "")
    return next((side for side in _SIDES if style == f"text-align:{side}"), "left")


class _CodeColours(HighlightTheme):
    """Textual's without what is half see-through: on the ground of code that cannot be read well in a light theme."""

    STYLES: dict[tuple[str, ...], str] = {  # noqa: RUF012 - Textual has it so
        token: _SEE_THROUGH.sub("", style.replace("$text 60%", "$text-muted"))
        for token, style in HighlightTheme.STYLES.items()
    }


class _Fence(MarkdownFence):
    """Code with its language above it, on a ground that every theme sets off, also in 256 colours. Long lines are
    broken: cut off, their ends could be seen nowhere."""

    DEFAULT_CSS = """
    _Fence {
        overflow: hidden;
        background: $panel;
        &:light { background: $panel; }
        & > Label { width: 1fr; }
        & > .language { padding: 1 2 0 2; height: auto; color: $text-muted; }
        & > .named { padding: 0 2 1 2; }
        &:ansi { background: transparent; border-left: outer $gauge-track; margin: 0 0 1 0; }
        &:ansi > Static { padding: 0 1; }
    }
    """

    @classmethod
    def highlight(cls, code: str, language: str, ansi: bool = False, dark: bool = False) -> Content:
        if ansi:
            return super().highlight(code, language, ansi, dark)
        return highlight(code, language=language or None, theme=_CodeColours)

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
    AnswerMarkdown MarkdownParagraph, AnswerMarkdown MarkdownHeader { max-width: 100; }
    AnswerMarkdown MarkdownTableContent {
        & > .cell, & > .header { text-overflow: fold; }
    }
    """
    BLOCKS = Markdown.BLOCKS | {
        **{name: _inline(name) for name in _TEXTS},
        "ordered_list_open": _OrderedList,
        "table_open": _Table,
        "fence": _Fence,
        "code_block": _Fence,
    }

    def __init__(self, text: str) -> None:
        super().__init__(text, open_links=False, parser_factory=AnswerParser)
