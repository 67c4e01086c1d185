"""What a bench found, as it is printed and saved. A figure that is not known is None, with its reason beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from phitui.core.errors import PhituiError, UsageError
from phitui.core.files import read_small, replace_file

FORMAT = "phitui-bench"
VERSION = 1
_MOST_BYTES = 64 * 1024 * 1024

Above0 = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Percentiles(msgspec.Struct, frozen=True):
    """Mean and nearest-rank percentiles of `n` values."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    n: Count


class RunFigures(msgspec.Struct, frozen=True):
    """One run of a batch: means over its rows, the 95th percentile of its gaps, output tokens/s with the prefill and
    without, J per output token gross. None: fewer than two tokens in a row; no energy."""

    ttft_ms: Above0
    output_tokens_per_s: Above0
    tpot_ms: Above0 | None = None
    itl_p95_ms: Above0 | None = None
    decode_tokens_per_s: Above0 | None = None
    joules_per_token: Above0 | None = None


class BenchBandwidth(msgspec.Struct, frozen=True):
    """Memory traffic of the decode steps by the model's sizes and the mean TPOT, GB/s (10⁹ bytes), and as a share of
    the peak: "useful" counts weights + KV cache, "engine" weights + 3 × KV cache. `reason`: why figures are None."""

    useful_gb_s: float | None = None
    engine_gb_s: float | None = None
    mbu_useful: float | None = None
    mbu_engine: float | None = None
    reason: str = ""


class JoulesPerToken(msgspec.Struct, frozen=True):
    """J per output token over `n` runs, gross and net of idle. `rough`: a run was shorter than 5 s."""

    gross: float | None = None
    net: float | None = None
    source: Literal["counter", "sampled"] | None = None
    rough: bool = False
    n: int = 0
    reason: str = ""


class BatchResult(msgspec.Struct, frozen=True):
    """One batch size. Without "ok" (every run of it did well) there are figures of the runs before, or none, and
    `detail` says why. `output_tokens_per_s` and `decode_tokens_per_s` are medians over the runs."""

    batch: Count
    outcome: Literal["ok", "oom", "failed", "interrupted"]
    detail: str = ""
    runs: list[RunFigures] = []
    output_tokens_per_s: Above0 | None = None
    decode_tokens_per_s: Above0 | None = None
    ttft_ms: Percentiles | None = None
    tpot_ms: Percentiles | None = None
    itl_ms: Percentiles | None = None
    bandwidth: BenchBandwidth = BenchBandwidth()
    joules_per_token: JoulesPerToken = JoulesPerToken()
    peak_memory_bytes: int | None = None


class BenchModel(msgspec.Struct, frozen=True):
    """`sha256` is that of the weights, "" of a server's; the context window is None where a server does not tell it."""

    name: str
    quantization: str
    sha256: str
    context_window: int | None


class DeviceFacts(msgspec.Struct, frozen=True):
    """`kind` is "cpu", "cuda" or "remote" (with the `cpus` of this machine); `peak_gb_s` its memory's, `peak_source`
    where that is from, or why there is none."""

    kind: str
    name: str
    uuid: str | None
    cpus: int
    driver: str | None
    cuda: str | None
    peak_gb_s: float | None
    peak_source: str


class BenchSetup(msgspec.Struct, frozen=True):
    """How the engine ran. `threads` are those of each worker; 0: CTranslate2's choice. Of a server's engine nothing is
    known: 0 workers."""

    workers: int
    threads: int
    compute_type: str


class Workload(msgspec.Struct, frozen=True):
    """Lengths in tokens; `warm_up_tokens` were made once for each batch size before, and are not counted."""

    prompt_tokens: Count
    max_tokens: Count
    repeat: Count
    warm_up_tokens: int


class Circumstances(msgspec.Struct, frozen=True):
    """What else went on: load averages of one minute, before the engine was started and at the end, and the driver's
    reasons for lower clocks seen in between (None: not told)."""

    load1_begin: float | None = None
    load1_end: float | None = None
    throttle_reasons: list[str] | None = None


class BenchResult(msgspec.Struct, frozen=True):
    """All of it. `date` is UTC (ISO 8601); `notes` are what the figures have to be read with."""

    format: str
    version: int
    date: str
    interrupted: bool
    model: BenchModel
    device: DeviceFacts
    config: BenchSetup
    versions: dict[str, str]
    workload: Workload
    conditions: Circumstances
    results: list[BatchResult]
    notes: list[str] = []


def read_result(path: Path) -> BenchResult:
    """A saved result. Raises UsageError, in one line, for a file that is none."""
    try:
        data = read_small(path, _MOST_BYTES)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    try:
        found = msgspec.json.decode(data, type=_Heading)
        if found.format != FORMAT:
            raise UsageError(f"{path} is not a result of phitui bench", "Save one with: phitui bench -o FILE")
        if found.version != VERSION:
            raise UsageError(f"{path} has version {found.version}, this phitui reads {VERSION}", "Run the bench again")
        return msgspec.json.decode(data, type=BenchResult)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error)[:200].split())
        raise UsageError(
            f"{path} is not a result of phitui bench: {reason}", "Save one with: phitui bench -o FILE"
        ) from error


class _Heading(msgspec.Struct):
    format: str = ""
    version: int = 0


def encode(result: object) -> bytes:
    """One object on one line."""
    return msgspec.json.encode(result) + b"\n"


def write_result(path: Path, result: BenchResult) -> None:
    """Save it, whole or not at all. Raises PhituiError."""
    try:
        replace_file(path, msgspec.json.format(encode(result), indent=2).rstrip() + b"\n")
    except OSError as error:
        raise PhituiError(f"{path}: cannot be written: {error.strerror}") from error
