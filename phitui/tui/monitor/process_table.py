"""The processes of all devices: sorted, filtered, with one of them marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from phitui.core.text import one_line
from phitui.hardware.snapshot import Device, Process
from phitui.tui.charts.cells import (
    ACCENT,
    MARKED,
    MUTED,
    NOTHING,
    PLAIN,
    TITLE,
    TRACK,
    VALUE,
    Row,
    clickable,
    fit,
    outside,
)
from phitui.tui.monitor.device_block import label

_MIB = 1024**2
_GIB = 1024**3
_WIDEST_PLACE = 16  # "GPU 0 1g.10gb", a slice of a card


class ProcessLine(NamedTuple):
    """A process on a device."""

    device: Device
    process: Process
    age_s: float | None


class ProcessColumn(NamedTuple):
    """`key` sorts by it; `wide` is from how wide a terminal on it is shown; width 0 takes what is left."""

    key: str
    title: str
    width: int
    right: bool
    wide: int
    value: Callable[[ProcessLine], Any]
    text: Callable[[ProcessLine], str | None]


def _age_text(line: ProcessLine) -> str | None:
    if line.age_s is None:
        return None
    minutes = int(line.age_s // 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60}:{minutes % 60:02} h" if minutes < 6000 else f"{minutes // 1440} d"


COLUMNS = (
    ProcessColumn(
        "g", "DEV", 6, False, 0, lambda x: (x.device.kind, x.device.index, x.device.mig), lambda x: label(x.device)
    ),
    ProcessColumn("p", "PID", 8, True, 0, lambda x: x.process.pid, lambda x: str(x.process.pid)),
    ProcessColumn("u", "USER", 10, False, 70, lambda x: x.process.user or "", lambda x: x.process.user),
    ProcessColumn("y", "TYPE", 4, False, 90, lambda x: x.process.kind, lambda x: x.process.kind),
    ProcessColumn("m", "MEMORY", 10, True, 0, lambda x: x.process.used_bytes, lambda x: _bytes(x.process.used_bytes)),
    ProcessColumn("s", "UTIL %", 6, True, 60, lambda x: x.process.util_pct, lambda x: _percent(x.process.util_pct)),
    ProcessColumn("c", "CPU %", 6, True, 76, lambda x: x.process.cpu_pct, lambda x: _percent(x.process.cpu_pct)),
    ProcessColumn("h", "HOST RAM", 10, True, 100, lambda x: x.process.rss_bytes, lambda x: _bytes(x.process.rss_bytes)),
    ProcessColumn("t", "TIME", 8, True, 90, lambda x: x.age_s, _age_text),
    ProcessColumn("n", "COMMAND", 0, False, 0, lambda x: _command(x) or "", lambda x: _command(x)),
)
_BY_KEY = {column.key: column for column in COLUMNS}


def _command(line: ProcessLine) -> str | None:
    return line.process.command or line.process.name


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:.0f}"


def _bytes(value: int | None) -> str | None:
    if value is None:
        return None
    return f"{value / _GIB:.2f} GiB" if value >= _GIB else f"{value / _MIB:.0f} MiB"


@dataclass
class ProcessPane:
    """How the table is looked at; the processes come with each picture."""

    sort_key: str = "m"
    descending: bool = True
    pattern: str = ""
    _marked: tuple[str, int] | None = None
    _lines: list[ProcessLine] = field(default_factory=list)
    _place_width: int = 0
    _first: int = 0  # of those that are shown

    def sort_by(self, key: str) -> None:
        """Sort by the column with this key; once more turns the order around."""
        if key == self.sort_key:
            self.descending = not self.descending
        else:
            self.sort_key, self.descending = key, key not in "gpuyn"  # figures begin with the largest

    def take(self, devices: list[Device], now: float) -> None:
        """The processes of a snapshot that was taken at `now`."""
        lines = [
            ProcessLine(device, process, None if process.started is None else max(now - process.started, 0.0))
            for device in devices
            for process in device.processes or ()
        ]
        own = [len(label(device)) for device in devices if not device.host]  # of others no processes are known
        self._place_width = min(max(own, default=0), _WIDEST_PLACE)
        wanted = self.pattern.casefold()
        lines = [line for line in lines if wanted in _searched(line)] if wanted else lines
        value = _BY_KEY[self.sort_key].value
        known = sorted((line for line in lines if value(line) is not None), key=lambda line: line.process.pid)
        known.sort(key=value, reverse=self.descending)
        self._lines = known + [line for line in lines if value(line) is None]

    @property
    def marked(self) -> ProcessLine | None:
        """The process that a key acts on: the one that was marked, else the first."""
        return self._lines[place] if (place := self._place()) is not None else None

    def move(self, by: int) -> None:
        """Mark another row."""
        place = self._place()
        if place is not None:
            line = self._lines[min(max(place + by, 0), len(self._lines) - 1)]
            self._marked = _identity(line)

    def mark(self, row: int) -> None:
        """Mark the process in this row of those that are shown."""
        if self._first + row < len(self._lines):
            self._marked = _identity(self._lines[self._first + row])

    def _place(self) -> int | None:
        places = (i for i, line in enumerate(self._lines) if _identity(line) == self._marked)
        return next(places, 0 if self._lines else None)

    def rows(self, devices: list[Device], size: tuple[int, int], active: bool) -> list[Row]:
        """Title, heads and processes in exactly `size` (width, height); `active` shows the mark."""
        width, height = size
        place = self._place() or 0
        room = max(height - 2, 0)
        first = self._first = min(max(place - room // 2, 0), max(len(self._lines) - room, 0))
        rows = [self._title(width), self._heads(width)]
        for number, line in enumerate(self._lines[first : first + room]):
            row = _row(line, self._columns(width), width, marked=active and first + number == place)
            rows.append(clickable(row, f"screen.mark({number})"))
        if not self._lines:
            rows.append(fit([("  " + self._why_empty(devices), MUTED)], width))
        rows += [fit([], width)] * (height - len(rows))
        return rows[:height]

    def _title(self, width: int) -> Row:
        row: Row = [("─ ", TRACK), ("Processes", TITLE), (f" {len(self._lines)} ", PLAIN)]
        if self.pattern:
            row.append((f"with {one_line(self.pattern, 40)!r} ", ACCENT))
        return fit([*row, ("─" * width, TRACK)], width)

    def _heads(self, width: int) -> Row:
        row: Row = [("  ", MUTED)]
        for column, size in self._columns(width):
            arrow = ("▼" if self.descending else "▲") if column.key == self.sort_key else ""
            head = column.title + arrow
            head = head.rjust(size) if column.right else head.ljust(size)
            row += clickable([(head + "  ", ACCENT if arrow else MUTED)], f"screen.sort({column.key!r})")
        return fit(row, width)

    def _columns(self, width: int) -> list[tuple[ProcessColumn, int]]:
        """The columns that are shown, and how wide each is."""
        shown = [column for column in COLUMNS if width >= column.wide]
        sizes = [max(column.width, self._place_width) if column.key == "g" else column.width for column in shown]
        rest = max(width - 2 - sum(size + 2 for size in sizes), 8)
        return [(column, size or rest) for column, size in zip(shown, sizes, strict=True)]

    def _why_empty(self, devices: list[Device]) -> str:
        if self.pattern:
            return f"no process with {one_line(self.pattern, 40)!r}"
        if any(device.processes is not None for device in devices):
            return "no process on a device"
        reason = next((d.unavailable["processes"] for d in devices if "processes" in d.unavailable), "not listed")
        return f"{NOTHING} {one_line(reason, 200)}"


def _identity(line: ProcessLine) -> tuple[str, int]:
    return label(line.device) + line.device.mig, line.process.pid


def _searched(line: ProcessLine) -> str:
    process = line.process
    words = (label(line.device), str(process.pid), process.user, process.name, process.command)
    return " ".join(word for word in words if word).casefold()


def _row(line: ProcessLine, columns: list[tuple[ProcessColumn, int]], width: int, marked: bool) -> Row:
    row: Row = [("▶ " if marked else "  ", MARKED if marked else PLAIN)]
    for column, size in columns:
        text = line.process.command_in(size) if column.key == "n" else column.text(line)
        cell = outside(text, size)
        if column.right:
            cell = cell.rstrip().rjust(size)
        role = MARKED if marked else VALUE if column.key in "mn" else PLAIN
        row.append((cell + "  ", role))
    return fit(row, width, MARKED if marked else PLAIN)
