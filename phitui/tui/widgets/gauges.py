"""The gauge column, and the one line it folds into where the terminal is narrow."""

from __future__ import annotations

import textwrap

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Static

from phitui.core.text import one_line
from phitui.engine.protocol.api import Remote, Timings
from phitui.hardware.analysis.energy import PerToken
from phitui.hardware.analysis.hints import Hint
from phitui.hardware.snapshot import Snapshot
from phitui.tui.terminal.display import displayable
from phitui.tui.widgets.memory_bar import legend, memory_bar
from phitui.tui.widgets.readings import NOTHING, GaugeReading, Group, answer_readings, missing_gpu

_LINE_BAR_CELLS = 6


def in_ascii(widget: Widget) -> bool:
    """Whether the application draws in ASCII: a bar needs a sign of its own for what is empty."""
    return bool(getattr(widget.app, "ascii_only", False))


class Gauge(Widget):
    """One reading: label and value on a line, and below it the bar and notes, or why there is no value."""

    DEFAULT_CSS = """
    Gauge { height: auto; margin: 0 0 1 0; &.compact { margin: 0; } }
    """

    def __init__(self, reading: GaugeReading, compact: bool = False) -> None:
        super().__init__(classes="compact" if compact else "")
        self._reading = reading
        self._compact = compact

    def show(self, reading: GaugeReading) -> None:
        """Paint again only where something is different."""
        if reading != self._reading:
            width = self.content_size.width
            before = len(self._below(width))
            self._reading = reading
            self.refresh(layout=len(self._below(width)) != before)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        del container, viewport
        return 1 + len(self._below(width))

    def render(self) -> Content:
        reading, width = self._reading, self.content_size.width
        space = max(width - len(reading.label) - len(reading.value), 1)
        strong = f"bold $gauge-{reading.level}" if reading.memory and reading.level != "ok" else "bold"
        head = Content.assemble((reading.label, "$text-muted"), " " * space, (reading.value, strong))
        return Content("\n").join([head, *self._below(width)])

    def _below(self, width: int) -> list[Content]:
        reading, width = self._reading, max(width, 8)
        if self._compact:
            why = Content.styled(displayable(one_line(reading.reason, 200)), "$text-muted italic")
            return [why.truncate(width, ellipsis=True)] if reading.reason else []
        if reading.reason and not reading.notes:
            return [Content.styled(line, "$text-muted italic") for line in _wrapped(reading.reason, width)]
        if reading.memory is not None:
            plain = in_ascii(self)
            drawn = memory_bar(reading.memory, width, ascii_only=plain)
            return [drawn, *legend(reading.memory, width, ascii_only=plain)]
        notes = (reading.reason, *reading.notes[1:]) if reading.reason else reading.notes
        lines = [Content.styled(line, "$text-muted italic") for note in notes for line in _wrapped(note, width)]
        if reading.fraction is None:
            return [Content(""), *lines]
        return [bar(reading.fraction, width, f"$gauge-{reading.level}", in_ascii(self)), *lines]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(displayable(one_line(text, 200)), width)


def bar(fraction: float, width: int, style: str, ascii_only: bool = False) -> Content:
    """A bar of `width` cells filled to `fraction` in half cells; a value above full scale fills it."""
    halves = round(min(max(fraction, 0.0), 1.0) * width * 2)
    full, half = divmod(halves, 2)
    done, part, left = ("=", "-", ".") if ascii_only else ("━", "╸", "━")
    return Content.assemble((done * full, style), (part * half, style), (left * (width - full - half), "$gauge-track"))


