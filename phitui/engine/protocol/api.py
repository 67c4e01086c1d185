"""The engine's messages: what it is asked and what it answers."""

from __future__ import annotations

from typing import Literal

import msgspec

from phitui.core.ipc.messages import Failure, Progress
from phitui.engine.protocol.rows_api import AddRows as AddRows
from phitui.engine.protocol.rows_api import BatchEnded as BatchEnded
from phitui.engine.protocol.rows_api import BatchState as BatchState
from phitui.engine.protocol.rows_api import Cost as Cost
from phitui.engine.protocol.rows_api import OpenBatch as OpenBatch
from phitui.engine.protocol.rows_api import Row as Row
from phitui.engine.protocol.rows_api import RowDone as RowDone
from phitui.engine.protocol.rows_api import RowFailed as RowFailed
from phitui.engine.protocol.rows_api import RowsMade as RowsMade
from phitui.engine.protocol.values import FinishReason as FinishReason
from phitui.engine.protocol.values import Gaps as Gaps
from phitui.engine.protocol.values import Sampling as Sampling
from phitui.engine.protocol.values import Timings as Timings
from phitui.engine.protocol.values import Turn as Turn
from phitui.engine.protocol.values import Usage as Usage
from phitui.models.footprint import Footprint


class Load(msgspec.Struct, tag=True, frozen=True):
    """Load a model folder. `threads` of 0: the count that is fastest for one prompt, measured once and kept in
    `profiles` (a file). `park_after_s` of 0: park only when asked to. `workers` share the weights, each with `threads`
    of its own (on CUDA: with a stream of its own), and the rows of a batch are split over them. `epoch` comes back in
    `Loaded`, so that whoever asked knows its own load from somebody else's."""

    folder: str
    device: str
    compute_type: str
    threads: int
    profiles: str
    park_after_s: float = 0.0
    workers: int = 1
    epoch: int = 0


class Generate(msgspec.Struct, tag=True, frozen=True):
    """Answer a chat. Requests are answered in the order in which they come.

    With `answers` above 1 so many are drawn together, as rows of one batch. Each has events of its own, with the ids
    `id`, `id` + 1, …; `Cancel` of `id` stops them all."""

    id: int
    turns: list[Turn]
    sampling: Sampling
    answers: int = 1


class Cancel(msgspec.Struct, tag=True, frozen=True):
    """Stop an answer within one decode step, or take it out of the queue."""

    id: int


class Park(msgspec.Struct, tag=True, frozen=True):
    """Give the model's memory back until the next prompt, once what is queued has been answered."""


class WarmUp(msgspec.Struct, tag=True, frozen=True):
    """Have every worker read `positions` tokens and make one, so that what the first use allocates is there; then say
    how much memory there is. `Room` follows, or `Rejected`."""

    id: int
    positions: int


class Room(msgspec.Struct, tag=True, frozen=True):
    """Memory in bytes: `rest_bytes` is what the engine holds with nothing running, `usable_bytes` what it may hold in
    all by what is free now. On CUDA both are of the device's memory pool; on a CPU resident memory and RAM."""

    id: int
    rest_bytes: int
    usable_bytes: int


class RunProbe(msgspec.Struct, tag=True, frozen=True):
    """Run `batch` rows of `prompt_tokens` ordinary tokens each, make exactly `new_tokens` for each, and measure it.

    With `bound_bytes` (0: none) the engine's memory must not grow above it: on a CPU an allocation beyond fails as on a
    card, where the kernel would else end the process. `every_token` asks for the times of all tokens of all rows.
    `Probed` follows, or `Rejected`.
    """

    id: int
    batch: int
    prompt_tokens: int
    new_tokens: int
    bound_bytes: int = 0
    every_token: bool = False


class Probed(msgspec.Struct, tag=True, frozen=True):
    """What a probe gave. `usable_bytes` as in `Room`, by what was free when it began; `peak_bytes` is the most that the
    engine held.

    `prefill_s` is the time to the first token of the last row, `step_s` the median of the decode steps after it and
    `step_p95_s` their 95th percentile, `seconds` the whole call. Without "ok" they are None and `detail` says why.
    `token_s` has a list for each row where that was asked for: when its tokens were made, in seconds since the call.
    `driver_bytes` is the most that the NVIDIA driver counted for the engine's process meanwhile (read 10 times a
    second, CUDA's context included), None with the reason in `driver_note`.
    """

    id: int
    kind: Literal["ok", "oom", "failed", "cancelled"]
    usable_bytes: int
    seconds: float
    peak_bytes: int | None = None
    prefill_s: float | None = None
    step_s: float | None = None
    step_p95_s: float | None = None
    detail: str = ""
    token_s: list[list[float]] = []
    driver_bytes: int | None = None
    driver_note: str = ""


class Count(msgspec.Struct, tag=True, frozen=True):
    """Count the tokens of a chat, rendered as for an answer, or with no turns those of `text` alone. It is answered at
    once, also while an answer is being made. `Counted` follows, or `Rejected`."""

    id: int
    turns: list[Turn] = []
    text: str = ""


class Counted(msgspec.Struct, tag=True, frozen=True):
    """How many tokens it is; by the engine's own tokenizer where `exact`, else a quarter of the bytes."""

    id: int
    tokens: int
    exact: bool = True


class Parked(msgspec.Struct, tag=True, frozen=True):
    """The model is parked. `place` is where its weights are: "host memory" or "disk"."""

    place: str


