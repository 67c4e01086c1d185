"""What the tuner found, with all that it holds for: tunings.json for this machine, engine-tunings.json for servers."""

from __future__ import annotations

import msgspec

from phitui.storage.tuning_file import TuningFile

_LEAST_BUCKET = 256
_NAMES = {
    "device": "the device",
    "driver": "the driver",
    "engine": "CTranslate2",
    "model": "the model's weights",
}


class Conditions(msgspec.Struct, frozen=True):
    """What a tuning holds for. `device` is the GPU's UUID, or the CPU's name and its usable cores; `driver` is "" on a
    CPU; `engine` is CTranslate2's version; `model` the SHA-256 of its weights; `bucket` a length in tokens, prompt and
    answer together, rounded up to a power of two."""

    device: str
    driver: str
    engine: str
    model: str
    compute_type: str
    bucket: int


class ProbeRecord(msgspec.Struct, frozen=True):
    """One probe of a tuning on this machine: rows of `prompt_tokens` that `new_tokens` were added to, the peak of
    memory that was predicted and measured for it, its median decode step, how it was judged, and what it was for. None
    is what was not measured."""

    workers: int
    threads: int
    compute_type: str
    rows: int
    prompt_tokens: int
    new_tokens: int
    predicted_bytes: int
    peak_bytes: int | None
    step_s: float | None
    result: str
    why: str

    @property
    def rate(self) -> float | None:
        """Tokens/s of all rows together in its decode steps."""
        return self.rows / self.step_s if self.step_s else None


class ServerProbeRecord(msgspec.Struct, frozen=True):
    """One probe of a tuning of a server: so many requests at once, the output tokens/s that were predicted and
    measured, the mean time per token, the 95th percentile of the gaps, the time to the first token, the most requests
    that waited, and how full the KV cache was (a share)."""

    at_once: int
    predicted_rate: float | None
    rate: float | None
    step_s: float | None
    gap_p95_s: float | None
    ttft_s: float | None
    waiting: int | None
    kv_use: float | None
    result: str
    why: str


class Tuning(msgspec.Struct, frozen=True):
    """What was found. `made` is a time in UTC (ISO 8601), `b_max`, `batch` (the best) and `kv_tokens` are in rows and
    tokens, `peak_bytes` is the memory that the best batch takes, as predicted by the fit.

    The fitted costs, in seconds: a decode step of B rows with T cached tokens each takes `step_fixed_s` + B ×
    (`step_row_s` + T × `step_token_s`), reading B prompts of P tokens `prefill_call_s` + B × P × `prefill_token_s`. All
    are 0 in what was stored before they were kept. `spread` is the standard
    deviation of `tokens_per_s` over `measurements` runs, None where there was one. `probes` are all that were made, in
    all configurations; of what was stored before they were kept there are none."""

    conditions: Conditions
    model_name: str
    made: str
    prompt_tokens: int
    new_tokens: int
    workers: int
    threads: int
    batch: int
    b_max: int
    kv_tokens: int
    tokens_per_s: float
    peak_bytes: int
    limit_bytes: int
    why: str
    step_fixed_s: float = 0.0
    step_row_s: float = 0.0
    step_token_s: float = 0.0
    prefill_call_s: float = 0.0
    prefill_token_s: float = 0.0
    spread: float | None = None
    measurements: int = 1
    probes: tuple[ProbeRecord, ...] = ()


class ServerTuningKey(msgspec.Struct, frozen=True):
    """What it is looked up by: the engine's name, its host with the port, and the lengths."""

    engine: str
    host: str
    prompt_tokens: int
    new_tokens: int


class ServerTuning(msgspec.Struct, frozen=True):
    """What was found, and under which conditions: the server's `model`, its `kind`, and how many prompts it takes at
    once by its own word. `made` is a time in UTC (ISO 8601); the others are as in
    `autotune.server_search.ServerTuneAnswer`."""

    key: ServerTuningKey
    model: str
    kind: str
    at_once: int | None
    made: str
    c_max: int
    c_best: int
    c_slo: int | None
    tokens_per_s: float
    spread: float | None
    measurements: int
    why: str
    probes: tuple[ServerProbeRecord, ...] = ()

    @property
    def prompt_tokens(self) -> int:
        return self.key.prompt_tokens

    @property
    def new_tokens(self) -> int:
        return self.key.new_tokens


TUNINGS = TuningFile("tunings.json", Tuning, lambda one: one.conditions)
SERVER_TUNINGS = TuningFile("engine-tunings.json", ServerTuning, lambda one: one.key)


def bucket(total_tokens: int) -> int:
    """The length bucket: the power of two, at least 256, that so many tokens fit into."""
    size = _LEAST_BUCKET
    while size < total_tokens:
        size *= 2
    return size


def stale(tuning: Tuning, now: Conditions, usable_bytes: int | None = None) -> str:
    """Why a stored tuning does not hold now, or "" where it does. `usable_bytes`, where it is known, is what the engine
    may hold in all by what is free now."""
    for field, name in _NAMES.items():
        if getattr(tuning.conditions, field) != getattr(now, field):
            return f"{name} changed"
    if usable_bytes is not None and usable_bytes < tuning.peak_bytes:
        return f"it takes {tuning.peak_bytes / 2**30:.2f} GiB, {usable_bytes / 2**30:.2f} GiB are usable now"
    return ""


def newest_for(tunings: list[Tuning], model_name: str, length_bucket: int, device: str) -> Tuning | None:
    """The newest tuning of a model, by its name, for texts of this length: of this device where there is one."""
    matching = [one for one in tunings if (one.model_name, one.conditions.bucket) == (model_name, length_bucket)]
    here = [one for one in matching if one.conditions.device == device]
    return next(iter(here or matching), None)


def stale_server_tuning(tuning: ServerTuning, model: str, kind: str, at_once: int | None) -> str:
    """Why a stored tuning does not hold for the server as it is now, or "" where it does."""
    if tuning.model != model:
        return f"the model was {tuning.model}, now it is {model}"
    if tuning.kind != kind:
        return f"the server was {tuning.kind}, now it is {kind}"
    if tuning.at_once != at_once:
        return f"the server took {tuning.at_once or '–'} prompts at once, now {at_once or '–'}"
    return ""
