"""What a person wants tuned, read from the fields of a form."""

from __future__ import annotations

from collections.abc import Mapping
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
    """What to tune for, within which limit (of memory, or of a server's KV cache), and whether other compute types are
    tried. `texts` are those of the fields that it was read from."""

    goal: Goal | ServerGoal
    limit: Limit
    vary_compute_type: bool
    texts: Texts


class FieldError(UsageError):
    """What is wrong with one field; `field` is its key."""

    def __init__(self, field: str, label: str, message: str) -> None:
        super().__init__(f"{label}: {message}")
        self.field = field


@dataclass(frozen=True)
class Questions:
    """What to ask before a tuning of a server (`of_server`), or of the engine on this machine: of that also whether
    other compute types are tried."""

    of_server: bool

    @property
    def fields(self) -> Mapping[str, Field]:
        """The fields of the form by their keys."""
        return _SERVER if self.of_server else _LOCAL

    def defaults(self, config: Config, window: int | None) -> dict[str, str]:
        """Their texts at first: as `phitui tune` takes them; in a small context window fewer tokens."""
        half = max(1, (window or 2 * DEFAULT_PROMPT_TOKENS) // 2)
        return {
            "prompt": str(min(DEFAULT_PROMPT_TOKENS, half)),
            "answer": str(min(DEFAULT_NEW_TOKENS, half)),
            "limit": f"{config.tuner.limit:g}",
            "latency": "",
            "start": str(DEFAULT_CONCURRENCY if self.of_server else config.engine.batch),
        }

    def read(self, texts: Texts, vary_compute_type: bool, window: int | None) -> TuneForm:
        """The wish; `window` is the context window, None where it is not known. Raises FieldError for the first field
        that is wrong."""
        form = _Form(texts, self.fields)
        prompt, new = form.lengths(window)
        limit, latency = form.limit(sizes=not self.of_server), form.latency()
        if not self.of_server:
            goal = Goal(prompt, new, start=form.count("start"), slo_itl_s=latency)
            return TuneForm(goal, limit, vary_compute_type, texts)
        start = form.count("start", ServerGoal.most)
        wish = ServerGoal(prompt, new, start=start, kv_limit=limit.share, slo_itl_s=latency)
        return TuneForm(wish, limit, False, texts)


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

    def limit(self, sizes: bool) -> Limit:
        """A share, or with `sizes` also a size: a server's memory is not read."""
        try:
            limit = parse_limit(self.texts["limit"])
            if sizes or not limit.most_bytes:
                return limit
        except UsageError:
            pass
        raise self.wrong("limit", "a share from 0.01 to 1" + ", or a size like 6GB" * sizes)

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
