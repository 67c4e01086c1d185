"""From the token times of a batch's runs to the figures of its result. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from phitui.engine.protocol.latency import Spread, decode_rate, gaps, output_rate, percentile, spread, tpot, ttft
from phitui.hardware.analysis import roofline
from phitui.hardware.analysis.energy import PerToken
from phitui.models.footprint import Footprint
from phitui.workbench.bench.result import BatchResult, BenchBandwidth, JoulesPerToken, Percentiles, RunFigures


class Run(NamedTuple):
    """One run of a batch that went well: for each row the times of its tokens in seconds since it was begun, and the
    most memory that the engine held (None: not known). Of a server the times are those of pieces of text, and `counts`
    are the rows' tokens."""

    rows: list[list[float]]
    peak_bytes: int | None = None
    counts: list[int] | None = None

    @property
    def lengths(self) -> list[int]:
        """Output tokens of each row."""
        return [len(row) for row in self.rows] if self.counts is None else self.counts

    @property
    def tokens(self) -> int:
        """Output tokens of all rows."""
        return sum(self.lengths)

    @property
    def tpots(self) -> list[float]:
        """Seconds per output token after the first, of the rows that have more than one."""
        found = (tpot(row, count) for row, count in zip(self.rows, self.lengths, strict=True))
        return [value for value in found if value is not None]


class Hardware(NamedTuple):
    """What MBU is computed with. `shares`: into how many batches, one for each worker, the rows are split; each reads
    all weights for itself. A None has its `reason`."""

    footprint: Footprint | None
    shares: int
    peak_gb_s: float | None
    reason: str = ""


def run_figures(run: Run, energy: PerToken | None) -> RunFigures:
    """The figures of one run; its latencies are means over the rows."""
    tpots, steps = run.tpots, gaps(run.rows)
    return RunFigures(
        ttft_ms=_ms(statistics.fmean(map(ttft, run.rows))),
        output_tokens_per_s=_round(output_rate(run.rows, run.tokens)),
        tpot_ms=_known(statistics.fmean(tpots) * 1000) if tpots else None,
        itl_p95_ms=_known(percentile(steps, 0.95) * 1000) if steps else None,
        decode_tokens_per_s=_known(decode_rate(run.rows, run.tokens)),
        joules_per_token=_known(energy.gross_j) if energy is not None else None,
    )


def batch_result(
    batch: int,
    runs: Sequence[Run],
    energies: Sequence[PerToken | None],
    hardware: Hardware,
    prompt_tokens: int,
    problem: tuple[str, str] | None = None,
) -> BatchResult:
    """The figures over all runs of a batch size: latencies of all rows of all runs together, medians of the rates.

    `problem` is the outcome and its reason, where it is not "ok".
    """
    outcome, detail = problem or ("ok", "")
    rows = [row for run in runs for row in run.rows]
    tpots = [value for run in runs for value in run.tpots]
    each = [run_figures(run, energy) for run, energy in zip(runs, energies, strict=True)]
    peaks = [run.peak_bytes for run in runs if run.peak_bytes is not None]
    return BatchResult(
        batch=batch,
        outcome=outcome,  # type: ignore[arg-type]
        detail=detail,
        runs=each,
        output_tokens_per_s=_median(one.output_tokens_per_s for one in each),
        decode_tokens_per_s=_median(one.decode_tokens_per_s for one in each),
        ttft_ms=_percentiles(spread([ttft(row) for row in rows])),
        tpot_ms=_percentiles(spread(tpots)),
        itl_ms=_percentiles(spread(gaps(rows))),
        bandwidth=bandwidth(batch, rows, prompt_tokens, hardware),
        joules_per_token=joules(energies, [run.tokens for run in runs]),
        peak_memory_bytes=max(peaks, default=None),
    )


def bandwidth(batch: int, rows: Sequence[list[float]], prompt_tokens: int, hardware: Hardware) -> BenchBandwidth:
    """Traffic and MBU of the decode steps. The step that makes token k of a row reads a cache of prompt + k - 1 tokens:
    prompt + n / 2 in the mean over the steps of n tokens (as in `engine.worker.step_clock`)."""
    tpots = [value for row in rows if (value := tpot(row)) is not None]
    if hardware.footprint is None:
        return BenchBandwidth(reason="this model's bytes per step are not known")
    if not tpots:
        return BenchBandwidth(reason="a decode step needs two tokens" if rows else "nothing was measured")
    length = prompt_tokens + statistics.fmean(map(len, rows)) / 2
    weights = hardware.footprint.weight_step * hardware.shares
    load = roofline.DecodeLoad(weights, hardware.footprint.kv_token, batch, length)
    steps_per_s, peak = 1 / statistics.fmean(tpots), hardware.peak_gb_s
    engine = roofline.engine_gb_s(load, steps_per_s)
    return BenchBandwidth(
        useful_gb_s=_round(roofline.useful_gb_s(load, steps_per_s)),
        engine_gb_s=_round(engine),
        mbu_useful=_round(roofline.mbu(load, steps_per_s, peak)) if peak else None,
        mbu_engine=_round(engine / peak) if peak else None,
        reason="" if peak else hardware.reason,
    )


def joules(energies: Sequence[PerToken | None], tokens: Sequence[int]) -> JoulesPerToken:
    """J per token of all runs whose energy is known, weighted by their tokens."""
    known = [(one, count) for one, count in zip(energies, tokens, strict=True) if one is not None and one.gross_j]
    if not known:
        return JoulesPerToken(reason=next((one.reason for one in energies if one is not None), "nothing was measured"))
    total = sum(count for _, count in known)
    nets = [(one.net_j, count) for one, count in known if one.net_j is not None]
    return JoulesPerToken(
        gross=_round(sum((one.gross_j or 0.0) * count for one, count in known) / total),
        net=_round(sum(net * count for net, count in nets) / total) if len(nets) == len(known) else None,
        source=known[0][0].source,
        rough=any(one.rough for one, _ in known),
        n=len(known),
        reason="" if len(nets) == len(known) else "net: no reading of the idle power, or a run took less than that",
    )


def _percentiles(found: Spread | None) -> Percentiles | None:
    if found is None:
        return None
    mean, p50, p90, p95, p99 = (_ms(value) for value in found[:5])
    return Percentiles(mean, p50, p90, p95, p99, found.n)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _round(statistics.median(known)) if known else None


def _known(value: float | None) -> float | None:
    return _round(value) if value else None


def _ms(seconds: float) -> float:
    return _round(seconds * 1000)


def _round(value: float) -> float:
    """Six significant digits: clocks and counters do not have more."""
    return float(f"{value:.6g}")
