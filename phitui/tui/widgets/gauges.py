"""The gauge column, and the one line it folds into where the terminal is narrow."""

from __future__ import annotations

import textwrap

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Static

from phitui.engine.api import Timings
from phitui.hardware.snapshot import Snapshot
from phitui.jobs.chat import Exchange
from phitui.text import one_line
from phitui.tui.display import displayable
from phitui.tui.widgets.readings import NOTHING, Group, Reading, answer_readings, groups, missing_gpu


class Gauge(Widget):
    """One reading: label and value on a line, and below it the bar, or why there is no value."""

    DEFAULT_CSS = """
    Gauge { height: auto; margin: 0 0 1 0; }
    """

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self._reading = reading

    def show(self, reading: Reading) -> None:
        """Paint again only where something is different."""
        if reading != self._reading:
            resize = reading.reason != self._reading.reason
            self._reading = reading
            self.refresh(layout=resize)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        del container, viewport
        return 1 + len(self._reason_lines(width)) if self._reading.reason else 2

    def render(self) -> Content:
        reading, width = self._reading, self.content_size.width
        space = max(width - len(reading.label) - len(reading.value), 1)
        head = Content.assemble((reading.label, "$text-muted"), " " * space, (reading.value, "bold"))
        return Content("\n").join([head, self._below(width)])

    def _below(self, width: int) -> Content:
        reading = self._reading
        if reading.reason:
            return Content.styled("\n".join(self._reason_lines(width)), "$text-muted italic")
        if reading.fraction is None:
            return Content("")
        return bar(reading.fraction, width, f"$gauge-{reading.level}")

    def _reason_lines(self, width: int) -> list[str]:
        return textwrap.wrap(displayable(one_line(self._reading.reason, 200)), max(width, 8))


def bar(fraction: float, width: int, style: str) -> Content:
    """A bar of `width` cells filled to `fraction` in half cells; a value above full scale fills it."""
    halves = round(min(max(fraction, 0.0), 1.0) * width * 2)
    full, half = divmod(halves, 2)
    return Content.assemble(("━" * full, style), ("╸" * half, style), ("━" * (width - full - half), "$gauge-track"))


class GaugeGroup(Widget):
    """The readings of one device below its name."""

    DEFAULT_CSS = """
    GaugeGroup {
        height: auto;
        layout: vertical;
        .title { color: $primary; text-style: bold; margin: 0 0 1 0; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(self, group: Group) -> None:
        super().__init__()
        self.group = group
        self._gauges = [Gauge(reading) for reading in group.readings]

    def compose(self) -> ComposeResult:
        yield Static(Content(self.group.title), classes="title", markup=False)
        yield from self._gauges

    def show(self, group: Group) -> None:
        for gauge, reading in zip(self._gauges, group.readings, strict=True):
            gauge.show(reading)


class GaugeColumn(VerticalScroll):
    """All readings, one below the other, and what the last answer took."""

    can_focus = False

    DEFAULT_CSS = """
    GaugeColumn {
        padding: 1 2 0 1;
        border-left: vkey $panel;
        scrollbar-size-vertical: 1;
        scrollbar-background: $background;
        scrollbar-color: $panel;
        &.-dense Gauge { margin: 0; }
        &.-dense GaugeGroup { margin: 0 0 1 0; }
        #last { height: auto; margin: 0 0 1 0; }
        #last-title { color: $primary; text-style: bold; margin: 0 0 1 0; }
        #parked { color: $text-warning; margin: 0 0 1 0; height: auto; display: none; }
        #no-gpu { color: $text-muted; margin: 0 0 1 0; height: auto; display: none; }
    }
    """

    def compose(self) -> ComposeResult:
        yield Static("Last answer", id="last-title", markup=False)
        yield Static(_last(None), id="last", markup=False)
        yield Static("", id="parked", markup=False)
        yield Static("", id="no-gpu", markup=False)

    def show(self, snapshot: Snapshot) -> None:
        """New readings. Widgets are kept as long as the same devices are there."""
        shown = list(self.query(GaugeGroup))
        wanted = groups(snapshot)
        if [group.title for group in wanted] == [widget.group.title for widget in shown]:
            for widget, group in zip(shown, wanted, strict=True):
                widget.show(group)
        else:
            for widget in shown:
                widget.remove()
            self.set_class(len(wanted) > 2, "-dense")  # more than one card and the host
            self.mount(*[GaugeGroup(group) for group in wanted])
        self._show_missing(missing_gpu(snapshot))

    def show_answer(self, exchange: Exchange) -> None:
        """The figures of the answer that was finished last."""
        self.query_one("#last", Static).update(_last(exchange.timings))

    def show_parked(self, place: str) -> None:
        """That the model is parked and where its weights are; "" where it is not."""
        note = self.query_one("#parked", Static)
        note.display = bool(place)
        note.update(Content(parked(place)))

    def _show_missing(self, reason: str) -> None:
        note = self.query_one("#no-gpu", Static)
        text = f"No GPU: {displayable(one_line(reason, 300))}" if reason else ""
        if str(note.content) != text:
            note.display = bool(text)
            note.update(Content(text))


def _last(timings: Timings | None) -> Content:
    return Content("\n").join(
        Content.assemble((f"{reading.label:<8}", "$text-muted"), (reading.value, "bold"))
        for reading in answer_readings(timings)
    )


def parked(place: str) -> str:
    """That the model's memory is free for others: why the gauges are low."""
    return f"Model parked ({displayable(one_line(place, 40))})" if place else ""


class GaugeLine(Static):
    """The most important readings on one line, the last answer's figures first."""

    DEFAULT_CSS = """
    GaugeLine { height: 1; padding: 0 1; background: $surface; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self) -> None:
        super().__init__("", markup=False)
        self._readings: list[Reading] = []
        self._answer: list[Reading] = []
        self._parked = ""

    def show_parked(self, place: str) -> None:
        """That the model is parked; "" where it is not."""
        if place != self._parked:
            self._parked = place
            self._paint()

    def show(self, snapshot: Snapshot) -> None:
        """New readings; what is not available is left out of the line."""
        readings = [reading for group in groups(snapshot) for reading in group.readings if reading.value != NOTHING]
        if readings != self._readings:
            self._readings = readings
            self._paint()

    def show_answer(self, exchange: Exchange) -> None:
        """The figures of the answer that was finished last."""
        self._answer = [reading for reading in answer_readings(exchange.timings) if reading.value != NOTHING]
        self._paint()

    def _paint(self) -> None:
        parts = [
            Content.assemble((f"{reading.label} ", "$text-muted"), (reading.value, "bold"))
            for reading in [*self._answer, *self._readings]
        ]
        if self._parked:
            parts.insert(0, Content.styled(parked(self._parked), "$text-warning"))
        self.update(Content("  ").join(parts), layout=False)  # one line, whatever it says
