"""A bench's result, and a comparison of two, as Markdown."""

from __future__ import annotations

from phitui.cli.markdown import table
from phitui.cli.output import headed
from phitui.core.text import counted, one_line
from phitui.workbench.bench.compare import METRICS, WORTH, Comparison, Difference
from phitui.workbench.bench.result import BatchResult, BenchResult, JoulesPerToken, Percentiles

# Short, so that 80 columns do.
_RATES = ("rows", "output/s", "decode/s", "MBU", "engine", "J/tok", "net", "GiB", "runs")
_LEGEND = (
    "output/s, decode/s: output tokens per second with the prefill and without, medians of the runs; MBU: weights and "
    "KV cache read in a decode step over the memory's peak, engine: with 3 × the KV cache; J/tok: per output token, "
    "net: without the idle power; GiB: the most memory that the engine used. Percentiles are nearest ranks of N values."
)
NOT_HERE = "times are measured at this end, tokens counted by the server"
_LATENCIES = ("rows", "ms", "mean", "p50", "p90", "p95", "p99", "N")


def report(result: BenchResult) -> str:
    """What ran where, throughput, latencies, and why figures are missing."""
    lines = [*_heading(result), "", *headed(table([_RATES, *(_rates(one) for one in result.results)], left=0)), ""]
    rows = [row for one in result.results for row in _latencies(one)]
    if rows:
        lines += [*headed(table([_LATENCIES, *rows], left=2)), ""]
    lines += [f"- {one_line(note, 300)}" for note in _notes(result)]
    lines += ["", _LEGEND]
    return "\n".join(lines).rstrip() + "\n"


def _heading(result: BenchResult) -> list[str]:
    device, setup, work, around = result.device, result.config, result.workload, result.conditions
    threads = f" × {counted(setup.threads, 'thread')}" if setup.threads else ""
    versions = ", ".join(f"{name} {number}" for name, number in sorted(result.versions.items()))
    driver = f", driver {device.driver}" if device.driver else ""
    peak = f"{device.peak_gb_s:.4g} GB/s ({device.peak_source})" if device.peak_gb_s else f"– ({device.peak_source})"
    cut = "; interrupted" if result.interrupted else ""
    remote = device.kind == "remote"
    weights = "as the server has it" if remote else f"stored as {result.model.quantization}, "
    weights += "" if remote else f"weights {result.model.sha256[:12]}"
    where = f"server: {device.name}; {NOT_HERE}" if remote else f"device: {device.name}, {device.cpus} CPUs{driver}"
    ran = "" if remote else f"{counted(setup.workers, 'worker')}{threads}, {setup.compute_type}; "
    lines = (
        f"phitui bench, {result.date}{cut}",
        f"model: {result.model.name}, {weights}",
        where if remote else f"{where}; memory peak {peak}",
        f"engine: {ran}{versions}",
        f"workload: {work.prompt_tokens} prompt tokens, {work.max_tokens} new tokens, {work.repeat} runs each",
        f"load average: {_number(around.load1_begin)} at the start, {_number(around.load1_end)} at the end",
    )
    return [f"- {one_line(line, 300)}" for line in lines]


def _rates(one: BatchResult) -> tuple[str, ...]:
    traffic, energy = one.bandwidth, one.joules_per_token
    mark = "≈" if energy.rough else ""
    return (
        str(one.batch),
        _number(one.output_tokens_per_s),
        _number(one.decode_tokens_per_s),
        _percent(traffic.mbu_useful),
        _percent(traffic.mbu_engine),
        mark + _number(energy.gross) if energy.gross is not None else "–",
        mark + _number(energy.net) if energy.net is not None else "–",
        "–" if one.peak_memory_bytes is None else f"{one.peak_memory_bytes / 2**30:.3f}",
        str(len(one.runs)),
    )


def _latencies(one: BatchResult) -> list[tuple[str, ...]]:
    figures = (("TTFT", one.ttft_ms), ("TPOT", one.tpot_ms), ("ITL", one.itl_ms))
    return [(str(one.batch), name, *_spread(found)) for name, found in figures if found is not None]


def _spread(found: Percentiles) -> tuple[str, ...]:
    figures = (found.mean, found.p50, found.p90, found.p95, found.p99)
    return (*map(_number, figures), str(found.n))


def _notes(result: BenchResult) -> list[str]:
    """Reasons, each once with the batch sizes that it is for."""
    said: dict[str, list[str]] = {}
    for one in result.results:
        reasons = []
        if one.outcome != "ok":
            reasons.append(f"{one.outcome}: {one.detail}")
        if one.runs:
            reasons += [
                f"{name}: {why}" for name, why in (("MBU", one.bandwidth.reason), _energy(one.joules_per_token)) if why
            ]
            reasons += ["TPOT, ITL: an answer of one token has none"] if one.tpot_ms is None else []
        for reason in reasons:
            said.setdefault(reason, []).append(str(one.batch))
    return [*result.notes, *(f"{reason} ({', '.join(batches)} rows)" for reason, batches in said.items())]


def _energy(found: JoulesPerToken) -> tuple[str, str]:
    rough = "≈ marks runs shorter than 5 s" if found.rough else ""
    return "J/token", "; ".join(filter(None, (found.reason, rough)))


def comparison(found: Comparison) -> str:
    """Old and new side by side, with the rule below."""
    heading = ("rows", "figure", "old", "new", "ratio", "95 % CI", "N", "verdict")
    rows = [heading, *(_difference(one) for one in found.differences)]
    lines = [f"- warning: {one_line(warning, 300)}" for warning in found.warnings]
    lines += [*([""] if lines else []), *headed(table(rows, left=2)), ""]
    lines.append(
        "Old and new are geometric means over N runs each, the ratio is new / old. Better or worse: the 95 % "
        "confidence interval of the ratio (Welch's t, of logarithms) does not contain 1, and the ratio is "
        f"{WORTH:.0%} or more away from it; else it is noise. Unknown: fewer than two runs."
    )
    return "\n".join(lines) + "\n"


def _difference(one: Difference) -> tuple[str, ...]:
    return (
        str(one.batch),
        METRICS[one.metric][0],
        _number(one.old),
        _number(one.new),
        f"{one.ratio:.3f}",
        _interval(one.low, one.high),
        f"{one.n_old}, {one.n_new}",
        one.verdict,
    )


def _interval(low: float | None, high: float | None) -> str:
    """Of two runs it can be as wide as one likes: then its ends are only named."""
    if low is None or high is None:
        return "–"
    return f"{low:.3g}–{high:.3g}" if low >= 0.1 and high < 10 else "very wide"


def _number(value: float | None) -> str:
    """Four significant digits or more, without an exponent."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}" if value >= 0.001 or value == 0 else f"{value:.6f}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
