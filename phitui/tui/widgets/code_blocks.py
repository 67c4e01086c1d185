"""The code blocks of an answer, as they can be copied one by one."""

from __future__ import annotations

from typing import NamedTuple


class CodeBlock(NamedTuple):
    """`language` is what stands behind the fence, or ""; `text` is as it stands between the fences."""

    language: str
    text: str


def code_blocks(text: str) -> list[CodeBlock]:
    """All code blocks of a Markdown text, in order, those in lists and quotes too."""
    from phitui.tui.widgets.answer_parser import AnswerParser  # tens of ms that only the first answer needs

    tokens = AnswerParser().blocks(text)
    return [
        CodeBlock((token.info.split() or [""])[0], token.content)
        for token in tokens
        if token.type in ("fence", "code_block") and token.content.strip()
    ]
