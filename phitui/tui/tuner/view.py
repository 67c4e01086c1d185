"""What the picture shows of a tuning, of whichever kind: two charts, the line above them, the table of its probes, and
its answer. What a kind has of its own is in `local_view` and `server_view`."""

from __future__ import annotations

import textwrap
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Generic, NamedTuple

from rich.cells import cell_len

from phitui.core.text import counted
from phitui.tui.charts.cells import ACCENT, BAD, MUTED, NOTHING, PLAIN, VALUE, WARN, Row, apart, fit, length, name
from phitui.tui.charts.plot import CURVE, Guide, Mark, Plot
from phitui.tui.charts.table import Cells, Column, Scroll, table_rows
from phitui.workbench.tune.events import AProbe, AVerdict, Of, ProbeBegan, ProbeEnded
from phitui.workbench.tune.headline import noise
from phitui.workbench.tune.records import Record
from phitui.workbench.tune.run_state import Result, State, TuningRun

WIDE = 100  # from here on charts stand side by side, and the answer beside the table
MEASURED, OTHER, REFUSED, RUNNING = "●", "○", "×", "◆"
_ROOM = 1.12  # above the largest value
_FEWEST = 8.0  # rows, or requests at once, that a chart reaches to
_LABEL = 8

Curve = Callable[[float], float]
Line = tuple[str, str, str]  # a label, what is said of it, and its role
Sign = tuple[str, str, str]  # a sign, its role, and what it means


class Bounds(NamedTuple):
    """The second chart: its points, its limit, its fit, where it has the probe that runs, and what it reaches to at
    least."""

    marks: list[Mark]
    limit: Guide | None
    curve: Curve | None = None
    running: float = 0.0
    least: float = 0.0


