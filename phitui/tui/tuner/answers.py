"""The answers of a tuning in words, in a column as wide as there is room."""

from __future__ import annotations

import textwrap

from phitui.autotune.memory import FittedMemory
from phitui.autotune.steptime import StepTime
from phitui.tui.charts.cells import ACCENT, BAD, MUTED, NOTHING, PLAIN, VALUE, Row, fit, name
from phitui.tui.tuner.probe_table import short
from phitui.workbench.tune.events import TuneResult
from phitui.workbench.tune.run_state import LocalRunState

_LABEL = 8
_GB = 1e9


def answer_rows(run_state: LocalRunState | None, width: int, with_tables: bool = True) -> list[Row]:
    """The answer, or what is known on the way to it."""
    if run_state is None:
        return said("", "No tuning yet. s begins one: the batch sizes for your lengths, in a handful of probes.", width)
    if run_state.result is None:
        return _on_the_way(run_state, width)
    return [*_result(run_state.result, width), *([[], *tables(run_state.result)] if with_tables else [])]


def tables(result: TuneResult | None) -> list[Row]:
    """What holds for other lengths, by the fits, and what other configurations brought."""
    return [] if result is None else [*_lengths(result), [], *_trials(result)]


def in_a_line(result: TuneResult) -> str:
    """The answer where there is one row for it."""
    answer = result.answer
    slo = "" if answer.b_slo is None else f" · B_slo {answer.b_slo}"
    speed = f"{answer.tokens_per_s:.0f} output tok/s"
    return f"B* {rows_of(answer.b_best)}: {speed} · B_max {answer.b_max}{slo} · {short(result.setup)}"


def rows_of(count: int) -> str:
    """E.g. "1 row"."""
    return f"{count} row{'s' * (count != 1)}"


def cut(rows: list[Row], width: int, height: int) -> list[Row]:
    """Exactly `height` rows of `width` cells of them; where some have no room, the last one says so."""
    if len(rows) > height > 0:
        rows = [*rows[: height - 1], [(" …", MUTED)]]
    rows = [fit(row, width) for row in rows[:height]]
    return [*rows, *[fit([], width)] * (height - len(rows))]


def _on_the_way(run_state: LocalRunState, width: int) -> list[Row]:
    limit = f"{run_state.limit_bytes / _GB:.3f} GB" if run_state.limit_bytes else NOTHING
    slo = run_state.form.goal.slo_itl_s
    rows = said("Limit", limit, width)
    if slo is not None:
        rows += said("B_slo", f"for {slo * 1000:g} ms a token", width)
    fits = run_state.fit
    if fits is not None:
        rows += said("Fits", _fits(fits.memory, fits.steps), width)
    if run_state.state == "failed":
        rows += said("Failed", run_state.error, width, BAD)
    elif run_state.state == "cancelled":
        rows += said("", "Cancelled before there was an answer.", width)
    return rows


def _result(result: TuneResult, width: int) -> list[Row]:
    answer = result.answer
    return [
        *said("B*", f"{rows_of(answer.b_best)}: {answer.tokens_per_s:.0f} output tok/s", width, ACCENT),
        *said("B_max", f"{rows_of(answer.b_max)} in {answer.limit_bytes / _GB:.3f} GB", width),
        *said("B_slo", _slo(result), width),
        *said("KV", f"{answer.kv_token_budget:,} tokens at once", width),
        *said("Setup", str(result.setup), width),
        *said("Fits", _fits(answer.memory, answer.steps), width),
        *said("Why", answer.why, width),
    ]


def _slo(result: TuneResult) -> str:
    asked = result.goal.slo_itl_s
    if asked is None:
        return f"{NOTHING} no latency was asked for"
    if result.answer.b_slo is None:
        return f"{NOTHING} no batch keeps {asked * 1000:g} ms"
    return f"{rows_of(result.answer.b_slo)} at {asked * 1000:g} ms"


def _fits(memory: FittedMemory, steps: StepTime | None) -> str:
    """How far the fits are from what was measured: the worst of the memory, the root mean square of the steps."""
    errors = (memory.error, steps.error if steps is not None else None)
    texts = [NOTHING if error is None else f"{100 * error:.1f} %" for error in errors]
    return f"memory {texts[0]}, steps {texts[1]}"


def _lengths(result: TuneResult) -> list[Row]:
    rows: list[Row] = [[(f" {'tokens':>7} {'B_max':>6} {'B*':>5} {'out tok/s':>9} by fit", MUTED)]]
    for each in result.answer.table:
        figures = f" {each.total_tokens:>7,} {each.b_max:>6} {each.b_best:>5} {each.tokens_per_s:>9.0f}"
        rows.append([(figures, PLAIN)])
    return rows


def _trials(result: TuneResult) -> list[Row]:
    rows: list[Row] = [[(f" {'setup':<20} {'rows':>4} {'out tok/s':>10}", MUTED)]]
    for trial in result.trials:
        speed, batch = trial.best
        role = VALUE if trial.setup == result.setup else PLAIN
        if batch:
            rows.append([(f" {short(trial.setup):<20} {batch:>4} {speed:>10.0f}", role)])
        else:
            rows.append([(f" {short(trial.setup):<20} {NOTHING:>4} {name(trial.problem, 60) or NOTHING}", MUTED)])
    return rows


def said(label: str, text: str, width: int, role: str = VALUE) -> list[Row]:
    """A line, or more of them, with its name before it."""
    lines = textwrap.wrap(name(text, 600), max(width - _LABEL - 1, 12)) or [""]
    return [
        [(f" {label if number == 0 else '':<{_LABEL - 1}}", MUTED), (line, role)] for number, line in enumerate(lines)
    ]