class GaugeGroup(Widget):
    """The readings of one device below its name."""

    DEFAULT_CSS = """
    GaugeGroup {
        height: auto;
        layout: vertical;
        .title { color: $primary; text-style: bold; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(self, group: Group) -> None:
        super().__init__()
        self.group = group
        self._gauges = [Gauge(reading, group.compact) for reading in group.readings]

    def compose(self) -> ComposeResult:
        yield Static(Content(self.group.title), classes="title", markup=False)
        yield from self._gauges

    def same_as(self, group: Group) -> bool:
        """Whether this widget can show it: the same device with the same readings."""
        own = [reading.label for reading in self.group.readings]
        labels = [reading.label for reading in group.readings]
        return (self.group.title, self.group.compact, own) == (group.title, group.compact, labels)

    def show(self, group: Group) -> None:
        for gauge, reading in zip(self._gauges, group.readings, strict=True):
            gauge.show(reading)


class GaugeColumn(VerticalScroll):
    """All readings, one below the other, what the last answer took, and at the bottom the most important hint."""

    can_focus = False

    DEFAULT_CSS = """
    GaugeColumn {
        padding: 1 2 0 1;
        border-left: vkey $panel;
        scrollbar-size-vertical: 1;
        scrollbar-background: $background;
        &.-dense Gauge { margin: 0; }
        &.-dense GaugeGroup { margin: 0 0 1 0; }
        #last { height: auto; margin: 0 0 1 0; }
        #last-title { color: $primary; text-style: bold; }
        #parked { color: $text-warning; margin: 0 0 1 0; height: auto; display: none; }
        #elsewhere { color: $text-muted; margin: 0 0 1 0; height: auto; display: none; }
        #no-gpu { color: $text-muted; margin: 0 0 1 0; height: auto; display: none; }
        #hint { dock: bottom; height: auto; max-height: 5; padding: 1 0 0 0; display: none; }
    }
    """

    def compose(self) -> ComposeResult:
        yield Static("Last answer", id="last-title", markup=False)
        yield Static(_last(None, None), id="last", markup=False)
        yield Static("", id="parked", markup=False)
        yield Static("", id="elsewhere", markup=False)
        yield Static("", id="no-gpu", markup=False)
        yield Static("", id="hint", markup=False)

    def show(self, snapshot: Snapshot, wanted: list[Group], hint: Hint | None) -> None:
        """New readings. Widgets are kept as long as the same devices are there."""
        shown = list(self.query(GaugeGroup))
        if len(wanted) == len(shown) and all(map(GaugeGroup.same_as, shown, wanted)):
            for widget, group in zip(shown, wanted, strict=True):
                widget.show(group)
        else:
            for widget in shown:
                widget.remove()
            self.set_class(len(wanted) > 2, "-dense")  # more than one card and the host
            self.mount(*[GaugeGroup(group) for group in wanted])
        reason = missing_gpu(snapshot)
        self._put("#no-gpu", Content(f"No GPU: {displayable(one_line(reason, 300))}" if reason else ""))
        self._put("#hint", _hint(hint))

    def show_answer(self, timings: Timings | None, energy: PerToken | None) -> None:
        """The figures of the answer that was finished last."""
        self._put("#last", _last(timings, energy))

    def show_parked(self, place: str) -> None:
        """That the model is parked and where its weights are; "" where it is not."""
        self._put("#parked", Content(parked(place)))

    def show_elsewhere(self, remote: Remote | None) -> None:
        """That the engine computes on another machine, so that no gauge here is its own; None where it does not."""
        host = "" if remote is None else displayable(one_line(remote.host, 60))
        self._put(
            "#elsewhere", Content(f"Engine's hardware: {NOTHING}, not read from {host}. This machine:" if host else "")
        )

    def _put(self, selector: str, content: Content) -> None:
        note = self.query_one(selector, Static)
        if note.content != content:
            note.display = bool(content.plain)
            note.update(content)


def _hint(hint: Hint | None) -> Content:
    if hint is None:
        return Content("")
    styles = {"bad": "$gauge-bad", "warn": "$gauge-warn", "info": "$text-muted"}
    return Content.assemble(("▸ ", styles[hint.level]), (displayable(one_line(hint.text, 200)), styles[hint.level]))


def _last(timings: Timings | None, energy: PerToken | None) -> Content:
    return Content("\n").join(
        Content.assemble((f"{reading.label:<8}", "$text-muted"), (reading.value, "bold"))
        if reading.label
        else Content.styled(displayable(one_line(reading.value, 60)), "$text-muted italic")
        for reading in answer_readings(timings, energy)
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
        self._readings: list[GaugeReading] = []
        self._answer: list[GaugeReading] = []
        self._parked = ""

    def show_parked(self, place: str) -> None:
        """That the model is parked; "" where it is not."""
        if place != self._parked:
            self._parked = place
            self._paint()

    def show(self, wanted: list[Group]) -> None:
        """New readings; what is not available is left out of the line."""
        readings = [reading for group in wanted for reading in group.readings if reading.brief]
        if readings != self._readings:
            self._readings = readings
            self._paint()

    def show_answer(self, timings: Timings | None) -> None:
        """The figures of the answer that was finished last."""
        self._answer = [one for one in answer_readings(timings) if one.brief and one.value != NOTHING]
        self._paint()

    def on_resize(self) -> None:
        self._paint()

    def _paint(self) -> None:
        """As many readings as there is room for: one that is cut would be a false one."""
        parts = [Content.styled(parked(self._parked), "$text-warning")] if self._parked else []
        room = self.content_size.width - sum(part.cell_length for part in parts)
        for part in map(self._brief, [*self._answer, *self._readings]):
            room -= part.cell_length + 2 * bool(parts)
            if room < 0:
                break
            parts.append(part)
        self.update(Content("  ").join(parts), layout=False)  # one line, whatever it says

    def _brief(self, reading: GaugeReading) -> Content:
        """The name muted, figures bold, and the memory's segments before its figures."""
        name, _, figures = reading.brief.partition(" ")
        if reading.memory is None:
            if name[0].isdigit():
                return Content.styled(reading.brief, "bold")
            return Content.assemble((f"{name} ", "$text-muted"), (figures, "bold"))
        drawn = memory_bar(reading.memory, _LINE_BAR_CELLS, ascii_only=in_ascii(self), mark=False)
        return Content.assemble((f"{name} ", "$text-muted"), drawn, " ", (figures, "bold"))
