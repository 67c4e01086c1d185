"""What the two charts show of a tuning: throughput and memory against the batch."""

from __future__ import annotations

from collections.abc import Callable

from phitui.autotune.memory import Shape
from phitui.autotune.probes import Verdict
from phitui.autotune.search import GOOD_ENOUGH
from phitui.tui.charts.cells import ACCENT, BAD, MUTED, VALUE, WARN
from phitui.tui.charts.plot import Guide, Mark, Plot
from phitui.workbench.tune.events import ProbeEnded
from phitui.workbench.tune.run_state import LocalRunState

MEASURED, OTHER, REFUSED, RUNNING = "●", "○", "×", "◆"
THROUGHPUT, MEMORY = "Decode tok/s against rows", "Memory in GB against rows"
ROOM = 1.12  # above the largest value
_FEWEST_ROWS = 8.0
_GB = 1e9


def throughput(run_state: LocalRunState) -> Plot:
    """Decode tokens/s of all rows together, as each probe has measured it, and the fit of the step time."""
    fit, deep = run_state.fit, _depth(run_state)
    curve: Callable[[float], float] | None = None
    if fit is not None and fit.steps is not None and len(_sizes(run_state)) > 1:  # of one size there is nothing to fit
        steps = fit.steps
        curve = lambda rows: _rate(rows, steps.step_s(1, deep) - steps.fixed_s, steps.fixed_s)  # noqa: E731
    marks = [_mark(run_state, number, rate(verdict) or 0.0) for number, (_, verdict) in enumerate(run_state.probes)]
    if run_state.running is not None:
        rows = run_state.running.probe.shape.batch
        marks.append(Mark(rows, curve(rows) if curve else 0.0, RUNNING, ACCENT))
    most = x_most(run_state)
    highest = max([mark.y for mark in marks] + ([curve(most)] if curve else []), default=0.0)
    return Plot(
        THROUGHPUT,
        most,
        highest * ROOM or 1.0,
        plain if highest else blank,
        curve,
        tuple(marks),
        upright=_knee(run_state, fit, deep),
    )


def memory(run_state: LocalRunState) -> Plot:
    """GB at the peak: predicted by the fit, measured, and the limit."""
    fit, shape = run_state.fit, _deepest(run_state)
    curve: Callable[[float], float] | None = None
    if fit is not None and shape is not None:
        base, each = fit.memory.peak(shape._replace(batch=0)), fit.memory.peak(shape._replace(batch=1000))
        curve = lambda rows: (base + (each - base) * rows / 1000) / _GB  # noqa: E731
    marks = [_mark(run_state, number, held(verdict) / _GB) for number, (_, verdict) in enumerate(run_state.probes)]
    if run_state.running is not None:
        probe = run_state.running.probe
        marks.append(Mark(probe.shape.batch, probe.predicted_bytes / _GB, RUNNING, ACCENT))
    limit = run_state.limit_bytes / _GB
    highest = max([mark.y for mark in marks] + [limit, curve(x_most(run_state)) if curve else 0.0])
    upright = (
        Guide(run_state.result.answer.b_max, f"B_max {run_state.result.answer.b_max}") if run_state.result else None
    )
    level = Guide(limit, f"limit {limit:.3g} GB") if limit else None
    return Plot(
        MEMORY,
        x_most(run_state),
        highest * 1.08 or 1.0,
        _decimal(highest) if highest else blank,
        curve,
        tuple(marks),
        level,
        upright,
    )


def rate(verdict: Verdict) -> float | None:
    """Tokens/s of a probe's decode steps; None where it has none."""
    step = verdict.outcome.step_s
    return verdict.probe.shape.batch / step if step else None


def held(verdict: Verdict) -> int:
    """Bytes that the probe took; of one that failed what was predicted for it."""
    peak = verdict.outcome.peak_bytes
    return verdict.predicted_bytes if peak is None else peak


def x_most(run_state: LocalRunState) -> float:
    """How far both charts reach, in rows."""
    sizes = [verdict.probe.shape.batch for _, verdict in run_state.probes]
    if run_state.running is not None:
        sizes.append(run_state.running.probe.shape.batch)
    return max([float(size) for size in sizes] + [_FEWEST_ROWS / ROOM]) * ROOM


def _rate(rows: float, row_s: float, fixed_s: float) -> float:
    step = fixed_s + rows * row_s
    return rows / step if step > 0 else 0.0


def _mark(run_state: LocalRunState, number: int, y: float) -> Mark:
    setup, verdict = run_state.probes[number]
    rows = verdict.probe.shape.batch
    if verdict.judged != "ok":
        return Mark(rows, y, REFUSED, BAD if verdict.judged in ("oom", "failed") else WARN)
    deepest = _deepest(run_state)  # whose depth the curve is for
    same = setup == run_state.setup and deepest is not None and verdict.probe.shape.total == deepest.total
    return Mark(rows, y, MEASURED, VALUE) if same else Mark(rows, y, OTHER, MUTED)


def _deepest(run_state: LocalRunState) -> Shape | None:
    """The shape of the probes of this configuration that went to full depth."""
    shapes = [verdict.probe.shape for setup, verdict in run_state.probes if setup == run_state.setup]
    return max(shapes, key=lambda shape: shape.total, default=None)


def _depth(run_state: LocalRunState) -> float:
    """Tokens in a row's cache in the middle of those probes' steps: what the fit is drawn for."""
    shape = _deepest(run_state)
    return 0.0 if shape is None else shape.total - shape.new / 2


def _knee(run_state: LocalRunState, fit: ProbeEnded | None, deep: float) -> Guide | None:
    """B*; before it is known the smallest batch that the fits have within 3 % of the best one below the limit."""
    if run_state.result is not None:
        best = run_state.result.answer.b_best
        return Guide(best, f"B* {best}")
    sizes, shape = _sizes(run_state), _deepest(run_state)
    if fit is None or fit.steps is None or shape is None or len(sizes) < 2:
        return None
    steps = fit.steps
    top = max(*sizes, fit.memory.largest(shape, fit.limit_bytes, run_state.form.goal.most))
    wanted = GOOD_ENOUGH * steps.decode_rate(top, deep)
    knee = next((size for size in range(1, top) if steps.decode_rate(size, deep) >= wanted), top)
    return Guide(knee, f"knee {knee}") if knee <= x_most(run_state) else None


def _sizes(run_state: LocalRunState) -> set[int]:
    """The batches of this configuration that ran within the limit."""
    return {one.probe.shape.batch for setup, one in run_state.probes if setup == run_state.setup and one.judged == "ok"}


def empty() -> list[Plot]:
    """Both charts before there is a tuning."""
    return [Plot(title, 100.0, 1.0, blank) for title in (THROUGHPUT, MEMORY)]


def blank(value: float) -> str:
    """Of an axis whose scale is not known yet only the 0 is said."""
    return "" if value else "0"


def plain(value: float) -> str:
    """Of an axis of round values."""
    return f"{value:g}" if value < 1000 else f"{value:,.0f}"


def _decimal(highest: float) -> Callable[[float], str]:
    digits = 0 if highest >= 20 else 1 if highest >= 2 else 2
    return lambda value: f"{value:.{digits}f}"
