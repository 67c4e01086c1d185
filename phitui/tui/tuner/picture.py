"""The whole picture of the tuner, from the top row to the keys."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from phitui.tui.charts.cells import (
    BAD,
    HEAD,
    KEY,
    MUTED,
    PLAIN,
    TITLE,
    VALUE,
    KeyHint,
    Row,
    apart,
    fit,
    key_line,
    name,
    rule,
)
from phitui.tui.charts.plot import draw
from phitui.tui.charts.table import Scroll
from phitui.tui.tuner.earlier_view import EarlierView
from phitui.tui.tuner.local_view import LocalView
from phitui.tui.tuner.profile_list import ProfileList, about, model_of
from phitui.tui.tuner.server_view import ServerView
from phitui.tui.tuner.view import WIDE, cut
from phitui.workbench.batch.progress import clock as clock_text
from phitui.workbench.tune.profiles import KeptTuning
from phitui.workbench.tune.run_state import LocalRunState, RunState

Pane = Literal["probes", "answer", "earlier"]
_ANSWER_WIDTH = 38
_WIDEST_TEXT = 100
_WHOLE_WIDTH, _WHOLE_ROWS = 120, 56
_FEWEST_CHART_ROWS, _MOST_CHART_ROWS = 6, 18
_FIXED_ROWS = 4  # head, what runs, what was said, keys


@dataclass
class TunerPicture:
    """What is shown and how. `model` is what would be tuned (`on_server`: a server's), `status` the state in a word or
    two, `said` the last line to the person (`bad`: something was refused)."""

    ascii_only: bool = False
    model: str = ""
    run_state: RunState | None = None
    status: str = ""
    said: str = ""
    bad: bool = False
    pane: Pane = "earlier"
    chart: int = 0
    answer_top: int = 0
    scroll: Scroll = field(default_factory=Scroll)
    kept: ProfileList = field(default_factory=ProfileList)
    on_server: bool = False

    @property
    def earlier(self) -> KeptTuning | None:
        """The earlier tuning that is drawn: before there is one of this session, and while they are looked at; what
        runs comes first."""
        run_state = self.run_state
        if run_state is not None and (run_state.state == "running" or self.pane != "earlier"):
            return None
        return self.kept.shown

    @property
    def view(self) -> LocalView | ServerView | EarlierView:
        """The parts for the kind of tuning that is shown; without one for the engine that would be tuned."""
        earlier = self.earlier
        if earlier is not None:
            return EarlierView(earlier)
        if isinstance(self.run_state, LocalRunState):
            return LocalView(self.run_state)
        return LocalView(None) if self.run_state is None and not self.on_server else ServerView(self.run_state)

    @property
    def drawn(self) -> bool:
        """Whether there is anything to see of a tuning."""
        return self.earlier is not None or bool(self.view.records)

    @property
    def name(self) -> str:
        """Of the model whose tuning is shown."""
        earlier = self.earlier
        if earlier is not None:
            return name(model_of(earlier.tuning), 60)
        return name(self.run_state.title if self.run_state is not None else self.model, 60)

    def whole(self) -> list[Row]:
        """All of the tuning that is shown, charts, probes and answer, in as many rows as that takes."""
        shown = replace(self, model=self.name, pane="probes", status="", said="", ascii_only=False, scroll=Scroll())
        if self.earlier is not None:
            shown.run_state = None
        height = max(_WHOLE_ROWS, _WHOLE_ROWS // 2 + 8 + len(self.view.records))
        return shown.rows(_WHOLE_WIDTH, height)[:-1]

    def next_pane(self) -> None:
        """Show another of the tables."""
        panes: list[Pane] = ["probes", "answer", "earlier"]
        self.pane = panes[(panes.index(self.pane) + 1) % len(panes)]

    def move(self, by: int) -> None:
        """Scroll the table, or mark another of the kept tunings."""
        if self.pane == "earlier":
            self.kept.move(by)
        elif self.pane == "answer":
            self.answer_top = max(self.answer_top + by, 0)
        else:
            self.scroll.move(by)

    def rows(self, width: int, height: int, keys: Sequence[KeyHint] = ()) -> list[Row]:
        """The picture in `width` × `height` cells; `keys` are those of the last row with what they do."""
        body = max(height - _FIXED_ROWS, 0)
        rows = [self._head(width), self.view.now(width), *self._body(width, body)]
        rows += [fit([(" " + name(self.said, width - 1), BAD if self.bad else MUTED)], width)]
        rows = rows[: height - 1]
        return [*rows, *[fit([], width)] * (height - 1 - len(rows)), key_line(keys, width)]

    def _head(self, width: int) -> Row:
        run_state = self.run_state
        clock = f"{int(run_state.seconds // 60)}:{int(run_state.seconds % 60):02} " if run_state is not None else ""
        title = run_state.title if run_state is not None else self.model
        left = [(" φ ", KEY), (name(f"Tuner · {title}" if title else "Tuner", max(width - 30, 10)), HEAD)]
        return apart([*left, (" " * width, HEAD)], [(f" {self._done()}{self.status}  ", KEY), (clock, HEAD)], width)

    def _done(self) -> str:
        """How many of the probes are behind us, and how long those may take that are left."""
        run = self.run_state
        if run is None or run.running is None:
            return ""
        left = "" if run.left_s is None else f" · ≤ {clock_text(run.left_s)} left"
        return f"probe {run.running.number} of ≤ {run.running.most}{left} · "

    def _body(self, width: int, height: int) -> list[Row]:
        share = 9 if width >= WIDE else 11  # of 20
        chart_rows = min(max((height - 1) * share // 20, _FEWEST_CHART_ROWS), _MOST_CHART_ROWS)
        if height - 1 - chart_rows < 4:
            return self._table(width, height)
        rows = [*self._charts(width, chart_rows), self.view.legend(self.ascii_only, width)]
        return [*rows, *self._table(width, height - len(rows))]

    def _charts(self, width: int, height: int) -> list[Row]:
        view = self.view
        plots = view.plots()
        if not plots:
            return cut(_intro(view.intro if not isinstance(view, EarlierView) else (), width, height), width, height)
        if width < WIDE:
            return draw(plots[self.chart], width, height, self.ascii_only)
        left = draw(plots[0], width // 2 - 1, height, self.ascii_only)
        right = draw(plots[1], width - width // 2, height, self.ascii_only)
        return [[*one, (" ", PLAIN), *other] for one, other in zip(left, right, strict=True)]

    def _table(self, width: int, height: int) -> list[Row]:
        if width < WIDE:
            return [rule(self._title(self.pane), width), *self._narrow(width, height - 1)][:height]
        left_width = width - _ANSWER_WIDTH - 1
        earlier = self.pane == "earlier"
        title = self.view.more if self.pane == "answer" else self._title(self.pane)
        left = [rule(title, left_width), *self._left(left_width, height - 1)]
        beside = (
            about(self.kept.marked, _ANSWER_WIDTH)
            if earlier
            else self.view.answer(_ANSWER_WIDTH, self.pane != "answer", not self.view.says_all(width))
        )
        title = "About it" if earlier else self._title("answer")
        right = [rule(title, _ANSWER_WIDTH), *cut(beside, _ANSWER_WIDTH, height - 1)]
        return [[*one, (" ", PLAIN), *other] for one, other in zip(left, right, strict=True)]

    def _left(self, width: int, height: int) -> list[Row]:
        """What stands beside the answer."""
        if self.pane == "earlier":
            return self.kept.rows(width, height)
        if self.pane == "answer":
            return self._scrolled(self.view.more_rows(width), width, height)
        return self.view.probes(self.scroll, width, height)

    def _narrow(self, width: int, height: int) -> list[Row]:
        if self.pane == "earlier":
            room = min(max(height // 2, 1), max(len(self.kept.profiles), 1) + 1)
            return [*self.kept.rows(width, room), *cut(about(self.kept.marked, width), width, height - room)]
        if self.pane == "answer":
            return self._scrolled(self.view.answer(width, True, not self.view.says_all(width)), width, height)
        return self.view.probes(self.scroll, width, height)

    def _scrolled(self, rows: list[Row], width: int, height: int) -> list[Row]:
        self.answer_top = min(self.answer_top, max(len(rows) - height, 0))
        shown = [fit(row, width) for row in rows[self.answer_top : self.answer_top + height]]
        if shown and self.answer_top + height < len(rows):
            shown[-1] = fit([(" … ↓ shows the rest", MUTED)], width)
        return [*shown, *[fit([], width)] * (height - len(shown))]

    def _title(self, pane: Pane) -> str:
        earlier = self.earlier
        if pane == "earlier":
            return "Earlier tunings"
        of = earlier.tuning if earlier is not None else self.run_state.form.goal if self.run_state is not None else None
        title = {"probes": "Probes", "answer": "Answer"}[pane]
        title = f"Earlier {title.lower()}" if earlier is not None else title
        if pane == "probes" or of is None:
            return title
        return f"{title} for {of.prompt_tokens:,} + {of.new_tokens:,} tokens"


def _intro(paragraphs: tuple[str, ...], width: int, height: int) -> list[Row]:
    """What the tuner is for, in the place of the charts; with blank rows between its paragraphs where there is room."""
    wrapped = [textwrap.wrap(text, max(min(width, _WIDEST_TEXT) - 6, 20)) for text in paragraphs]
    gap: list[Row] = [[]] if sum(map(len, wrapped)) + len(wrapped) < height else []
    rows: list[Row] = [[]]
    for number, lines in enumerate(wrapped):
        rows += [[(f"   {line}", VALUE if number else TITLE)] for line in lines] + gap
    return rows
