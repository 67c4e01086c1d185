"""The code blocks of an answer, as they can be copied one by one."""

from __future__ import annotations

from typing import NamedTuple


class CodeBlock(NamedTuple):
    """`language` is what stands behind the fence, or ""; `text` is as it stands between the fences."""

    language: str
    text: str


def code_blocks(text: str) -> list[CodeBlock]:
    """All code blocks of a Markdown text, in order, those in lists and quotes too."""
    from markdown_it import MarkdownIt  # tens of ms that only this and the first laid out answer need

    # As answers are laid out: character references stay as they are written.
    tokens = MarkdownIt("gfm-like").disable("entity").parse(text)
    return [
        CodeBlock((token.info.split() or [""])[0], token.content)
        for token in tokens
        if token.type in ("fence", "code_block") and token.content.strip()
    ]
