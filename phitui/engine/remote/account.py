"""The book of one answer: what came when, and which of a server's counts can be true."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from phitui.core.text import one_line
from phitui.engine.protocol.api import Delta, Finished, FinishReason, Gaps, Timings, Usage
from phitui.engine.remote.pieces import Piece
from phitui.engine.remote.transport import TooMuch

_STOP = ("stop", "eos_token", "stop_sequence", "end_turn")
_LENGTH = ("length", "max_tokens")
# An answer's text is bounded by its tokens: hardly any has more bytes than this, and none so many on average.
_TOKEN_CHARS = 128
_LEAST_TEXT_CHARS = 1_000_000
# A template adds some tokens to the prompt's own, of which each has a byte at least.
_TEMPLATE_TOKENS = 10_000
# One token may come as two pieces where an answer follows upon reasoning.
_SLACK_PIECES = 2


class Account:
    """What is known of an answer while it comes. Times are of `clock`, in seconds; they count from its making."""

    def __init__(
        self,
        number: int,
        max_tokens: int,
        prompt_bytes: int,
        context_window: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._number = number
        self._max_tokens = max_tokens
        self._most_prompt = min(prompt_bytes + _TEMPLATE_TOKENS, context_window or 10**9)
        self._clock = clock
        self._sent = clock()
        self._first: float | None = None
        self._last: float | None = None
        self._gaps: list[float] = []
        self._pieces = 0
        self._chars = 0
        self._newest = Piece()
        self._prompt: object = None
        self._completion: object = None
        self._total: object = None
        self.reason: str | None = None

    @property
    def begun(self) -> bool:
        """Whether a first token has come: from here on nothing is asked a second time."""
        return self._first is not None

    @property
    def complete(self) -> bool:
        """Whether the server has said why the answer ended."""
        return self.reason is not None

    def take(self, piece: Piece) -> Delta | None:
        """Write a piece into the book; what to show of it. Raises TooMuch."""
        self._prompt = self._prompt if piece.prompt_tokens is None else piece.prompt_tokens
        self._completion = self._completion if piece.completion_tokens is None else piece.completion_tokens
        self._total = self._total if piece.total_tokens is None else piece.total_tokens
        self.reason = piece.reason or self.reason
        if not (piece.text or piece.thinking):
            if piece.reason and self._first is not None:  # the end token has no text
                self._last = self._clock()
            return None
        self._mark(len(piece.text))
        running = self._completion
        told = running if type(running) is int and 0 < running <= self._max_tokens else None
        return Delta(self._number, piece.text, told)

    def _mark(self, chars: int) -> None:
        now = self._clock()
        if self._last is not None:
            self._gaps.append(now - self._last)
        self._first = now if self._first is None else self._first
        self._last = now
        self._pieces += 1
        self._chars += chars
        if self._chars > max(_LEAST_TEXT_CHARS, _TOKEN_CHARS * self._max_tokens):
            raise TooMuch(f"{self._chars:,} characters for at most {self._max_tokens:,} tokens")

    def finished(self, cancelled: bool = False, notes: list[str] | None = None) -> Finished:
        """The answer's end with its figures."""
        told = list(notes or [])
        prompt, completion = self._believed(told, whole=not cancelled)
        reason: FinishReason = "cancelled" if cancelled else self._reason(told)
        return Finished(self._number, reason, Usage(prompt, completion), self._timings(completion), told)

    def _reason(self, told: list[str]) -> FinishReason:
        if self.reason in _LENGTH:
            return "length"
        if self.reason is not None and self.reason not in _STOP:
            told.append(f'the server ended the answer with "{one_line(self.reason, 40)}"')
        return "stop"

    def _believed(self, told: list[str], whole: bool) -> tuple[int | None, int | None]:
        """The server's counts of prompt and answer, None for one that is missing or cannot be true; `told` says which.
        Of an answer that was stopped (not `whole`) a count that is missing is nobody's fault."""
        prompt = self._count(self._prompt, 1, self._most_prompt, "prompt", told, whole)
        least = max(self._pieces - _SLACK_PIECES, 1 if self._pieces else 0)
        completion = self._count(self._completion, least, self._max_tokens, "answer", told, whole)
        if prompt is None or completion is None or type(self._total) is not int or not whole:
            return prompt, completion
        if self._total != prompt + completion:
            shown = one_line(str(self._total)[:40], 30)
            told.append(f"the server counts {shown} tokens in all for {prompt} + {completion}: not believed")
            return None, None
        return prompt, completion

    def _count(self, value: object, least: int, most: int, what: str, told: list[str], whole: bool) -> int | None:
        if value is None:
            if whole:
                told.append(f"the server does not count the tokens of the {what}")
            return None
        if type(value) is int and least <= value <= most:
            return value
        bounds = f"it sent {self._pieces} pieces of text, the limit is {self._max_tokens}"
        bounds = f"it can have 1 to {most}" if what == "prompt" else bounds
        told.append(
            f"the server counts {one_line(str(value)[:40], 30)} tokens of the {what}, but {bounds}: not believed"
        )
        return None

    def _timings(self, tokens: int | None) -> Timings:
        if self._first is None or self._last is None:
            return Timings(None, None, None, None)
        total_s = self._last - self._sent
        decode_s = self._last - self._first
        tpot = 1000 * decode_s / (tokens - 1) if tokens is not None and tokens > 1 else None
        rate = tokens / total_s if tokens is not None and total_s > 0 else None
        return Timings(1000 * (self._first - self._sent), tpot, 1000 * total_s, rate, _gaps(self._gaps))


def _gaps(seconds: list[float]) -> Gaps | None:
    """Percentiles by the nearest rank."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    p50, p95 = (1000 * ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95))
    return Gaps(p50, p95, len(ordered))
