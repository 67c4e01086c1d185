"""The probes as a table that follows its end until it is scrolled."""

from __future__ import annotations

from typing import NamedTuple

from phitui.jobs.tuning_course import Course
from phitui.jobs.tuning_model import Setup
from phitui.tui.monitor.cells import ACCENT, BAD, MUTED, NOTHING, PLAIN, VALUE, WARN, Row, fit, name
from phitui.tui.tuner.charts import rate
from phitui.tuner.probes import Verdict

ROLES = {"ok": PLAIN, "over": WARN, "slow": WARN, "oom": BAD, "failed": BAD}
_GB = 1e9


class Column(NamedTuple):
    """A width of 0 takes what is left."""

    title: str
    width: int
    right: bool = True


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


class Scroll:
    """Which of more rows than fit are shown: the last ones, until somebody scrolls up."""

    def __init__(self) -> None:
        self._first: int | None = None  # None: at the end
        self._count = self._room = 0

    @property
    def at_end(self) -> bool:
        return self._first is None

    def window(self, count: int, room: int) -> range:
        """The rows to show."""
        self._count, self._room = count, room
        last = max(count - room, 0)
        if self._first is not None and self._first >= last:
            self._first = None
        first = last if self._first is None else self._first
        return range(first, min(first + room, count))

    def move(self, by: int) -> None:
        """By so many rows, down where it is above 0."""
        last = max(self._count - self._room, 0)
        first = last if self._first is None else self._first
        wanted = min(max(first + by, 0), last)
        self._first = None if wanted == last else wanted


def probe_rows(course: Course, scroll: Scroll, width: int, height: int) -> list[Row]:
    """Heads and probes in exactly `width` × `height` cells; the one that runs is the last."""
    lines = [_probe(number, setup, verdict) for number, (setup, verdict) in enumerate(course.probes, 1)]
    if course.running is not None:
        lines.append(_running(course))
    widths = _widths(width)
    room = max(height - 1, 0)
    rows = [_row([(column.title, MUTED) for column in COLUMNS], widths, width)]
    rows += [_row(lines[number], widths, width) for number in scroll.window(len(lines), room)]
    return [*rows, *[fit([], width)] * (height - len(rows))][:height]


def _widths(width: int) -> list[int]:
    gaps = len(COLUMNS)
    rest = width - gaps - sum(column.width for column in COLUMNS)
    return [column.width or max(min(rest, 22), 6) for column in COLUMNS]


def _row(cells: list[tuple[str, str]], widths: list[int], width: int) -> Row:
    row: Row = []
    for (text, role), column, size in zip(cells, COLUMNS, widths, strict=True):
        text = name(text, size)
        row.append((" " + (text.rjust(size) if column.right else text.ljust(size)), role))
    return fit(row, width)


def _probe(number: int, setup: Setup, verdict: Verdict) -> list[tuple[str, str]]:
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
        (NOTHING if speed is None else _figure(speed), VALUE),
        (NOTHING if outcome.step_s is None else f"{outcome.step_s * 1000:.1f}", PLAIN),
        (verdict.judged, role),
    ]


def _running(course: Course) -> list[tuple[str, str]]:
    began = course.running
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


def _figure(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"
