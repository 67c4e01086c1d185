"""A row of a batch while it is answered: what it has read, what it has made, and when it is done."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

from phitui.engine.protocol.api import Row, RowDone, Sampling
from phitui.engine.protocol.endings import is_failure, shortfall
from phitui.engine.protocol.rows_api import RowUsage
from phitui.engine.protocol.thinking import split_thinking
from phitui.engine.worker.batching.scheduler import Item
from phitui.engine.worker.generation import fit
from phitui.engine.worker.loading import Model
from phitui.engine.worker.stops import StopFinder


class LiveRow:
    """One row. `ids` are all tokens made for it, those of earlier runs first; `reason` is None until it is done."""

    def __init__(self, model: Model, row: Row) -> None:
        """Tokenize it. Raises UsageError where it cannot be answered: with the figures where it is too long."""
        self._prompt = model.prompt
        self.key = row.key
        self.sampling: Sampling = row.sampling
        self.tokens = model.prompt.tokens(row.turns)
        self.limit = fit(len(self.tokens), row.sampling, model.manifest.context_window)
        self.reason: Literal["stop", "length"] | None = None
        self.prefix = 0  # tokens of the prompt that stand in the engine's cache for all rows
        self.begun_s: float | None = None
        self.stalls = 0
        self.ids: list[int] = []
        self._finder = StopFinder(row.sampling.stop)
        self._text = ""
        self._detokenizer = model.prompt.detokenizer() if row.sampling.stop else None
        model.prompt.names(row.made)
        for number in row.made:
            self.take(number)
        self.before = self._sent = len(self.ids)
        if not self.limit:
            self.reason = "length"

    def take(self, number: int) -> None:
        """One more token. What comes after the row is done is dropped: the engine stops it a little later."""
        if self.reason is not None:
            return
        self.ids.append(number)
        if number in self._prompt.end_ids:
            self.reason = "stop"
        elif self._detokenizer is not None:
            self._text += self._finder.feed(self._detokenizer.feed(number))
        if self._finder.found:
            self.reason = "stop"
        elif self.reason is None and len(self.ids) >= self.limit:
            self.reason = "length"

    @property
    def left(self) -> int:
        """How many tokens it may make still."""
        return self.limit - len(self.ids)

    @property
    def group(self) -> Hashable:
        """Rows of one group may run in one call. A prompt of one token is apart: beside longer ones CTranslate2 would
        report their prompts as made."""
        one = self.sampling
        how = (one.temperature, one.top_k, one.top_p, one.repetition_penalty)
        return how, self.prefix, len(self.tokens) + len(self.ids) - self.prefix == 1

    @property
    def item(self) -> Item:
        """The row for the scheduler."""
        length = len(self.tokens) + len(self.ids) - self.prefix
        return Item(self.key, length, self.left, self.group, self.prefix)

    def start_tokens(self) -> list[str]:
        """What the engine reads, without the prefix: the prompt and all that has been made."""
        return self.tokens[self.prefix :] + self._prompt.names(self.ids)

    def unsent(self) -> list[int]:
        """Ids made since the last call."""
        new, self._sent = self.ids[self._sent :], len(self.ids)
        return new

    def text(self) -> str:
        """The whole answer."""
        if self._detokenizer is None:
            return self._prompt.text(self.ids)
        if not self._finder.found:
            self._text += self._finder.feed(self._detokenizer.flush()) + self._finder.flush()
        return self._text

    def done(self, batch: int, now: float) -> RowDone:
        """Its last message. Only for a row that has a reason."""
        reason = self.reason or "length"
        seconds = now - self.begun_s if self.begun_s is not None else 0.0
        usage = RowUsage(len(self.tokens), len(self.ids))
        thinking, text, _ = split_thinking(self.text())
        lacks = shortfall(reason, bool(text.strip()), bool(thinking.strip()), len(self.ids))
        failed = is_failure(reason, bool(text.strip()))
        return RowDone(batch, self.key, text, reason, usage, self.unsent(), seconds, thinking, lacks, failed)
