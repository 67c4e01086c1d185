"""An earlier tuning in the place of one of this session: its probes as points, its fit, and what it found."""

from __future__ import annotations

from collections.abc import Sequence

from phitui.autotune.steptime import StepTime
from phitui.storage.tunings import ProbeRecord, ServerProbeRecord, ServerTuning, Tuning
from phitui.tui.charts.cells import MUTED, VALUE, Row, fit, name
from phitui.tui.charts.plot import Guide, Mark, Plot
from phitui.tui.charts.table import Cells, Column, Scroll, table_rows
from phitui.tui.tuner.local_view import LocalView, held, record_cells
from phitui.tui.tuner.profile_list import about, made, setup
from phitui.tui.tuner.server_view import ServerView, bound_marks, server_record_cells
from phitui.tui.tuner.view import (
    MEASURED,
    OTHER,
    REFUSED,
    Bounds,
    Curve,
    bounds_plot,
    cut,
    legend,
    reach,
    role_of,
    speed_plot,
)
from phitui.workbench.tune.profiles import KeptTuning
from phitui.workbench.tune.records import Record

_GB = 1e9
_OLD = "of this tuning only the answer was kept, not its probes"


class EarlierView:
    """The same parts as those of a `TuningView`, out of what was kept."""

    def __init__(self, kept: KeptTuning) -> None:
        self._kept = kept
        self._of = ServerView if isinstance(kept.tuning, ServerTuning) else LocalView
        self.more = self._of.more

    def plots(self) -> list[Plot]:
        """Both charts."""
        tuning = self._kept.tuning
        if isinstance(tuning, ServerTuning):
            return _server_plots(tuning, self._sizes)
        return _local_plots(tuning, self._sizes)

    @property
    def records(self) -> Sequence[Record]:
        """Its probes; none of one that was kept without them."""
        return self._kept.tuning.probes

    @property
    def _sizes(self) -> list[int]:
        """What the x axis has to reach."""
        tuning = self._kept.tuning
        if isinstance(tuning, ServerTuning):
            return [tuning.c_best, tuning.c_max, *(one.at_once for one in tuning.probes)]
        return [tuning.batch, tuning.b_max, *(one.rows for one in tuning.probes)]

    def now(self, width: int) -> Row:
        """That it is not of now."""
        holds = f"stale, {self._kept.problem}" if self._kept.problem else "it still holds"
        return fit([(" " + name(f"Earlier tuning, made {made(self._kept.tuning)}: {holds}", width - 1), MUTED)], width)

    def legend(self, ascii_only: bool, width: int) -> Row:
        """What the signs mean."""
        tuning = self._kept.tuning
        what = "" if isinstance(tuning, ServerTuning) else str(setup(tuning))
        return legend(self._of.signs, what, ascii_only, width)

    def probes(self, scroll: Scroll, width: int, height: int) -> list[Row]:
        """Heads and probes in exactly `width` × `height` cells."""
        records = self.records
        if not records:
            return cut([[(f"   {_OLD}", MUTED)]], width, height)
        lines: list[Cells] = [[(str(number), MUTED), *_cells(one)] for number, one in enumerate(records, 1)]
        return table_rows((Column("#", 2), *self._of.columns), lines, scroll, width, height)

    def says_all(self, width: int) -> bool:
        """The sentence stands with the answer."""
        del width
        return False

    def answer(self, width: int, with_more: bool = True, sentence: bool = True) -> list[Row]:
        """What it found, and under which conditions."""
        del with_more, sentence
        return about(self._kept, width)

    def more_rows(self, width: int) -> list[Row]:
        """What other lengths and configurations brought is not kept."""
        del width
        return []


def _cells(one: Record) -> Cells:
    return server_record_cells(one) if isinstance(one, ServerProbeRecord) else record_cells(one)


def _local_plots(tuning: Tuning, sizes: list[int]) -> list[Plot]:
    own = [one for one in tuning.probes if _setup_of(one) == setup(tuning)]
    deepest = max((one.prompt_tokens + one.new_tokens for one in own), default=0)
    drawn = {id(one) for one in own if one.prompt_tokens + one.new_tokens == deepest}
    marks = [_mark(one.rows, one.rate or 0.0, one.result, id(one) in drawn) for one in tuning.probes]
    taken = [_mark(one.rows, held(one) / _GB, one.result, id(one) in drawn) for one in tuning.probes]
    limit, most = tuning.limit_bytes / _GB, reach(sizes)
    new = next((one.new_tokens for one in own if id(one) in drawn), tuning.new_tokens)
    curve = _curve(tuning, (deepest or tuning.prompt_tokens + tuning.new_tokens) - new / 2)
    bounds = Bounds(taken, Guide(limit, f"limit {limit:.3g} GB"))
    return [
        speed_plot(LocalView.titles[0], most, curve, marks, Guide(tuning.batch, f"B* {tuning.batch}")),
        bounds_plot(LocalView.titles[1], most, bounds, Guide(tuning.b_max, f"B_max {tuning.b_max}")),
    ]


def _setup_of(one: ProbeRecord) -> tuple[int, int, str]:
    return one.workers, one.threads, one.compute_type


def _curve(tuning: Tuning, deep: float) -> Curve | None:
    """Tokens/s by rows with `deep` tokens cached in each; None where the fit was not kept."""
    steps = StepTime(tuning.step_fixed_s, tuning.step_row_s, tuning.step_token_s, None)
    return (lambda rows: steps.decode_rate(rows, deep)) if steps.step_s(1, deep) > 0 else None


def _mark(size: int, y: float, result: str, drawn: bool) -> Mark:
    if result != "ok":
        return Mark(size, y, REFUSED, role_of(result))
    return Mark(size, y, MEASURED, VALUE) if drawn else Mark(size, y, OTHER, MUTED)


def _server_plots(tuning: ServerTuning, sizes: list[int]) -> list[Plot]:
    marks = [_mark(one.at_once, one.rate or 0.0, one.result, drawn=True) for one in tuning.probes]
    bounds = Bounds([mark for one in tuning.probes for mark in bound_marks(one)], None, least=100.0)
    most = reach(sizes)
    return [
        speed_plot(ServerView.titles[0], most, None, marks, Guide(tuning.c_best, f"C* {tuning.c_best}")),
        bounds_plot(ServerView.titles[1], most, bounds, Guide(tuning.c_max, f"C_max {tuning.c_max}")),
    ]