class TuningView(ABC, Generic[AProbe, AVerdict, Of, Result]):
    """The parts of the picture; without a `run` what there is to say before one. Rows are cut or padded by who asks for
    them, but for `now`, `legend` and `probes`, which are as wide as they are told.

    `letter` is that of the answer's sizes (B*, B_max, B_slo), `unit` what they count. `titles` are those of the charts,
    `more` that of what stands beside the answer in its own pane; `intro` stands in the charts' place before any tuning.
    """

    letter: ClassVar[str]
    unit: ClassVar[tuple[str, str]]
    titles: ClassVar[tuple[str, str]]
    more: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]]
    signs: ClassVar[tuple[Sign, ...]]
    intro: ClassVar[tuple[str, ...]]
    no_tuning: ClassVar[str]
    begins: ClassVar[str]
    before_probes: ClassVar[str]

    def __init__(self, run: TuningRun[AProbe, AVerdict, Of, Result] | None) -> None:
        self.run = run

    @classmethod
    def count(cls, size: int) -> str:
        """So many of them in words, e.g. "1 request at once"."""
        noun, after = cls.unit
        return f"{counted(size, noun)}{after}"

    @abstractmethod
    def fitted(self, run: TuningRun[AProbe, AVerdict, Of, Result]) -> tuple[Curve | None, int | None]:
        """Tokens/s by size, and the smallest size within 3 % of the best, both by the fit; None while there is none."""

    @abstractmethod
    def bounds(self, run: TuningRun[AProbe, AVerdict, Of, Result]) -> Bounds | None:
        """What bounds the size; None before anything is known of it."""

    @abstractmethod
    def cells(self, one: ProbeEnded[AVerdict, Of]) -> Cells:
        """A probe's row in the table, behind its number."""

    @abstractmethod
    def running_cells(self, began: ProbeBegan[AProbe, Of]) -> tuple[str, ...]:
        """As `cells`, of the one that runs."""

    @abstractmethod
    def work(self, began: ProbeBegan[AProbe, Of], width: int) -> tuple[str, Row]:
        """The lengths of its requests, and what is predicted for it."""

    @abstractmethod
    def on_the_way(self, run: TuningRun[AProbe, AVerdict, Of, Result]) -> list[Line]:
        """What is known before there is an answer."""

    @abstractmethod
    def found(self, run: TuningRun[AProbe, AVerdict, Of, Result], result: Result) -> list[Line]:
        """The answer in words."""

    @abstractmethod
    def beside(self, result: Result, width: int) -> list[Row]:
        """What belongs to the answer and has no room in it."""

    def drawn(self, run: TuningRun[AProbe, AVerdict, Of, Result]) -> list[ProbeEnded[AVerdict, Of]]:
        """The probes that the curves are for."""
        return run.probes

    def setup(self, run: TuningRun[AProbe, AVerdict, Of, Result]) -> str:
        """The configuration that is looked at, where there are several."""
        del run
        return ""

    @property
    @abstractmethod
    def records(self) -> Sequence[Record]:
        """The probes that are over."""

    def plots(self) -> list[Plot]:
        """Both charts; none where there is nothing to draw."""
        run = self.run
        if run is None:
            return []
        sizes = [one.verdict.probe.size for one in run.probes]
        sizes += [run.running.probe.size] if run.running is not None else []
        most = reach(sizes)
        return [self._throughput(run, most), self._bounds(run, most)]

    def mark(self, run: TuningRun[AProbe, AVerdict, Of, Result], one: ProbeEnded[AVerdict, Of], y: float) -> Mark:
        """The point of a probe at this height."""
        size, judged = one.verdict.probe.size, one.verdict.judged
        if judged != "ok":
            return Mark(size, y, REFUSED, role_of(judged))
        drawn = any(other is one for other in self.drawn(run))
        return Mark(size, y, MEASURED, VALUE) if drawn else Mark(size, y, OTHER, MUTED)

    def _throughput(self, run: TuningRun[AProbe, AVerdict, Of, Result], most: float) -> Plot:
        (curve, knee), upright = self.fitted(run), None
        marks = [self.mark(run, one, one.verdict.rate or 0.0) for one in run.probes]
        if run.running is not None:
            size = run.running.probe.size
            marks.append(Mark(size, curve(size) if curve else 0.0, RUNNING, ACCENT))
        if run.result is not None:
            best = run.result.answer.sizes[0]
            upright = Guide(best, f"{self.letter}* {best}")
        elif knee is not None and knee <= most:
            upright = Guide(knee, f"knee {knee}")
        return speed_plot(self.titles[0], most, curve, marks, upright)

    def _bounds(self, run: TuningRun[AProbe, AVerdict, Of, Result], most: float) -> Plot:
        bounds, upright = self.bounds(run), None
        if bounds is None:
            return Plot(self.titles[1], most, 1.0, _blank)
        if run.running is not None:
            bounds.marks.append(Mark(run.running.probe.size, bounds.running, RUNNING, ACCENT))
        if run.result is not None:
            largest = run.result.answer.sizes[1]
            upright = Guide(largest, f"{self.letter}_max {largest}")
        return bounds_plot(self.titles[1], most, bounds, upright)

    def legend(self, ascii_only: bool, width: int) -> Row:
        """What their signs mean."""
        if self.run is None:
            return fit([], width)
        return legend((*self.signs, (RUNNING, ACCENT, "runs now")), self.setup(self.run), ascii_only, width)

    def now(self, width: int) -> Row:
        """What is under way."""
        run = self.run
        if run is None:
            return fit([(f" {self.begins}", MUTED)], width)
        if run.running is not None:
            return self._running(run, run.running, width)
        if run.progress is not None:
            return fit([(" " + name(run.progress.text, 300), VALUE)], width)
        if run.result is not None:
            return fit([(" " + name(self.use(run.result), width - 1), VALUE)], width)
        done = counted(len(run.probes), "probe")
        if run.state == "running":
            return fit([(f" After {done}" if run.probes else f" {self.before_probes}", MUTED)], width)
        return fit([(f" {run.state.capitalize()} after {done}", MUTED)], width)

    def _running(self, run: TuningRun[AProbe, AVerdict, Of, Result], began: ProbeBegan[AProbe, Of], width: int) -> Row:
        lengths, predicted = self.work(began, width)
        purpose = " · ".join(filter(None, (began.probe.why, self.setup(run))))
        what = f" Probe {began.number}: {self.count(began.probe.size)} × {lengths} tokens"
        return apart([(what, VALUE), (f", {purpose}", MUTED)], predicted, width)

    @abstractmethod
    def use(self, result: Result) -> str:
        """The answer in a sentence."""

    def probes(self, scroll: Scroll, width: int, height: int) -> list[Row]:
        """Heads and probes in exactly `width` × `height` cells; the one that runs is the last."""
        run = self.run
        if run is None:
            return cut([[("   no probe yet", MUTED)]], width, height)
        lines: list[Cells] = [[(str(one.number), MUTED), *self.cells(one)] for one in run.probes]
        if run.running is not None:
            cells = (str(run.running.number), *self.running_cells(run.running))
            lines.append([(text, ACCENT) for text in cells])
        return table_rows((Column("#", 2), *self.columns), lines, scroll, width, height)

    def says_all(self, width: int) -> bool:
        """Whether `now` has room for the whole of the answer's sentence."""
        result = self.run.result if self.run is not None else None
        return result is not None and cell_len(self.use(result)) < width

    def answer(self, width: int, with_more: bool = True, sentence: bool = True) -> list[Row]:
        """The answer in words, or what is known on the way to it; `with_more`: and what belongs to it. Its `sentence`
        can be left out, where it stands elsewhere."""
        run = self.run
        if run is None:
            return said("", self.no_tuning, width)
        if run.result is not None:
            told = " ".join(filter(None, (self.use(run.result) if sentence else "", noise(run.result))))
            lines, more = [*([("", told, ACCENT)] if told else []), *self.found(run, run.result)], self.more_rows(width)
        else:
            lines, more = [*self.on_the_way(run), *_ended(run.state, run.error)], []
        rows = [row for label, text, role in lines for row in said(label, text, width, role)]
        return [*rows, [], *more] if with_more and more else rows

    def more_rows(self, width: int) -> list[Row]:
        """What belongs to the answer, where there is one."""
        return self.beside(self.run.result, width) if self.run is not None and self.run.result is not None else []

    def asked(self, run: TuningRun[AProbe, AVerdict, Of, Result]) -> list[Line]:
        """The latency that is to be kept, before it is known what keeps it."""
        slo = run.form.goal.slo_itl_s
        return [] if slo is None else [(f"{self.letter}_slo", f"is for {slo * 1000:g} ms a token", VALUE)]

    def slo(self, result: Result, none: str) -> Line:
        """What keeps it; `none` says that nothing does."""
        asked, found = result.goal.slo_itl_s, result.answer.sizes[2]
        if asked is None:
            text = f"{NOTHING} no latency was asked for"
        elif found is None:
            text = f"{NOTHING} {none} {asked * 1000:g} ms"
        else:
            text = f"{self.count(found)}, the most within {asked * 1000:g} ms a token"
        return f"{self.letter}_slo", text, VALUE


