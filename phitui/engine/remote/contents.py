"""The text in a message, in every form in which servers have it: a string, a list of parts, parts of thinking. Pure."""

from __future__ import annotations

from typing import Any

# llama.cpp, DeepSeek, vLLM until 0.15; vLLM, OpenRouter, Groq; Ollama; OpenRouter's parts. Some send two of them with
# the same text.
_THINKING = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
_TEXTS = ("text", "value", "content", "summary", "refusal")
_DEPTH = 5


def text_of(found: object, depth: int = 0) -> str:
    """All text in a string, a number, a part or a list of them."""
    if isinstance(found, str):
        return found
    if depth > _DEPTH or found is None or isinstance(found, bool):
        return ""
    if isinstance(found, list):
        return "".join(text_of(part, depth + 1) for part in found)
    if isinstance(found, dict):
        return next((text for key in _TEXTS if (text := text_of(found.get(key), depth + 1))), "")
    return str(found)


def content_of(message: object) -> tuple[str, str]:
    """The answer's text and the thinking in a message or a delta of one."""
    if not isinstance(message, dict):
        return text_of(message), ""
    content = message.get("content")
    if isinstance(content, str) or content is None:
        text, thinking = content or "", ""
    else:
        parts = content if isinstance(content, list) else [content]
        text = "".join(text_of(part) for part in parts if not _is_thinking(part))
        thinking = "".join(_thought(part) for part in parts if _is_thinking(part))
    return text, thinking or next((said for key in _THINKING if (said := text_of(message.get(key)))), "")


def _is_thinking(part: object) -> bool:
    kind = part.get("type") if isinstance(part, dict) else None
    return isinstance(kind, str) and (kind.startswith(("thinking", "reasoning")))


def _thought(part: dict[str, Any]) -> str:
    """Mistral has a list of parts in a part of thinking."""
    return text_of(part.get("thinking")) or text_of(part)


def call_in(message: object) -> str:
    """The tool, or more of its arguments, that a delta asks to call; "" for none."""
    if not isinstance(message, dict):
        return ""
    calls = message.get("tool_calls")
    found = [*(calls if isinstance(calls, list) else []), {"function": message.get("function_call")}]
    told = ""
    for call in found:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            name, arguments = function.get("name"), function.get("arguments")
            told += f"{name} " if isinstance(name, str) and name else ""
            told += arguments if isinstance(arguments, str) else ("" if arguments is None else str(arguments))
    return told
