"""The probes of a tuning as they are kept, and as a table for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from phitui.autotune.server_search import ServerVerdict
from phitui.storage.tunings import ProbeRecord, ServerProbeRecord
from phitui.workbench.tune.events import LocalEnded

Record = ProbeRecord | ServerProbeRecord

_HEADS = (
    "probe", "workers", "threads per worker", "compute type", "rows", "prompt tokens per row", "new tokens per row",
    "predicted memory (bytes)", "measured memory (bytes)", "decode step (ms)", "decode throughput (tokens/s)", "result",
    "purpose",
)  # fmt: skip
_SERVER_HEADS = (
    "probe", "requests at once", "predicted throughput (tokens/s)", "output throughput (tokens/s)",
    "mean time per token (ms)", "95th percentile of gaps (ms)", "time to first token (ms)", "waiting requests",
    "KV cache in use (%)", "result", "purpose or error",
)  # fmt: skip
# What a spreadsheet would take for the beginning of a formula.
_FORMULA = tuple("=+-@\t\r")


def record(one: LocalEnded) -> ProbeRecord:
    """What is kept of a probe on this machine."""
    (workers, threads, kind), verdict = one.of.setup, one.verdict
    shape, outcome = verdict.probe.shape, verdict.outcome
    return ProbeRecord(
        workers, threads, kind, shape.batch, shape.prompt, shape.new, verdict.predicted_bytes, outcome.peak_bytes,
        outcome.step_s, verdict.judged, verdict.probe.why,
    )  # fmt: skip


def server_record(verdict: ServerVerdict) -> ServerProbeRecord:
    """What is kept of a probe of a server; of one that failed the server's words are what it was for."""
    probe, outcome, judged = verdict
    return ServerProbeRecord(
        probe.concurrency, probe.predicted_rate, verdict.rate, outcome.step_s, outcome.gap_p95_s, outcome.ttft_s,
        outcome.waiting, outcome.kv_use, judged, outcome.detail or probe.why,
    )  # fmt: skip


def table_csv(records: Sequence[Record]) -> str:
    """A row for each probe below the heads, as RFC 4180 has it; a cell is empty where nothing was measured."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_SERVER_HEADS if records and isinstance(records[0], ServerProbeRecord) else _HEADS)
    writer.writerows((number, *_cells(one)) for number, one in enumerate(records, 1))
    return out.getvalue()


def _cells(one: Record) -> Iterable[str | int | float | None]:
    if isinstance(one, ServerProbeRecord):
        times = (_ms(one.step_s), _ms(one.gap_p95_s), _ms(one.ttft_s))
        kv_use = None if one.kv_use is None else round(100 * one.kv_use, 1)
        rates = _rounded(one.predicted_rate), _rounded(one.rate)
        return one.at_once, *rates, *times, one.waiting, kv_use, one.result, _harmless(one.why)
    setup, shape = (one.workers, one.threads or None, one.compute_type), (one.rows, one.prompt_tokens, one.new_tokens)
    memory = one.predicted_bytes, one.peak_bytes
    return *setup, *shape, *memory, _ms(one.step_s), _rounded(one.rate), one.result, _harmless(one.why)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 4)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _harmless(text: str) -> str:
    """Text of a server as a spreadsheet shows it, and never as a formula that it would compute."""
    return f"'{text}" if text.startswith(_FORMULA) else text
