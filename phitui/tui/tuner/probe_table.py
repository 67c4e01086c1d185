"""The probes of a tuning on this machine as a table."""

from __future__ import annotations

from phitui.autotune.probes import Verdict
from phitui.tui.charts.cells import ACCENT, BAD, MUTED, NOTHING, PLAIN, VALUE, WARN, Row
from phitui.tui.charts.table import Cells, Column, Scroll, table_rows
from phitui.tui.tuner.charts import rate
from phitui.workbench.tune.run_state import LocalRunState
from phitui.workbench.tune.setups import Setup

ROLES = {"ok": PLAIN, "over": WARN, "slow": WARN, "oom": BAD, "failed": BAD}
_GB = 1e9

COLUMNS = (
    Column("#", 2),
    Column("setup", 0, right=False),
    Column("rows", 4),
    Column("tokens", 9),
    Column("pred GB", 7),
    Column("real GB", 7),
    Column("error", 6),
    Column("tok/s", 6),
    Column("step ms", 7),
    Column("result", 6, right=False),
)


def short(setup: Setup) -> str:
    """E.g. "2×1 int8_float32": workers × threads of each; on CUDA there are no threads of ours."""
    threads = f"×{setup.threads}" if setup.threads else ""
    return f"{setup.workers}{threads} {setup.compute_type}"


def probe_rows(run_state: LocalRunState, scroll: Scroll, width: int, height: int) -> list[Row]:
    """Heads and probes in exactly `width` × `height` cells; the one that runs is the last."""
    lines = [_probe(number, setup, verdict) for number, (setup, verdict) in enumerate(run_state.probes, 1)]
    if run_state.running is not None:
        lines.append(_running(run_state))
    return table_rows(COLUMNS, lines, scroll, width, height)


def _probe(number: int, setup: Setup, verdict: Verdict) -> Cells:
    shape, outcome = verdict.probe.shape, verdict.outcome
    role = ROLES.get(verdict.judged, BAD)
    speed = rate(verdict)
    return [
        (str(number), MUTED),
        (short(setup), PLAIN),
        (str(shape.batch), VALUE),
        (f"{shape.prompt}+{shape.new}", PLAIN),
        (f"{verdict.predicted_bytes / _GB:.3f}", PLAIN),
        (NOTHING if outcome.peak_bytes is None else f"{outcome.peak_bytes / _GB:.3f}", PLAIN),
        (error(verdict), MUTED),
        (NOTHING if speed is None else figure(speed), VALUE),
        (NOTHING if outcome.step_s is None else f"{outcome.step_s * 1000:.1f}", PLAIN),
        (verdict.judged, role),
    ]


def _running(run_state: LocalRunState) -> Cells:
    began = run_state.running
    if began is None:
        return []
    shape = began.probe.shape
    head = [str(began.number), short(began.setup), str(shape.batch), f"{shape.prompt}+{shape.new}"]
    cells = [*head, f"{began.probe.predicted_bytes / _GB:.3f}", "…", "", "…", "…", "runs"]
    return [(text, ACCENT) for text in cells]


def error(verdict: Verdict) -> str:
    """How far the measured memory is from the predicted one, in percent of the measured."""
    peak = verdict.outcome.peak_bytes
    return NOTHING if not peak else f"{100 * (verdict.predicted_bytes / peak - 1):+.1f}%"


def figure(value: float) -> str:
    """Tokens/s in few digits."""
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"
