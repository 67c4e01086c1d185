"""The book of one answer: what came when, and which of a server's counts can be true."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable

from phitui.core.text import one_line
from phitui.engine.protocol.api import Delta, Finished, FinishReason, Gaps, Timings, Usage
from phitui.engine.protocol.endings import is_failure, shortfall
from phitui.engine.protocol.thinking import Split, ThinkSplitter
from phitui.engine.remote.pieces import Piece
from phitui.engine.remote.wire import TooMuch

# Servers' words for why an answer ended, in lower case, by what they mean; of several words the first counts, as in
# Gemini's "content_filter: SAFETY".
_REASONS: dict[str, tuple[str, ...]] = {
    "stop": ("stop", "eos_token", "stop_sequence", "end_turn", "eos", "stop_string", "complete", "completed", "done"),
    "length": ("length", "max_tokens", "model_length", "max_output_tokens", "max_new_tokens", "max_length"),
    "content_filter": (
        "content_filter", "content_filtered", "safety", "recitation", "blocklist", "prohibited_content", "spii",
        "sensitive", "guardrail_intervened", "guardrails", "moderation",
    ),
    "refusal": ("refusal",),
    "tool_calls": ("tool_calls", "tool_call", "tool_use", "function_call"),
}  # fmt: skip
_MEANING: dict[str, FinishReason] = {word: meaning for meaning, words in _REASONS.items() for word in words}  # type: ignore[misc]
_BROKEN = ("error", "abort", "aborted", "network_error", "insufficient_system_resource", "unavailable")
# An answer's text is bounded by its tokens: hardly any has more bytes than this, and none so many on average.
_TOKEN_CHARS = 128
_LEAST_TEXT_CHARS = 1_000_000
# A template adds some tokens to the prompt's own, of which each has a byte at least.
_TEMPLATE_TOKENS = 10_000
# One token may come as two pieces where an answer follows upon reasoning.
_SLACK_PIECES = 2
_CALL_CHARS = 2000
# English text has 4 bytes a token, code with its blanks hardly more than 8.
_MOST_BYTES_PER_TOKEN = 12
_SHORT_PROMPT_BYTES = 2000


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
        self._prompt_bytes, self._window = prompt_bytes, context_window
        self._most_prompt = min(prompt_bytes + _TEMPLATE_TOKENS, context_window or 10**9)
        self._clock = clock
        self._sent = clock()
        self._first: float | None = None
        self._last: float | None = None
        self._gaps: list[float] = []
        self._pieces = 0
        self._chars = 0
        self._splitter = ThinkSplitter()
        self._answered = self._thought = self._refused = self._whole = False
        self._call = ""
        self._prompt: object = None
        self._completion: object = None
        self._total: object = None
        self._thinking: object = None
        self.reason: str | None = None

    @property
    def begun(self) -> bool:
        """Whether a first token has come: from here on nothing is asked a second time."""
        return self._first is not None

    @property
    def complete(self) -> bool:
        """Whether the server has said why the answer ended."""
        return self.reason is not None and not self.broken

    @property
    def broken(self) -> str:
        """The server's word for that it could not end the answer, "" where there is none."""
        return self.reason if self.reason is not None and self.reason.lower() in _BROKEN else ""

    def take(self, piece: Piece) -> Delta | None:
        """Write a piece into the book; what to show of it. Raises TooMuch."""
        self._prompt = self._prompt if piece.prompt_tokens is None else piece.prompt_tokens
        self._completion = self._completion if piece.completion_tokens is None else piece.completion_tokens
        self._total = self._total if piece.total_tokens is None else piece.total_tokens
        self._thinking = self._thinking if piece.thinking_tokens is None else piece.thinking_tokens
        self.reason = piece.reason or self.reason
        self._refused = self._refused or piece.refusal
        self._whole = self._whole or piece.whole
        if len(self._call) < _CALL_CHARS:
            self._call += piece.call
        if not (piece.text or piece.thinking or piece.unseen):
            if piece.reason and self._first is not None:  # the end token has no text
                self._last = self._clock()
            return None
        self._mark(len(piece.text) + len(piece.thinking))
        running = self._completion
        told = running if type(running) is int and 0 < running <= self._max_tokens else None
        return self._shown(self._splitter.feed(piece.text), piece.thinking, told)

    def flush(self) -> Delta | None:
        """What was held back at the end of the answer, None for nothing."""
        split = self._splitter.flush()
        return self._shown(split, "", None) if split.text or split.thinking else None

    def _shown(self, split: Split, thinking: str, told: int | None) -> Delta:
        if split.moved:
            self._thought, self._answered = self._thought or self._answered, False
        thinking += split.thinking
        self._thought = self._thought or bool(thinking.strip())
        self._answered = self._answered or bool(split.text.strip())
        return Delta(self._number, split.text, told, thinking, split.moved)

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
        if self._call and reason == "tool_calls":
            told.append(f"the model asks for a tool: {one_line(self._call, 200)}")
        if self._whole:
            told.append("the server did not stream: the answer came in one piece, so its times are of the whole")
        thinking = self._thinking if type(self._thinking) is int and 0 < self._thinking <= (completion or 0) else None
        lacks = shortfall(reason, self._answered, self._thought, self._max_tokens)
        return Finished(
            self._number,
            reason,
            Usage(prompt, completion, thinking),
            self._timings(completion),
            told,
            lacks,
            is_failure(reason, self._answered),
        )

    def _reason(self, told: list[str]) -> FinishReason:
        if self._refused:
            return "refusal"
        word = (self.reason or "stop").lower()
        found = _MEANING.get(word) or _MEANING.get(re.split(r"[^a-z_]", word)[0])
        if found is None:
            told.append(f'the server ended the answer with "{one_line(self.reason or "", 40)}"')
            found = "stop"
        if found == "stop" and self._call and not self._answered:  # Ollama and others call that a stop
            return "tool_calls"
        return found

    def _believed(self, told: list[str], whole: bool) -> tuple[int | None, int | None]:
        """The server's counts of prompt and answer, None for one that is missing or cannot be true; `told` says which.
        Of an answer that was stopped (not `whole`) a count that is missing is nobody's fault."""
        prompt = self._count(self._prompt, 1, self._most_prompt, "prompt", told, whole)
        least = max(self._pieces - _SLACK_PIECES, 1 if self._pieces else 0)
        completion = self._count(self._completion, least, self._max_tokens, "answer", told, whole)
        self._doubt_prompt(prompt, told)
        if prompt is None or completion is None or type(self._total) is not int or not whole:
            return prompt, completion
        if self._total != prompt + completion:
            shown = one_line(str(self._total)[:40], 30)
            told.append(f"the server counts {shown} tokens in all for {prompt} + {completion}: its counts are not used")
            return None, None
        return prompt, completion

    def _doubt_prompt(self, prompt: int | None, told: list[str]) -> None:
        """Some servers cut a prompt that is longer than their window, and say nothing."""
        least = self._prompt_bytes // _MOST_BYTES_PER_TOKEN
        cut = self._window is not None and self._prompt_bytes // 4 > self._window
        if prompt is not None and self._prompt_bytes > _SHORT_PROMPT_BYTES and (prompt < least or cut):
            told.append(
                f"the server read {prompt} tokens of a prompt of {self._prompt_bytes:,} bytes: it has cut it to its "
                "context window, or does not count what it knew from before"
            )

    def _count(self, value: object, least: int, most: int, what: str, told: list[str], whole: bool) -> int | None:
        if value is None:
            if whole:
                told.append(f"the server does not count the tokens of the {what}")
            return None
        if type(value) is int and least <= value <= most:
            return value
        bounds = f"it sent {self._pieces} pieces of text, the limit is {self._max_tokens}"
        bounds = f"it can have 1 to {most}" if what == "prompt" else bounds
        shown = one_line(str(value)[:40], 30)
        told.append(f"the server counts {shown} tokens of the {what}, but {bounds}: the count is not used")
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
