"""The probes of a server's tuning as a table."""

from __future__ import annotations

from phitui.autotune.server_search import ServerVerdict
from phitui.tui.charts.cells import ACCENT, BAD, MUTED, NOTHING, PLAIN, VALUE, WARN, Row
from phitui.tui.charts.table import Cells, Column, Scroll, table_rows
from phitui.tui.tuner.probe_table import figure
from phitui.workbench.tune.run_state import ServerRunState

ROLES = {"ok": PLAIN, "waiting": WARN, "kv": WARN, "failed": BAD}

COLUMNS = (
    Column("#", 2),
    Column("at once", 7),
    Column("pred/s", 6),
    Column("tok/s", 6),
    Column("step ms", 7),
    Column("p95 ms", 6),
    Column("TTFT ms", 7),
    Column("wait", 4),
    Column("KV", 4),
    Column("result", 7, right=False),
    Column("for", 0, right=False),
)


def server_rows(run_state: ServerRunState, scroll: Scroll, width: int, height: int) -> list[Row]:
    """Heads and probes in exactly `width` × `height` cells; the one that runs is the last."""
    lines = [_probe(number, verdict) for number, verdict in enumerate(run_state.probes, 1)]
    if run_state.running is not None:
        probe = run_state.running.probe
        cells = [str(run_state.running.number), str(probe.concurrency), _rate(probe.predicted_rate)]
        lines.append([(text, ACCENT) for text in (*cells, "…", "…", "…", "…", "…", "…", "runs", probe.why)])
    return table_rows(COLUMNS, lines, scroll, width, height)


def _probe(number: int, verdict: ServerVerdict) -> Cells:
    probe, outcome = verdict.probe, verdict.outcome
    return [
        (str(number), MUTED),
        (str(probe.concurrency), VALUE),
        (_rate(probe.predicted_rate), PLAIN),
        (_rate(outcome.rate if outcome.kind == "ok" else None), VALUE),
        (_ms(outcome.step_s), PLAIN),
        (_ms(outcome.gap_p95_s), PLAIN),
        (_ms(outcome.ttft_s), PLAIN),
        (NOTHING if outcome.waiting is None else str(outcome.waiting), PLAIN),
        (NOTHING if outcome.kv_use is None else f"{outcome.kv_use:.0%}", PLAIN),
        (verdict.judged, ROLES.get(verdict.judged, BAD)),
        (outcome.detail or probe.why, MUTED),
    ]


def _rate(value: float | None) -> str:
    return NOTHING if value is None else figure(value)


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    return f"{1000 * seconds:.1f}" if seconds < 10 else f"{1000 * seconds:.0f}"