def _ended(state: State, error: str) -> list[Line]:
    """How a tuning without an answer has ended."""
    if state == "failed":
        return [("Failed", error, BAD)]
    return [("", "Cancelled before there was an answer.", VALUE)] if state == "cancelled" else []


def role_of(judged: str) -> str:
    """The role of how a probe was judged."""
    return PLAIN if judged == "ok" else WARN if judged in ("over", "slow", "waiting", "kv") else BAD


def said(label: str, text: str, width: int, role: str = VALUE) -> list[Row]:
    """A line, or more of them, with its name before it."""
    lines = textwrap.wrap(name(text, 600), max(width - _LABEL - 1, 12)) or [""]
    return [
        [(f" {label if number == 0 else '':<{_LABEL - 1}}", MUTED), (line, role)] for number, line in enumerate(lines)
    ]


def cut(rows: list[Row], width: int, height: int) -> list[Row]:
    """Exactly `height` rows of `width` cells of them; where some have no room, the last one says so."""
    if len(rows) > height > 0:
        rows = [*rows[: height - 1], [(" …", MUTED)]]
    rows = [fit(row, width) for row in rows[:height]]
    return [*rows, *[fit([], width)] * (height - len(rows))]


def figure(value: float | None) -> str:
    """Tokens/s in few digits."""
    return NOTHING if value is None else f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def reach(sizes: Iterable[int]) -> float:
    """What the x axis goes to."""
    return max([float(size) for size in sizes] + [_FEWEST / _ROOM]) * _ROOM


def speed_plot(title: str, most: float, curve: Curve | None, marks: list[Mark], upright: Guide | None) -> Plot:
    """The chart of throughput."""
    highest = max([mark.y for mark in marks] + ([curve(most)] if curve else []), default=0.0)
    labels = _plain if highest else _blank
    return Plot(title, most, highest * _ROOM or 1.0, labels, curve, tuple(marks), upright=upright)


def bounds_plot(title: str, most: float, bounds: Bounds, upright: Guide | None) -> Plot:
    """The chart of what bounds the size."""
    marks, limit, curve, _, least = bounds
    level = limit.at if limit is not None else 0.0
    highest = max([mark.y for mark in marks] + [least, level, curve(most) if curve else 0.0])
    labels = _decimal(highest) if highest else _blank
    return Plot(title, most, highest * 1.08 or 1.0, labels, curve, tuple(marks), limit, upright)


def legend(signs: Iterable[Sign], setup: str, ascii_only: bool, width: int) -> Row:
    """What the signs of the charts mean."""
    row: Row = []
    curve = "." if ascii_only else "⠤⠒"
    for sign, role, meaning in (*signs, (curve, CURVE, "fit")):
        row += [(f"{sign} " if row else f" {sign} ", role), (f"{meaning}  ", MUTED)]
    right = [(f"{setup} ", MUTED)]
    return apart(row, right, width) if length(row) + length(right) <= width else fit(row, width)


def _blank(value: float) -> str:
    """Of an axis whose scale is not known yet only the 0 is said."""
    return "" if value else "0"


def _plain(value: float) -> str:
    """Of an axis of round values."""
    return f"{value:g}" if value < 1000 else f"{value:,.0f}"


def _decimal(highest: float) -> Callable[[float], str]:
    digits = 0 if highest >= 20 else 1 if highest >= 2 else 2
    return lambda value: f"{value:.{digits}f}"
