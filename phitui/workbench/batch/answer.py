"""A row's line in a batch's output: phitui's own form, or that of OpenAI's batches.

OpenAI's form is that of its API reference, "The request output object" (api-reference/batch/request-output):
`{"id", "custom_id", "response": {"status_code", "request_id", "body"}, "error"}`, with a chat.completion as the body. A
row that cannot be answered has `response` null and `error` `{"code", "message"}`, which is for requests that failed
with a non-HTTP error. All of a line follows from the row and the batch, so that a row that is run again gives the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from phitui.storage.journal import AnswerRecord
from phitui.workbench.batch.request import Form, Id


class Origin(NamedTuple):
    """What lines in OpenAI's form say of the batch: the model's name, when it was begun (seconds since 1970), and what
    makes ids of different batches differ."""

    model: str
    created: int
    batch: str


class Written(NamedTuple):
    """A line of the output, line end included. `reason` says why a row failed."""

    line: int
    data: bytes
    failed: bool
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    n: int = 1
    reason: str = ""


def failed_line(line: int, name: Id, form: Form, reason: str, origin: Origin, n: int = 1) -> Written:
    """The line of a row that could not be answered."""
    message = f"line {line}: {reason}"
    if form == "plain":
        return Written(line, _json({"id": name, "line": line, "error": message}), True, n=n, reason=message)
    error = {"code": "row_failed", "message": message}
    found = {"id": f"batch_req_{_unique(origin, line)}", "custom_id": name, "response": None, "error": error}
    return Written(line, _json(found), True, n=n, reason=message)


def answered_line(line: int, name: Id, form: Form, answers: Sequence[AnswerRecord], origin: Origin) -> Written:
    """The line of a row with its answers, one for each of `n`. The prompt's tokens count once. A count that a server
    did not tell is null. Where one of them is not the answer that was asked for, the row counts as failed, with all
    that came."""
    made = [answer.completion_tokens for answer in answers]
    usage = {
        "prompt_tokens": answers[0].prompt_tokens,
        "completion_tokens": None if None in made else sum(one or 0 for one in made),
    }
    reason = next((f"line {line}: {answer.failure}" for answer in answers if answer.failure), "")
    note = next((answer.note for answer in answers if answer.note), "")
    if form == "plain":
        found = _plain(line, name, answers, usage) | ({"note": note} if note else {}) | {"error": reason or None}
    else:
        found = _openai(line, name, answers, dict(usage), origin)
        found["error"] = {"code": "no_answer", "message": reason} if reason else None
    counts = usage["prompt_tokens"], usage["completion_tokens"]
    return Written(line, _json(found), bool(reason), *counts, len(answers), reason)


def _plain(line: int, name: Id, answers: Sequence[AnswerRecord], usage: dict[str, int | None]) -> dict[str, Any]:
    texts = [
        {
            "text": answer.text,
            **({"thinking": answer.thinking} if answer.thinking else {}),
            "finish_reason": answer.reason,
        }
        for answer in answers
    ]
    told = texts[0] if len(texts) == 1 else {"choices": texts}
    return {"id": name, "line": line, **told, "usage": usage}


def _openai(
    line: int, name: Id, answers: Sequence[AnswerRecord], usage: dict[str, int | None], origin: Origin
) -> dict[str, Any]:
    unique = _unique(origin, line)
    usage["total_tokens"] = None if None in usage.values() else sum(one or 0 for one in usage.values())
    choices = [
        {
            "index": index,
            "message": {
                "role": "assistant",
                "content": answer.text,
                **({"reasoning_content": answer.thinking} if answer.thinking else {}),
            },
            "logprobs": None,
            "finish_reason": answer.reason,
        }
        for index, answer in enumerate(answers)
    ]
    body = {
        "id": f"chatcmpl-{unique}",
        "object": "chat.completion",
        "created": origin.created,
        "model": origin.model,
        "choices": choices,
        "usage": usage,
    }
    response = {"status_code": 200, "request_id": f"req_{unique}", "body": body}
    return {"id": f"batch_req_{unique}", "custom_id": name, "response": response, "error": None}


def _unique(origin: Origin, line: int) -> str:
    return hashlib.sha256(f"{origin.batch}/{origin.created}/{line}".encode()).hexdigest()[:24]


def _json(found: dict[str, Any]) -> bytes:
    return msgspec.json.encode(found) + b"\n"
