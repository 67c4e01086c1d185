"""What a person wants tuned, read from the fields of a form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from phitui.autotune.probes import Goal
from phitui.autotune.server_search import ServerGoal
from phitui.config.layers import Config
from phitui.core.errors import UsageError
from phitui.engine.protocol.rows_api import DEFAULT_CONCURRENCY
from phitui.workbench.tune.setups import Limit, parse_limit

DEFAULT_PROMPT_TOKENS = 256
DEFAULT_NEW_TOKENS = 256
_MOST = 10**7

Texts = Mapping[str, str]


class Field(NamedTuple):
    """A field of a form: what it is called, and what belongs into it."""

    label: str
    hint: str


_LENGTHS = {
    "prompt": Field("Prompt tokens", "tokens of each prompt"),
    "answer": Field("Answer tokens", "tokens of each answer"),
}
_LATENCY = Field("Latency limit", "ms a token; empty: none")
_LOCAL = {
    **_LENGTHS,
    "limit": Field("Memory limit", "a share of what is usable, or 6GB"),
    "latency": _LATENCY,
    "start": Field("Start batch", "rows of the first probe"),
}
_SERVER = {
    **_LENGTHS,
    "limit": Field("KV limit", "how full its KV cache may be, a share"),
    "latency": _LATENCY,
    "start": Field("Start with", "requests at once, after one alone"),
}


@dataclass(frozen=True)
class TuneForm:
    """What to tune for, within which limit, and whether other compute types are tried. `texts` are those of the fields
    that it was read from."""

    goal: Goal
    limit: Limit
    vary_compute_type: bool
    texts: Texts


@dataclass(frozen=True)
class ServerTuneForm:
    """What to tune a server for. `texts` as in `TuneForm`."""

    goal: ServerGoal
    texts: Texts


@dataclass(frozen=True)
class Questions:
    """A form: its fields by their keys; `varies`: it also asks whether other compute types are tried. `read` makes the
    wish of the fields' texts, of that answer, and of the context window (None: not known); it raises FieldError for the
    first field that is wrong. `defaults` are the texts at first, in a small context window fewer tokens."""

    fields: Mapping[str, Field]
    varies: bool
    read: Callable[[Texts, bool, int | None], TuneForm | ServerTuneForm]
    defaults: Callable[[Config, int | None], dict[str, str]]


class FieldError(UsageError):
    """What is wrong with one field; `field` is its key."""

    def __init__(self, field: str, label: str, message: str) -> None:
        super().__init__(f"{label}: {message}")
        self.field = field


def defaults(config: Config, window: int | None) -> dict[str, str]:
    """The texts for the engine on this machine: as `phitui tune` takes them."""
    return {
        **_lengths(window),
        "limit": f"{config.tuner.limit:g}",
        "latency": "",
        "start": str(config.engine.batch),
    }


def server_defaults(config: Config, window: int | None) -> dict[str, str]:
    """The texts for a server: as `phitui tune --engine` takes them."""
    return {
        **_lengths(window),
        "limit": f"{config.tuner.limit:g}",
        "latency": "",
        "start": str(DEFAULT_CONCURRENCY),
    }


def _lengths(window: int | None) -> dict[str, str]:
    half = max(1, (window or 2 * DEFAULT_PROMPT_TOKENS) // 2)
    return {"prompt": str(min(DEFAULT_PROMPT_TOKENS, half)), "answer": str(min(DEFAULT_NEW_TOKENS, half))}


def read_form(texts: Texts, vary_compute_type: bool, window: int | None) -> TuneForm:
    """The wish for the engine on this machine. Raises FieldError."""
    form = _Form(texts, _LOCAL)
    prompt, new = form.lengths(window)
    limit = form.limit("a share from 0.01 to 1, or a size like 6GB")
    goal = Goal(prompt, new, start=form.count("start"), slo_itl_s=form.latency())
    return TuneForm(goal, limit, vary_compute_type, texts)


def read_server_form(texts: Texts, vary_compute_type: bool, window: int | None) -> ServerTuneForm:
    """The wish for a server, which has no compute types to try. Raises FieldError."""
    del vary_compute_type
    form = _Form(texts, _SERVER)
    prompt, new = form.lengths(window)
    share = "a share from 0.01 to 1"
    limit = form.limit(share)
    if limit.most_bytes:  # its memory is not read
        raise form.wrong("limit", share)
    latency, start = form.latency(), form.count("start", ServerGoal.most)
    return ServerTuneForm(ServerGoal(prompt, new, start=start, kv_limit=limit.share, slo_itl_s=latency), texts)


LOCAL_QUESTIONS = Questions(_LOCAL, True, read_form, defaults)
SERVER_QUESTIONS = Questions(_SERVER, False, read_server_form, server_defaults)


@dataclass(frozen=True)
class _Form:
    """Reads fields, and says what is wrong with one by its label."""

    texts: Texts
    fields: Mapping[str, Field]

    def wrong(self, field: str, message: str) -> FieldError:
        return FieldError(field, self.fields[field].label, message)

    def lengths(self, window: int | None) -> tuple[int, int]:
        prompt, new = self.count("prompt"), self.count("answer")
        if window is not None and prompt + new > window:
            what = f"{prompt:,} tokens of prompt and {new:,} of answer are above the context window, {window:,}"
            raise self.wrong("answer", what)
        return prompt, new

    def count(self, field: str, most: int = _MOST) -> int:
        text = self.texts[field].strip()
        if not (text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= most):
            raise self.wrong(field, f"a number from 1 to {most:,}")
        return int(text)

    def limit(self, what: str) -> Limit:
        try:
            return parse_limit(self.texts["limit"])
        except UsageError:
            raise self.wrong("limit", what) from None

    def latency(self) -> float | None:
        """Milliseconds in seconds; None for an empty field."""
        text = self.texts["latency"].strip()
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < _MOST:
            raise self.wrong("latency", "milliseconds above 0, or nothing")
        return value / 1000
