"""What a person wants tuned, read from the fields of a form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from phitui.config import Config
from phitui.errors import UsageError
from phitui.jobs.tuning_model import Limit, parse_limit
from phitui.tuner.probes import Goal

DEFAULT_PROMPT_TOKENS = 256
DEFAULT_NEW_TOKENS = 256
_MOST = 10**7

# The fields of the form with what each is called.
FIELDS = {
    "prompt": "Prompt tokens",
    "answer": "Answer tokens",
    "limit": "Memory limit",
    "latency": "Latency limit",
    "start": "Start batch",
}


@dataclass(frozen=True)
class Wish:
    """What to tune for, within which limit, and whether other compute types are tried. `texts` are those of the fields
    that it was read from."""

    goal: Goal
    limit: Limit
    vary_compute_type: bool
    texts: Mapping[str, str]


class FieldError(UsageError):
    """What is wrong with one field; `field` is its key in `FIELDS`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{FIELDS[field]}: {message}")
        self.field = field


def defaults(config: Config, window: int | None) -> dict[str, str]:
    """The fields' texts at first: as `phitui tune` takes them, in a small context window less."""
    half = max(1, (window or 2 * DEFAULT_PROMPT_TOKENS) // 2)
    return {
        "prompt": str(min(DEFAULT_PROMPT_TOKENS, half)),
        "answer": str(min(DEFAULT_NEW_TOKENS, half)),
        "limit": f"{config.tuner.limit:g}",
        "latency": "",
        "start": str(config.engine.batch),
    }


def read_wish(fields: Mapping[str, str], vary_compute_type: bool, window: int | None) -> Wish:
    """The wish that stands in the fields; `window` is the model's, None where it is not known yet. Raises FieldError
    for the first field that is wrong."""
    prompt, new = _count(fields, "prompt"), _count(fields, "answer")
    if window is not None and prompt + new > window:
        raise FieldError(
            "answer", f"{prompt:,} tokens of prompt and {new:,} of answer are above the context window, {window:,}"
        )
    try:
        limit = parse_limit(fields["limit"])
    except UsageError:
        raise FieldError("limit", "a share from 0.01 to 1, or a size like 6GB") from None
    latency, start = _latency(fields["latency"].strip()), _count(fields, "start")
    return Wish(Goal(prompt, new, start=start, slo_itl_s=latency), limit, vary_compute_type, fields)


def _count(fields: Mapping[str, str], field: str) -> int:
    text = fields[field].strip()
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= _MOST):
        raise FieldError(field, f"a number from 1 to {_MOST:,}")
    return int(text)


def _latency(text: str) -> float | None:
    """Milliseconds in seconds; None for an empty field."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < _MOST:
        raise FieldError("latency", "milliseconds above 0, or nothing")
    return value / 1000