class ParkRefused(msgspec.Struct, tag=True, frozen=True):
    """The model stays where it is, ready to answer: there is no room to park it."""

    failure: Failure


class Woken(msgspec.Struct, tag=True, frozen=True):
    """The model is back, for a prompt that came; `seconds` is how long that took."""

    seconds: float


class Remote(msgspec.Struct, frozen=True):
    """An engine on another machine. `name` as the configuration has it, `host` with its port, `kind` of server, `model`
    as the server calls it, `can` what is known of it in words, `supported_parameters` the parameters that it takes
    (engine/protocol/capabilities.py). `at_once` is how many prompts it answers at the same time (None: not told)."""

    name: str
    host: str
    kind: str
    model: str
    can: list[str] = []
    supported_parameters: tuple[str, ...] = ()
    at_once: int | None = None


class Loaded(msgspec.Struct, tag=True, frozen=True):
    """The model is ready. `why` says how device, compute type and threads were chosen; `footprint` is None where the
    model's bytes per step are not known; `compute_types` are those that the device runs. `device_uuid` is that of the
    card that CUDA gave the engine, without the driver's "GPU-"; "" on a CPU, or where it is not known. `epoch` is that
    of the `Load`; an engine that died and came back by itself has the same.

    Of a `remote` engine the device is "remote", what only a process of our own has is empty or 0, and a context window
    that its server does not tell is None.
    """

    name: str
    title: str
    device: str
    compute_type: str
    threads: int
    context_window: int | None
    weight_bytes: int
    load_s: float
    why: str
    footprint: Footprint | None = None
    workers: int = 1
    compute_types: list[str] = []
    device_uuid: str = ""
    remote: Remote | None = None
    epoch: int = 0


class Started(msgspec.Struct, tag=True, frozen=True):
    """The engine has taken a request off its queue; prefill begins. A remote engine counts the prompt's tokens at the
    end: None."""

    id: int
    prompt_tokens: int | None


class Delta(msgspec.Struct, tag=True, frozen=True):
    """More of an answer. `tokens` counts all of it so far, None where the server does not say it on the way; text may
    be empty where a character is still incomplete. `thinking` is more of what the model thinks before it answers;
    `moved` says that all text that came before this was thought, too: only the end of the thinking was marked."""

    id: int
    text: str
    tokens: int | None
    thinking: str = ""
    moved: bool = False


class Pulse(msgspec.Struct, tag=True, frozen=True):
    """How the engine spent its time since the pulse before: about four a second while it works, one more at the end of
    each answer (`last`), none while it is idle.

    - `window_s`: seconds since the pulse before, or since the engine took the request. Rendering and tokenizing
      (`tokenize_s`), `prefill_s` and `decode_s` are parts of it; a step that still runs is in none of them yet.
    - `steps`: decode steps, each of which made one token for each of `rows` sequences in `decode_s` / `steps`.
    - `context_tokens`: length of the KV cache of a row in the middle of these steps; None without a step.
    - `queued`: requests that wait in the engine.
    - `waves`: batches that made these steps side by side, in the mean: each reads all weights in every step.
    - Of a batch prefill is where nothing decodes meanwhile, and tokenizing where nothing else is done. What a prompt
      beside it takes is in none of its figures.
    """

    window_s: float
    steps: int
    decode_s: float
    prefill_s: float
    tokenize_s: float
    rows: int
    context_tokens: float | None
    queued: int
    last: bool = False
    waves: float = 1.0


class Finished(msgspec.Struct, tag=True, frozen=True):
    """An answer is over. `notes` are what a person should know of it, as counts of a server that cannot be true.
    `shortfall` says in one line what it lacks ("Only thinking, no answer: …"), "" where nothing; `failed` that it is
    not the answer that was asked for: there is none, a filter or the model refused it, or it is the call of a tool."""

    id: int
    reason: FinishReason
    usage: Usage
    timings: Timings
    notes: list[str] = []
    shortfall: str = ""
    failed: bool = False


class Rejected(msgspec.Struct, tag=True, frozen=True):
    """A request could not be answered; the engine goes on."""

    id: int
    failure: Failure


class Retrying(msgspec.Struct, tag=True, frozen=True):
    """A remote engine has not taken the request; it is sent again. `text` says why, when, and how often still."""

    id: int
    text: str


class BrokeOff(msgspec.Struct, tag=True, frozen=True):
    """A remote engine failed to answer, or to answer to the end: what has come of the answer stays. The next request
    may be sent."""

    id: int
    failure: Failure


class Died(msgspec.Struct, tag=True, frozen=True):
    """Made by the client: the worker ended unasked. `lost` are the requests it took along, oldest first."""

    reason: str
    lost: list[int]
    restarting: bool


Request = Load | Generate | Cancel | Park | WarmUp | RunProbe | OpenBatch | AddRows | Count
_ChatEvent = Progress | Failure | Loaded | Parked | ParkRefused | Woken | Started | Delta | Pulse | Finished | Rejected
_BatchEvent = RowsMade | RowDone | RowFailed | BatchState | BatchEnded
WorkerEvent = _ChatEvent | _BatchEvent | Room | Probed | Counted
RemoteEvent = Loaded | ParkRefused | Started | Delta | Retrying | Finished | Rejected | BrokeOff
Event = WorkerEvent | RemoteEvent | Died
