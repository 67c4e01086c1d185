"""What is shown of a session beside the list: its facts, and its last turns or those that were found."""

from __future__ import annotations

from datetime import datetime

from textual.content import Content

from phitui.core.text import counted, one_line
from phitui.storage.sessions.session_types import KeptTurn
from phitui.tui.terminal.display import displayable
from phitui.workbench.chat.session_library import Found

_PROMPT_CHARS, _ANSWER_CHARS, _FOUND_CHARS = 300, 600, 160


def preview(found: Found, turns: list[KeptTurn], wanted: str, width: int) -> Content:
    """The text of the pane, `width` columns wide."""
    row = found.row
    made = datetime.fromtimestamp(row.created)
    parts = [
        Content.styled(one_line(displayable(row.title), 200), "bold"),
        Content.styled(_facts(found, f"{made:%Y-%m-%d %H:%M}"), "$text-muted"),
    ]
    if found.turns:
        number = len(found.turns)
        parts.append(
            Content.styled("found in 1 turn:" if number == 1 else f"found in {number:,} turns:", "$text-muted")
        )
    elif row.turns > len(turns):
        parts.append(Content.styled(f"its last {counted(len(turns), 'turn')}:", "$text-muted"))
    for turn in turns:
        parts += [Content(""), *_turn(turn, wanted if found.turns else "", width)]
    return Content("\n").join(parts)


def _facts(found: Found, made: str) -> str:
    row = found.row
    turns = "1 turn" if row.turns == 1 else f"{row.turns:,} turns"
    model = f" · {one_line(displayable(row.model), 40)}" if row.model else ""
    return f"session {row.id} · begun {made} · {turns}{model}"


def _turn(turn: KeptTurn, wanted: str, width: int) -> list[Content]:
    if wanted:
        from phitui.storage.sessions.session_search import snippet

        prompt = snippet(displayable(turn.prompt), wanted, min(width - 2, _FOUND_CHARS))
        answer = snippet(displayable(turn.text), wanted, _FOUND_CHARS)
    else:
        prompt = _clipped(displayable(turn.prompt), _PROMPT_CHARS)
        answer = _clipped(displayable(turn.text or turn.thinking), _ANSWER_CHARS)
    asked = Content.styled("▌ ", "$primary") + _marked(prompt, wanted)
    return [asked, _marked(answer, wanted)] if answer else [asked]


def _clipped(text: str, limit: int) -> str:
    text = text.strip()
    return text if len(text) <= limit else text[:limit].rstrip() + "…"


def _marked(text: str, wanted: str) -> Content:
    """`text` with the words that were searched for made bold."""
    content, folded = Content(text), text.casefold()
    if len(folded) != len(text):  # places would not be the same
        return content
    for word in wanted.casefold().split():
        at = folded.find(word)
        while at >= 0:
            content = content.stylize("bold $accent", at, at + len(word))
            at = folded.find(word, at + len(word))
    return content
