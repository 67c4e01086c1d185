"""Why there is no answer, or not all of one, in a line for a person. Pure."""

from __future__ import annotations

from phitui.core.text import counted
from phitui.engine.protocol.values import FinishReason

_RAISE = "Raise max_tokens"


def shortfall(reason: FinishReason, answered: bool, thought: bool, max_tokens: int) -> str:
    """What an answer lacks, "" where it lacks nothing. `answered` and `thought`: whether there is any text of either
    kind. Who stopped an answer knows that it is not whole."""
    if reason == "content_filter":
        kept = "cut the answer off" if answered else "held the answer back"
        return f"The server's content filter {kept}. Ask in other words"
    if reason == "refusal":
        return "The model refuses to answer. Ask in other words"
    if reason == "tool_calls":
        rest = ", so the answer is not complete" if answered else ", and there is no answer"
        return f"The model asks to call a tool, and phitui has none{rest}. Tell it to answer without tools"
    if reason == "cancelled":
        return ""
    if reason == "length":
        return _too_short(answered, thought, max_tokens)
    if answered:
        return ""
    if thought:
        return "Only thinking, no answer: the model ended after its thinking. Ask again"
    return "No answer: the model ended at once, without a word. Ask again, or in other words"


def is_failure(reason: FinishReason, answered: bool) -> bool:
    """Whether that is not the answer that was asked for, however much of it is there."""
    if reason == "cancelled":
        return False
    return not answered or reason in ("content_filter", "refusal", "tool_calls")


def _too_short(answered: bool, thought: bool, max_tokens: int) -> str:
    limit = f"the limit of {counted(max_tokens, 'token')}"
    if answered:
        return f"The answer was cut off at {limit}. {_RAISE} for more of it"
    if thought:
        return f"Only thinking, no answer: {limit} was reached before one began. {_RAISE}"
    return f"No answer: {limit} was reached before any text came. {_RAISE}"
