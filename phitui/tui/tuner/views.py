"""What a tuning of this machine and one of a server have each of their own in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from phitui.tui.charts.cells import ACCENT, BAD, MUTED, PLAIN, VALUE, WARN, Row, apart, bar, fit, name
from phitui.tui.charts.plot import CURVE, Plot
from phitui.tui.charts.table import Scroll
from phitui.tui.tuner import charts, server_charts
from phitui.tui.tuner.answers import answer_rows, in_a_line, rows_of, tables
from phitui.tui.tuner.probe_table import probe_rows, short
from phitui.tui.tuner.server_answers import at_once, notes, server_answer_rows, server_in_a_line
from phitui.tui.tuner.server_table import server_rows
from phitui.workbench.tune.run_state import LocalRunState, RunState, ServerRunState

WIDE = 100  # from here on charts stand side by side, and the answer beside the table
_BAR = 20


class TuningView(Protocol):
    """The parts of one kind of tuning; without a course what there is to say before one. `more` is the title of what
    stands beside the answer in its own pane. Rows are cut or padded by who asks for them, but for `now`, `legend` and
    `probes`, which are as wide as they are told."""

    @property
    def more(self) -> str: ...

    def plots(self) -> list[Plot]:
        """Both charts."""

    def legend(self, ascii_only: bool, width: int) -> Row:
        """What their signs mean."""

    def now(self, width: int) -> Row:
        """What is under way."""

    def probes(self, scroll: Scroll, width: int, height: int) -> list[Row]:
        """The table of probes."""

    def answer(self, width: int, with_more: bool) -> list[Row]:
        """The answer in words."""

    def beside(self, width: int) -> list[Row]:
        """What belongs to the answer and has no room in it."""


def view_of(run_state: RunState | None, on_server: bool) -> TuningView:
    """The parts for a course; without one for the engine that would be tuned."""
    if isinstance(run_state, LocalRunState):
        return LocalView(run_state)
    return ServerView(run_state) if run_state is not None or on_server else LocalView(None)


@dataclass(frozen=True)
class LocalView:
    """A tuning of the engine on this machine."""

    run_state: LocalRunState | None
    more: str = "Lengths and setups"

    def plots(self) -> list[Plot]:
        return (
            charts.empty()
            if self.run_state is None
            else [charts.throughput(self.run_state), charts.memory(self.run_state)]
        )

    def legend(self, ascii_only: bool, width: int) -> Row:
        signs = [
            (charts.MEASURED, VALUE, "measured"), (charts.OTHER, MUTED, "other setup, length"),
            (charts.REFUSED, BAD, "over, slow, oom"), (charts.RUNNING, ACCENT, "runs now"),
        ]  # fmt: skip
        setup = self.run_state.setup if self.run_state is not None else None
        return _legend(signs, ascii_only, short(setup) if setup is not None else "", width)

    def now(self, width: int) -> Row:
        run_state = self.run_state
        if run_state is None:
            said = " s starts a tuning; the chat's engine stops meanwhile and comes back after it"
            return fit([(said, MUTED)], width)
        began = run_state.running
        if began is not None:
            shape, share = began.probe.shape, began.probe.predicted_bytes / max(began.limit_bytes, 1)
            text = f" Probe {began.number}: {rows_of(shape.batch)} × {shape.prompt:,} + {shape.new} tokens"
            left = [(text, VALUE), (f", {began.probe.why} · {short(began.setup)}", MUTED)]
            memory = f" {began.probe.predicted_bytes / 1e9:.3f} of {began.limit_bytes / 1e9:.3f} GB "
            return apart(
                left, [(" ", PLAIN), *bar([(share, CURVE)], _BAR if width >= WIDE else 8), (memory, MUTED)], width
            )
        if run_state.progress is not None:
            return fit([(" " + name(run_state.progress.text, 300), VALUE)], width)
        if run_state.result is not None:
            return fit([(" " + in_a_line(run_state.result), VALUE)], width)
        return _between(run_state, "The engine is being handed over…", width)

    def probes(self, scroll: Scroll, width: int, height: int) -> list[Row]:
        return _no_probe(width, height) if self.run_state is None else probe_rows(self.run_state, scroll, width, height)

    def answer(self, width: int, with_more: bool) -> list[Row]:
        return answer_rows(self.run_state, width, with_more)

    def beside(self, width: int) -> list[Row]:
        del width
        return tables(self.run_state.result if self.run_state else None)


@dataclass(frozen=True)
class ServerView:
    """A tuning of a server."""

    run_state: ServerRunState | None
    more: str = "To be read with it"

    def plots(self) -> list[Plot]:
        run_state = self.run_state
        return (
            server_charts.empty()
            if run_state is None
            else [server_charts.throughput(run_state), server_charts.bounds(run_state)]
        )

    def legend(self, ascii_only: bool, width: int) -> Row:
        signs = [
            (charts.MEASURED, VALUE, "measured, KV"), (server_charts.WAITING, WARN, "waiting"),
            (charts.REFUSED, BAD, "waiting, KV full, failed"), (charts.RUNNING, ACCENT, "runs now"),
        ]  # fmt: skip
        return _legend(signs, ascii_only, "", width)

    def now(self, width: int) -> Row:
        run_state = self.run_state
        if run_state is None:
            said = " s starts a tuning of the server; the chat sends it nothing meanwhile"
            return fit([(said, MUTED)], width)
        if run_state.running is not None:
            goal, probe = run_state.form.goal, run_state.running.probe
            lengths = f"{goal.prompt_tokens:,} + {goal.new_tokens:,} tokens"
            left = [(f" Probe {run_state.running.number}: {at_once(probe.concurrency)} × {lengths}", VALUE)]
            rate = probe.predicted_rate
            right = f" {rate:.0f} tok/s by the fit " if rate is not None and width >= WIDE else ""
            return apart([*left, (f", {probe.why}", MUTED)], [(right, MUTED)], width)
        if run_state.result is not None:
            return fit([(" " + server_in_a_line(run_state.result), VALUE)], width)
        return _between(run_state, "The server is asked what it is, and how long prompts have to be…", width)

    def probes(self, scroll: Scroll, width: int, height: int) -> list[Row]:
        return (
            _no_probe(width, height) if self.run_state is None else server_rows(self.run_state, scroll, width, height)
        )

    def answer(self, width: int, with_more: bool) -> list[Row]:
        return server_answer_rows(self.run_state, width, with_more)

    def beside(self, width: int) -> list[Row]:
        return notes(self.run_state, width)


def _between(run_state: RunState, before: str, width: int) -> Row:
    """Where nothing runs: `before` the first probe, between two of them, or at the end of a tuning without an
    answer."""
    done = f"{len(run_state.probes)} probes"
    if run_state.state == "running":
        return fit([(f" After {done}" if run_state.probes else f" {before}", MUTED)], width)
    return fit([(f" {run_state.state.capitalize()} after {done}", MUTED)], width)


def _no_probe(width: int, height: int) -> list[Row]:
    return [fit([("   no probe yet", MUTED)], width), *[fit([], width)] * (height - 1)][:height]


def _legend(signs: list[tuple[str, str, str]], ascii_only: bool, aside: str, width: int) -> Row:
    row: Row = []
    for sign, role, meaning in [*signs, ("." if ascii_only else "⠤⠒", CURVE, "fit")]:
        row += [(f"{sign} " if row else f" {sign} ", role), (f"{meaning}  ", MUTED)]
    if aside and width >= WIDE:
        return apart(row, [(f"{aside} ", MUTED)], width)
    return fit(row, width)
