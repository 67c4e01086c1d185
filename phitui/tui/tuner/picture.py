"""The whole picture of the tuner, from the top row to the keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from phitui.jobs.tuning_course import Course
from phitui.tui.monitor.cells import (
    ACCENT,
    BAD,
    HEAD,
    KEY,
    MUTED,
    PLAIN,
    TITLE,
    TRACK,
    VALUE,
    Row,
    apart,
    bar,
    fit,
    length,
    name,
)
from phitui.tui.tuner import charts
from phitui.tui.tuner.answers import answer_rows
from phitui.tui.tuner.plot import CURVE, draw
from phitui.tui.tuner.probe_table import Scroll, probe_rows, short
from phitui.tui.tuner.profile_list import ProfileList, about

Pane = Literal["probes", "answer", "earlier"]
WIDE = 100  # from here on charts stand side by side, and the answer beside the table
_ANSWER_WIDTH = 38
_FEWEST_CHART_ROWS, _MOST_CHART_ROWS = 6, 18
_FIXED_ROWS = 4  # head, what runs, what was said, keys
_BAR = 20


@dataclass
class Picture:
    """What is shown and how. `model` is what would be tuned, `status` the state in a word or two, `said` the last line
    to the person (`bad`: something was refused)."""

    ascii_only: bool = False
    model: str = ""
    course: Course | None = None
    status: str = ""
    said: str = ""
    bad: bool = False
    pane: Pane = "earlier"
    chart: int = 0
    scroll: Scroll = field(default_factory=Scroll)
    kept: ProfileList = field(default_factory=ProfileList)

    def next_pane(self, wide: bool) -> None:
        """Show another of the tables; where the answer stands beside them there is one fewer."""
        panes: list[Pane] = ["probes", "earlier"] if wide else ["probes", "answer", "earlier"]
        place = panes.index(self.pane) if self.pane in panes else 0
        self.pane = panes[(place + 1) % len(panes)]

    def rows(self, width: int, height: int, keys: list[tuple[str, str]]) -> list[Row]:
        """The picture in `width` × `height` cells; `keys` are those of the last row with what they do."""
        body = max(height - _FIXED_ROWS, 0)
        rows = [self._head(width), self._now(width), *self._body(width, body)]
        rows += [fit([(" " + name(self.said, 500), BAD if self.bad else MUTED)], width)]
        rows = rows[: height - 1]
        return [*rows, *[fit([], width)] * (height - 1 - len(rows)), _keys(keys, width)]

    def _head(self, width: int) -> Row:
        course = self.course
        clock = f"{int(course.seconds // 60)}:{int(course.seconds % 60):02} " if course is not None else ""
        title = course.title if course is not None else self.model
        left = [(" φ ", KEY), (name(f"Tuner · {title}" if title else "Tuner", max(width - 30, 10)), HEAD)]
        return apart([*left, (" " * width, HEAD)], [(f" {self.status}  ", KEY), (clock, HEAD)], width)

    def _now(self, width: int) -> Row:
        """What is under way."""
        course = self.course
        if course is None:
            return fit(
                [(" s starts a tuning; the chat's engine stops meanwhile and comes back after it", MUTED)], width
            )
        began = course.running
        if began is not None:
            shape, share = began.probe.shape, began.probe.predicted_bytes / max(began.limit_bytes, 1)
            text = (
                f" Probe {began.number}: {shape.batch} rows × {shape.prompt:,} + {shape.new} tokens, {began.probe.why} "
            )
            memory = f" {began.probe.predicted_bytes / 1e9:.3f} of {began.limit_bytes / 1e9:.3f} GB "
            return apart(
                [(text, VALUE), (f"· {short(began.setup)}", MUTED)],
                [*bar([(share, CURVE)], _BAR if width >= WIDE else 8), (memory, MUTED)],
                width,
            )
        if course.progress is not None:
            return fit([(" " + name(course.progress.text, 300), VALUE)], width)
        if course.result is not None:
            return fit([(" " + name(course.result.answer.why, 300), VALUE)], width)
        if course.state == "running":
            return fit([(" The engine is being handed over…", MUTED)], width)
        return fit([(f" {course.state.capitalize()} after {len(course.probes)} probes", MUTED)], width)

    def _body(self, width: int, height: int) -> list[Row]:
        chart_rows = min(max((height - 1) * 9 // 20, _FEWEST_CHART_ROWS), _MOST_CHART_ROWS)
        if height - 1 - chart_rows < 4:
            return self._table(width, height)
        rows = [*self._charts(width, chart_rows), self._legend(width)]
        return [*rows, *self._table(width, height - len(rows))]

    def _charts(self, width: int, height: int) -> list[Row]:
        plots = (
            [charts.throughput(self.course), charts.memory(self.course)] if self.course is not None else charts.empty()
        )
        if width < WIDE:
            return draw(plots[self.chart], width, height, self.ascii_only)
        left = draw(plots[0], width // 2 - 1, height, self.ascii_only)
        right = draw(plots[1], width - width // 2, height, self.ascii_only)
        return [[*one, (" ", PLAIN), *other] for one, other in zip(left, right, strict=True)]

    def _legend(self, width: int) -> Row:
        fitted = ". " if self.ascii_only else "⠤⠒ "
        pairs = (
            (f" {charts.MEASURED} ", VALUE, "measured  "), (f"{charts.OTHER} ", MUTED, "other setup  "),
            (f"{charts.REFUSED} ", BAD, "over, slow, oom  "), (f"{charts.RUNNING} ", ACCENT, "runs now  "),
            (fitted, CURVE, "fit  "),
        )  # fmt: skip
        row: Row = [span for glyph, role, text in pairs for span in ((glyph, role), (text, MUTED))]
        course = self.course
        if course is not None and course.setup is not None and width >= WIDE:
            return apart(row, [(f"{short(course.setup)} ", MUTED)], width)
        return fit(row, width)

    def _table(self, width: int, height: int) -> list[Row]:
        if width < WIDE:
            return [_rule(_TITLES[self.pane], width), *self._pane(self.pane, width, height - 1)][:height]
        pane: Pane = "earlier" if self.pane == "earlier" else "probes"
        left_width = width - _ANSWER_WIDTH - 1
        left = [_rule(_TITLES[pane], left_width), *self._pane(pane, left_width, height - 1)]
        beside = about(self.kept.marked, _ANSWER_WIDTH, height - 1) if pane == "earlier" else None
        beside = beside or self._pane("answer", _ANSWER_WIDTH, height - 1)
        right = [_rule("About it" if pane == "earlier" else "Answer", _ANSWER_WIDTH), *beside]
        return [[*one, (" ", PLAIN), *other] for one, other in zip(left, right, strict=True)]

    def _pane(self, pane: Pane, width: int, height: int) -> list[Row]:
        if pane == "answer":
            return answer_rows(self.course, width, height)
        if pane == "earlier":
            return self.kept.rows(width, height)
        if self.course is None:
            return [fit([("   no probe yet", MUTED)], width), *[fit([], width)] * (height - 1)][:height]
        return probe_rows(self.course, self.scroll, width, height)


_TITLES: dict[Pane, str] = {"probes": "Probes", "answer": "Answer", "earlier": "Earlier tunings"}


def _rule(text: str, width: int) -> Row:
    row: Row = [("─ ", TRACK), (text, TITLE), (" ", PLAIN)]
    return fit([*row, ("─" * max(width - length(row), 0), TRACK)], width)


def _keys(keys: list[tuple[str, str]], width: int) -> Row:
    row: Row = []
    for key, does in keys:
        pair = [(f" {key}", KEY), (f" {does} ", HEAD)]
        if length(row) + length(pair) > width:
            break
        row += pair
    return fit(row, width, HEAD)
