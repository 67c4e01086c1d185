"""One device: in full with its graphs, or as one row where there are many."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from phitui.hardware.analysis.memory_parts import MemoryParts
from phitui.hardware.figure_names import by_reason
from phitui.hardware.history import History, device_key
from phitui.hardware.snapshot import Device
from phitui.tui.charts.cells import (
    ACCENT,
    MUTED,
    PLAIN,
    TITLE,
    TRACK,
    VALUE,
    WARN,
    Row,
    apart,
    fit,
    length,
    name,
    outside,
)
from phitui.tui.charts.graph import Graph, axis, columns_in_a_cell, join
from phitui.tui.charts.memory_cells import Counts, cells
from phitui.tui.monitor import gauges

_GAP = " │ "
# Graphs of so many rows have their last one for the axis.
_ROWS_WITH_AXIS = 4
_MEASURE = Console(file=io.StringIO())  # wrapping text asks for one, and uses nothing of it


class DeviceBlock:
    """Keeps the graphs of one device, and how its memory was drawn, from picture to picture."""

    def __init__(self, device: Device) -> None:
        self._key = device_key(device)
        self._graphs: dict[str, Graph] = {}
        self._cells: Counts = ()

    def rows(
        self,
        device: Device,
        history: History,
        memory: MemoryParts,
        facts: Sequence[gauges.Fact],
        *,
        width: int,
        graph_rows: int,
        fact_rows: int,
        seconds: float,
        selected: bool,
        ascii_only: bool,
    ) -> list[Row]:
        """Title, gauges, graphs and as many of the `facts` as there is room for: 3 + `graph_rows` + `fact_rows` rows of
        `width`."""
        found = gauges.gauges(device, memory)
        each = (width - 2 - len(_GAP) * (len(found) - 1)) // len(found)
        sizes = [each] * (len(found) - 1)
        sizes.append(width - 2 - len(_GAP) * (len(found) - 1) - sum(sizes))
        pairs = list(zip(found, sizes, strict=True))
        rows = [title(device, width, selected)]
        rows.append(_side_by_side([gauges.head(gauge, size) for gauge, size in pairs]))
        rows.append(_side_by_side([self._bar(gauge, size) for gauge, size in pairs]))
        below = 1 if graph_rows >= _ROWS_WITH_AXIS else 0
        spans = [
            self._graph(gauge.metric).rows(history, (size, graph_rows - below), seconds, gauge.full_scale, ascii_only)
            for gauge, size in pairs
        ]
        rows += join(spans, (_GAP, TRACK)) if graph_rows else []
        if below:
            cell = seconds * columns_in_a_cell(ascii_only)
            rows.append(_side_by_side([[(axis(size, cell), MUTED)] for _, size in pairs]))
        shown = gauges.fact_rows(facts, width - 2, fact_rows)
        rows += [*shown, *([[]] * (fact_rows - len(shown)))]
        rows = [rows[0], *(fit([(" ", PLAIN), *row], width) for row in rows[1:])]
        return rows if _is_fresh(device) else [rows[0], *map(_dimmed, rows[1:])]

    def _bar(self, gauge: gauges.GraphGauge, width: int) -> Row:
        if not isinstance(gauge.parts, MemoryParts):
            return gauges.bar_row(gauge, width)
        self._cells = cells(gauge.parts, width, self._cells)
        return gauges.memory_row(gauge.parts, self._cells, width)

    def _graph(self, metric: str) -> Graph:
        if metric not in self._graphs:
            self._graphs[metric] = Graph(self._key, metric)
        return self._graphs[metric]


def _side_by_side(pieces: list[Row]) -> Row:
    row: Row = []
    for piece in pieces:
        row += [(_GAP, TRACK), *piece] if row else piece
    return row


def label(device: Device) -> str:
    """What a device is called in front of its name; slices of one card are told apart by their kind."""
    place = f"{name(device.host, 12)} " if device.host else ""
    if device.kind in ("cpu", "host"):
        return f"{place}CPU" if device.kind == "cpu" else place.strip()
    return f"{place}GPU {device.index} {name(device.mig, 20)}" if device.mig else f"{place}GPU {device.index}"


def _is_fresh(device: Device) -> bool:
    return device.stale_s is None and not device.stale_why


def _age(device: Device) -> str:
    """How old the figures are that are shown, or that there are none."""
    if device.lost or device.stale_s is None:
        return "lost"
    return f"{device.stale_s:.0f} s old"


def _dimmed(row: Row) -> Row:
    return [(text, MUTED) for text, _ in row]


def title(device: Device, width: int, selected: bool) -> Row:
    """The line above a block."""
    mark = "▶" if selected else "─"
    row: Row = [(f"{mark} ", ACCENT if selected else TRACK), (label(device), TITLE), (" ", PLAIN)]
    row += [(name(device.name, max(width - 30, 8)), VALUE), (" ", PLAIN)] if device.name else []
    if not _is_fresh(device):
        room = max(width - length(row) - len(_age(device)) - 3, 0)
        row += [(_age(device), WARN), (f": {name(device.stale_why, room)} " if room > 8 else " ", MUTED)]
    return fit([*row, ("─" * max(width - length(row), 0), TRACK)], width)


def compact(device: Device, memory: MemoryParts, width: int, selected: bool, hosts: bool = False) -> Row:
    """A device on one row: the four gauges with small bars; with room for names where there are other `hosts`."""
    mark = ("▶ ", ACCENT) if selected else ("  ", PLAIN)
    found = gauges.gauges(device, memory)
    naming = 26 if width >= 120 else 22 if hosts else 12
    room = width - 2 - naming
    each = room // len(found)
    place = f"{outside(label(device), min(max(len(label(device)), 6), naming - 1))} "
    fresh = _is_fresh(device)
    title_span = (
        name(device.name if fresh else _age(device), max(naming - len(place) - 1, 1)),
        PLAIN if fresh else WARN,
    )
    row: Row = [mark, *fit([(place, TITLE), title_span], naming)]
    for gauge in found:
        wide = each - 1
        small = gauges.bar_row(gauge, max(wide // 3, 4))
        words = gauges.head(gauge, wide - length(small) - 1)
        cells = [*words, (" ", PLAIN), *small, (" ", PLAIN)]
        row += cells if fresh else _dimmed(cells)
    return fit(row, width)


def reasons(device: Device, width: int) -> list[Row]:
    """Why figures of the device are not available, those with the same reason together, in as many rows as it takes."""
    if not device.unavailable:
        return [fit([("  every figure of this device is available", MUTED)], width)]
    rows: list[Row] = []
    for reason, metrics in by_reason(device.unavailable):
        told = f"{name(reason, 200)}: {', '.join(name(metric, 60) for metric in metrics)}"
        for number, line in enumerate(Text(told).wrap(_MEASURE, max(width - 4, 1))):
            rows.append(fit([("    " if number else "  – ", MUTED), (line.plain.rstrip(), PLAIN)], width))
    return rows


def no_gpu(reason: str, width: int) -> Row:
    """Why a machine is shown without a GPU."""
    return apart([("  No GPU: ", MUTED), (name(reason, 300), MUTED)], [], width)
