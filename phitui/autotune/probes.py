"""What the search asks to be measured, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from phitui.autotune.memory import Shape
from phitui.core.errors import PhituiError


@dataclass(frozen=True)
class Goal:
    """What the batch is for: prompts of `prompt_tokens`, answers of `new_tokens`, both counts of tokens.

    `start` is the batch to begin with, `most` the largest that is tried. `slo_itl_s` is the inter-token latency,
    in seconds, that 95 % of the steps are to keep. `spills` says that memory above what there is may go elsewhere
    without a word, so that a sudden jump in step time counts as failed. A probe makes `decode_steps` steps. The search
    ends after `most_probes` probes or `budget_s` seconds of them; neighbours of the best size are tried in the first
    `neighbour_probes` of them alone. `repeats` is how often the sizes that the answer hangs on are then run again.
    """

    prompt_tokens: int
    new_tokens: int
    start: int = 26
    most: int = 16384
    slo_itl_s: float | None = None
    decode_steps: int = 32
    most_probes: int = 9
    neighbour_probes: int = 7
    repeats: int = 2
    spills: bool = True
    budget_s: float = float("inf")

    def shape(self, batch: int) -> Shape:
        """The whole work at this batch size."""
        return Shape(batch, self.prompt_tokens, self.new_tokens)


class Probe(NamedTuple):
    """One measurement to make, what it is for, and the peak of memory that is predicted for it. `again` says that this
    shape has run before: it is a repetition to know the noise, and counts as no probe of the search."""

    shape: Shape
    why: str
    predicted_bytes: int = 0
    again: bool = False

    @property
    def size(self) -> int:
        """Rows that run together."""
        return self.shape.batch


@dataclass(frozen=True)
class Outcome:
    """What a probe gave. Bytes are those of the engine alone: `limit_bytes` is what it may use now, with what other
    programs hold taken off, so that it is up to date at every probe.

    `step_s` is the median decode step, `step_p95_s` its 95th percentile, `prefill_s` the time to read the prompts,
    `seconds` what the probe took in all. Without "ok" they are None. `driver_bytes` is what the driver counted for the
    engine's process, to put beside `peak_bytes`; None with the reason in `driver_note`.
    """

    kind: Literal["ok", "oom", "failed"]
    limit_bytes: int
    peak_bytes: int | None = None
    step_s: float | None = None
    step_p95_s: float | None = None
    prefill_s: float | None = None
    seconds: float = 0.0
    detail: str = ""
    driver_bytes: int | None = None
    driver_note: str = ""


class Verdict(NamedTuple):
    """A probe with its outcome, what was predicted for it (bytes of its own shape), and how it was judged: "ok", "over"
    (it ran, above the limit), "slow" (it ran, much slower than fewer rows: memory spilled), "oom" or "failed"."""

    probe: Probe
    outcome: Outcome
    predicted_bytes: int
    judged: str

    @property
    def rate(self) -> float | None:
        """Tokens/s of all rows together in its decode steps; None where it made none."""
        return self.probe.size / self.outcome.step_s if self.outcome.step_s else None


class NothingFitsError(PhituiError):
    """Not even one row fits."""
