"""The engine's messages about batches of rows: many prompts, each with its own limits, at the size that suits."""

from __future__ import annotations

from typing import Literal

import msgspec

from phitui.core.ipc.messages import Failure
from phitui.engine.protocol.values import FinishReason, Sampling, Turn

Policy = Literal["waves", "sorted", "in order"]
# Requests to a server at once, where nothing is known of it.
DEFAULT_CONCURRENCY = 8


class Cost(msgspec.Struct, frozen=True):
    """What a batch's time is made of, in seconds: the tuner's fits (phitui.autotune.steptime).

    A decode step of B rows with T cached tokens each takes `step_fixed_s` + B × (`step_row_s` + T × `step_token_s`);
    reading B prompts of P tokens `prefill_call_s` + B × P × `prefill_token_s`.
    """

    step_fixed_s: float
    step_row_s: float
    step_token_s: float
    prefill_call_s: float
    prefill_token_s: float


class Row(msgspec.Struct, frozen=True):
    """One prompt of a batch. `key` is the sender's; `made` are the token ids that an earlier run of this row made: the
    answer goes on behind them, and they count towards its limit."""

    key: int
    turns: list[Turn]
    sampling: Sampling
    made: list[int] = []


class OpenBatch(msgspec.Struct, tag=True, frozen=True):
    """Begin a batch; its rows follow in `AddRows`. `id` is given by the client that sends it.

    - `batch`: the most rows at once, over all workers; 0: as the budget allows.
    - `kv_tokens`: tokens in the KV cache over all rows at once; 0: worked out from free memory.
    - `cost`: without it (None) nothing is stopped to be pooled.
    - `policy`: "in order" takes rows as they come, "sorted" by length, "waves" by length and stops a batch of few rows
      to pool them, where `cost` says that it pays.
    - `seed`: set for the process before the first row. CTranslate2's worker threads read it once, when each draws for
      the first time, and draw for all rows of a batch in turn. So with a temperature a job draws the same again only in
      an engine that was started anew, with one worker, all rows given at once, a policy that pools nothing ("sorted",
      "in order"), and no prompts in between. Two workers begin with the same seed. With a seed nothing begins before
      `last` has come, so that waves do not depend on when rows did. Greedy rows need none.
    """

    id: int = 0
    batch: int = 0
    kv_tokens: int = 0
    cost: Cost | None = None
    seed: int | None = None
    policy: Policy = "waves"


class AddRows(msgspec.Struct, tag=True, frozen=True):
    """More rows of a batch. With `last` no more come; until then the engine begins once it has enough for full
    batches."""

    id: int
    rows: list[Row]
    last: bool = False


class RowsMade(msgspec.Struct, tag=True, frozen=True):
    """Token ids that rows have made since the last such message, as (key, ids): about two a second, so that they can
    be kept."""

    id: int
    made: list[tuple[int, list[int]]]


class RowUsage(msgspec.Struct, frozen=True):
    """Counts of tokens, as in `engine.values.Usage`: None where a server does not tell."""

    prompt_tokens: int | None
    completion_tokens: int | None


class RowDone(msgspec.Struct, tag=True, frozen=True):
    """A row's answer is over. `made` are its ids since the last `RowsMade` that named it; `text` is the whole
    answer, `thinking` what the model thought before it; `usage` counts what an earlier run made too; `seconds` from
    when it was first begun here. `shortfall` and `failed` as in `Finished`."""

    id: int
    key: int
    text: str
    reason: FinishReason
    usage: RowUsage
    made: list[int]
    seconds: float
    thinking: str = ""
    shortfall: str = ""
    failed: bool = False


class RowFailed(msgspec.Struct, tag=True, frozen=True):
    """A row that cannot be answered; the others go on."""

    id: int
    key: int
    failure: Failure


class BatchState(msgspec.Struct, tag=True, frozen=True):
    """How a batch stands, about twice a second and with every note.

    `alive` rows make tokens, `waiting` rows have none made now; `tokens` were made for this batch by this process;
    `kv_tokens` is the budget now; `note` is one line for the log, or nothing; `waves` have begun, and `stopped` of them
    ended before their rows, to be pooled. `counted` are tokens since the last
    state that no `RowsMade` or `RowDone` has ids of: a remote engine only counts them.
    """

    id: int
    alive: int
    waiting: int
    tokens: int
    kv_tokens: int
    note: str = ""
    counted: int = 0
    waves: int = 0
    stopped: int = 0


class BatchEnded(msgspec.Struct, tag=True, frozen=True):
    """No row of the batch is left; or it was cancelled, and what its rows had made has been sent."""

    id: int
    reason: Literal["done", "cancelled"]
