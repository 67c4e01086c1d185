"""What requests and answers of every kind are made of."""

from __future__ import annotations

from typing import Literal

import msgspec

# "content_filter", "refusal" and "tool_calls" are a server's: a filter held the answer back or cut it off, the model
# declined, or asked for a tool instead.
FinishReason = Literal["stop", "length", "cancelled", "content_filter", "refusal", "tool_calls"]


class Turn(msgspec.Struct, frozen=True):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class Sampling(msgspec.Struct, frozen=True):
    """How the next token is drawn. A temperature of 0 is greedy; a top_k of 0 is all tokens. The answer ends before
    the first of the `stop` strings. `seed` is for engines that have one for each request; None: another draw each
    time."""

    max_tokens: int
    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    stop: tuple[str, ...] = ()
    seed: int | None = None


class Usage(msgspec.Struct, frozen=True):
    """Real counts, in tokens. The end token is counted where the model made one. None where a server does not tell.
    `thinking_tokens` are those of the answer that were thought, where a server tells that."""

    prompt_tokens: int | None
    completion_tokens: int | None
    thinking_tokens: int | None = None


class Gaps(msgspec.Struct, frozen=True):
    """Inter-token latency as the client of a remote engine sees it: median and 95th percentile of the `count` gaps
    between pieces of text as they came. A piece may have more tokens than one."""

    p50_ms: float
    p95_ms: float
    count: int


class Timings(msgspec.Struct, frozen=True):
    """Measured in the engine from the moment it took the request (tokenizing included); of a remote engine at the
    client, from the moment it sent the request that was answered.

    `ttft_ms` to the first token; `tpot_ms` the mean gap between tokens after it, None where there was only one;
    `total_ms` to the last token; `tokens_per_s` all tokens over the whole time, prefill included. A None has no
    value: no token came.
    """

    ttft_ms: float | None
    tpot_ms: float | None
    total_ms: float | None
    tokens_per_s: float | None
    gaps: Gaps | None = None

    @property
    def decode_tokens_per_s(self) -> float | None:
        """Tokens per second after the first: 1000 / tpot_ms."""
        return 1000.0 / self.tpot_ms if self.tpot_ms else None
