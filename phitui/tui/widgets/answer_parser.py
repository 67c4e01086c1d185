"""Answers read as Markdown so that nothing of them is lost.

CommonMark lets text go: HTML that nobody draws, addresses behind links, definitions, cells beyond a table's header, and
line ends, which it makes spaces. A model's `Vec<String>` is no HTML, its poem has lines, and `2*3*4` no emphasis. So
the rules that drop text are off or say what they would drop; and whatever else loses a letter is shown as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.table import escapedSplit, getLine, table
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.backticks import backtick
from markdown_it.rules_inline.emphasis import tokenize
from markdown_it.rules_inline.link import link
from markdown_it.token import Token

# Signs that a backslash may hide, since they are Markdown's own. In front of all others it is part of a text: a path,
# a regular expression, LaTeX's \( and \\.
_MARKS = frozenset("*_`~#<>|-+.")
# Deeper than this nothing is left of a line of 80 columns; a table of more columns breaks most of its words.
_DEEPEST, _COLUMNS = 12, 12


class AnswerParser(MarkdownIt):
    """GitHub's Markdown without the parts that drop text. One for each answer: what finds addresses keeps a state, and
    answers are read in threads."""

    def __init__(self) -> None:
        super().__init__("gfm-like", {"html": False})
        # Character references stay as they are written: decoded, they would bring back what was taken out.
        self.disable(["entity", "reference", "image", "autolink"])
        self.inline.ruler.at("newline", _newline)
        self.inline.ruler.at("escape", _escape)
        self.inline.ruler.at("emphasis", _emphasis)
        self.inline.ruler.at("backticks", _code)
        self.inline.ruler.at("link", _link)
        self.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})

    def normalizeLink(self, url: str) -> str:
        """Addresses are shown, not opened: they stay as they are."""
        return url

    def normalizeLinkText(self, link: str) -> str:
        return link

    def parse(self, src: str, env: MutableMapping[str, Any] | None = None) -> list[Token]:
        """The tokens of an answer; of one that would lose something in them, a paragraph with all of it."""
        tokens = super().parse(src, env)
        return tokens if _shows_all(src, tokens) else _as_it_stands(src)

    def blocks(self, source: str) -> list[Token]:
        """The tokens, also where something would be lost: code blocks are in them all the same."""
        return super().parse(source)


def _newline(state: StateInline, silent: bool) -> bool:
    """A line end ends the line, and the next one keeps its indent."""
    if state.src[state.pos] != "\n":
        return False
    if not silent:
        state.push("hardbreak", "br", 0)
    state.pos += 1
    return True


def _escape(state: StateInline, silent: bool) -> bool:
    """A backslash hides Markdown's own signs; else it is text, with what follows it."""
    following = state.src[state.pos + 1 : state.pos + 2] if state.pos + 1 < state.posMax else ""
    if state.src[state.pos] != "\\" or not following or following == "\n":
        return False
    if not silent:
        token = state.push("text_special", "", 0)
        token.markup = f"\\{following}"
        token.content = following if following in _MARKS else token.markup
        token.info = "escape"
    state.pos += 2
    return True


def _emphasis(state: StateInline, silent: bool) -> bool:
    """Stars between two letters or figures are text, as underscores are: 2*3*4, a**b."""
    start = end = state.pos
    if state.src[start] == "*" and not silent:
        while end < state.posMax and state.src[end] == "*":
            end += 1
        if _in_a_word(state.src[start - 1 : start]) and _in_a_word(state.src[end : end + 1]):
            state.pending += state.src[start:end]
            state.pos = end
            return True
    return bool(tokenize(state, silent))


def _code(state: StateInline, silent: bool) -> bool:
    """Code within a line may have line ends, too."""
    start, count = state.pos, len(state.tokens)
    if not backtick(state, silent):
        return False
    if len(state.tokens) > count and state.tokens[-1].type == "code_inline":
        width = len(state.tokens[-1].markup)
        state.tokens[-1].content = state.src[start + width : state.pos - width]
    return True


def _in_a_word(character: str) -> bool:
    """Not of scripts without spaces, where stars within a line are emphasis."""
    return character.isascii() and character.isalnum()


def _link(state: StateInline, silent: bool) -> bool:
    """What stands behind a link's words is shown behind them."""
    start = state.pos
    if not link(state, silent):
        return False
    if not silent:
        end = state.pos
        label_end = state.md.helpers.parseLinkLabel(state, start)
        state.pos = end
        state.pending += f" {state.src[label_end + 1 : end]}"
    return True


def _table(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """A table none of whose rows has more cells than its heading: those would not be shown."""
    count, parent = len(state.tokens), state.parentType
    if not table(state, first, last, silent):
        return False
    if silent:
        return True
    columns = sum(token.type == "th_open" for token in state.tokens[count:])
    rows = (escapedSplit(getLine(state, line).strip().strip("|")) for line in range(first + 2, state.line))
    if columns <= _COLUMNS and all(len(row) <= columns for row in rows):
        return True
    del state.tokens[count:]
    state.line, state.parentType = first, parent
    return False


def _shows_all(source: str, tokens: Sequence[Token]) -> bool:
    """Whether every letter and figure of the source comes, in its order, in what is drawn."""
    if any(token.level > _DEEPEST for token in tokens):
        return False
    drawn = (character for text in _drawn(tokens) for character in text)
    return all(character in drawn for character in source if character.isalnum())


def _drawn(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in ("fence", "list_item_open"):
            yield token.info
        yield from (child.content for child in token.children) if token.children else (token.content,)


def _as_it_stands(source: str) -> list[Token]:
    inline = Token("inline", "", 0, content=source, children=[], level=1)
    for line in source.split("\n"):
        inline.children += [Token("text", "", 0, content=line), Token("hardbreak", "br", 0)]  # type: ignore[operator]
    inline.children = (inline.children or [])[:-1]
    return [Token("paragraph_open", "p", 1, map=[0, 1]), inline, Token("paragraph_close", "p", -1)]
