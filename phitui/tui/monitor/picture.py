"""The whole picture of the monitor, from the top row to the keys."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phitui.hardware.analysis.memory_parts import MemoryParts, memory_parts, others_of
from phitui.hardware.history import History, device_key
from phitui.hardware.snapshot import Device, Host, Snapshot
from phitui.tui.charts.cells import (
    HEAD,
    KEY,
    MUTED,
    NOTHING,
    PLAIN,
    TITLE,
    VALUE,
    KeyHint,
    Row,
    apart,
    clickable,
    fit,
    key_line,
    name,
    rule,
)
from phitui.tui.charts.layout import LayoutPlan, plan
from phitui.tui.monitor import device_block
from phitui.tui.monitor.device_block import DeviceBlock
from phitui.tui.monitor.gauges import Fact, engine_facts, facts, memory_facts
from phitui.tui.monitor.hints_pane import Said, device_hints, first_rows, hint_rows, hints_in, host_hints, worst_first
from phitui.tui.monitor.process_table import ProcessPane

if TYPE_CHECKING:  # the engine's side is not needed where the monitor stands alone
    from phitui.workbench.telemetry.performance import DeviceView

GIB = 1024**3
# Seconds that a column of dots stands for.
SCALES = (10.0, 20.0, 1.0, 2.0)
# Rows that were wanted are kept for so long, in seconds: what comes and goes moves nothing else on the screen.
_KEPT_S = 30.0


class _Room:
    """The most rows that were wanted in the last seconds."""

    def __init__(self) -> None:
        self._wanted: deque[tuple[float, int]] = deque()

    def most(self, now: float, count: int) -> int:
        """The most of the last seconds, with `count` that is wanted at `now`."""
        while self._wanted and not 0 <= now - self._wanted[0][0] <= _KEPT_S:  # a replay can go back in time
            self._wanted.popleft()
        while self._wanted and self._wanted[-1][1] <= count:
            self._wanted.pop()
        self._wanted.append((now, count))
        return self._wanted[0][1]


@dataclass
class MonitorPicture:
    """What is shown and how. `place` is the machine or the recording, `note` what is told beside the clock, `limit` the
    share of memory that counts as full, `engine` a remote engine's load. `views` is what the local engine's figures
    add; without one there are none."""

    history: History
    place: str
    ascii_only: bool = False
    limit: float = 0.95
    views: list[DeviceView] = field(default_factory=list)
    note: str = ""
    engine: str = ""
    paused: bool = False
    snapshot: Snapshot | None = None
    table: ProcessPane = field(default_factory=ProcessPane)
    selected: int = 0
    show_reasons: bool = False
    scale: int = 0
    _blocks: dict[str, DeviceBlock] = field(default_factory=dict)
    _hint_room: _Room = field(default_factory=_Room)
    _process_room: _Room = field(default_factory=_Room)

    def select(self, by: int) -> None:
        """Select another device."""
        count = len(self.snapshot.all_devices()) if self.snapshot else 0
        self.selected = (self.selected + by) % count if count else 0

    def next_scale(self) -> float:
        """Another time scale of the graphs; returns its seconds a column."""
        self.scale = (self.scale + 1) % len(SCALES)
        return SCALES[self.scale]

    def rows(self, width: int, height: int, keys: list[KeyHint]) -> list[Row]:
        """The picture in `width` × `height` cells; `keys` are those of the last row with what they do."""
        snapshot = self.snapshot
        if snapshot is None:
            rows = [self._head(None, width), fit([], width), fit([("  reading the hardware…", MUTED)], width)]
        else:
            rows = [self._head(snapshot, width), *self._body(snapshot, width, max(height - 2, 0))]
        rows = rows[: height - 1]
        return [*rows, *[fit([], width)] * (height - 1 - len(rows)), key_line(keys, width)]

    def _body(self, snapshot: Snapshot, width: int, height: int) -> list[Row]:
        devices = snapshot.all_devices()
        self.selected = min(self.selected, max(len(devices) - 1, 0))
        self.table.take(devices, snapshot.time)
        rows = _machine(snapshot, width)
        rows += [fit([(" engine ", TITLE), (self.engine, PLAIN)], width)] if self.engine else []
        processes = sum(len(device.processes or ()) for device in devices)
        said = self._hints(snapshot)
        why = device_block.reasons(devices[self.selected], width) if self.show_reasons and devices else []
        processes = self._process_room.most(snapshot.time, processes)
        many = len(devices) > 1
        wanted = len(why) or self._hint_room.most(snapshot.time, len(hint_rows(said, many, width)))
        parts = plan(width, height - len(rows), len(devices), processes, wanted, whole=bool(why))
        rows += self._devices(snapshot, parts, width)
        rows += self.table.rows(devices, (width, parts.process_rows), active=True)
        if why:
            rows.append(rule(f"Not available on {device_block.label(devices[self.selected])}", width))
            rows += first_rows(why, max(parts.hint_rows - 1, 0), width, " lines")
        else:
            rows.append(rule("Hints", width))
            rows += hints_in(said, many, max(parts.hint_rows - 1, 0), width)
        return rows

    def _hints(self, snapshot: Snapshot) -> Said:
        others = host_hints(snapshot, self.limit)
        if not self.views:
            return worst_first([*device_hints(snapshot, self.limit), *others])
        return worst_first([*((view.device, hint) for view in self.views for hint in view.hints), *others])

    def _view(self, device: Device) -> DeviceView | None:
        """What the engine's figures add to a device."""
        key = device_key(device)
        return next((view for view in self.views if device_key(view.device) == key), None)

    def _memory(self, device: Device) -> MemoryParts:
        view = self._view(device)
        return view.memory if view is not None else memory_parts(device.vram, None, self.limit, others_of(device))

    def _facts(self, device: Device, host: Host, memory: MemoryParts) -> list[Fact]:
        view = self._view(device)
        own = engine_facts(view) if view is not None else []
        parts, rest = memory_facts(memory, view is not None and view.engine)
        return [*own, *parts, *facts(device, host), *rest]

    def _devices(self, snapshot: Snapshot, parts: LayoutPlan, width: int) -> list[Row]:
        devices = snapshot.all_devices()
        rows: list[Row] = []
        if parts.compact:
            first = min(max(self.selected - parts.compact // 2, 0), max(len(devices) - parts.compact, 0))
            for number, device in enumerate(devices[first : first + parts.compact], first):
                memory, selected = self._memory(device), number == self.selected
                row = device_block.compact(device, memory, width, selected, bool(snapshot.hosts))
                rows.append(clickable(row, f"screen.choose({number})"))
        first = 0 if parts.full > 1 else self.selected
        many = len(devices) > 1
        for number, device in enumerate(devices[first : first + parts.full], first):
            memory = self._memory(device)
            head, *block = self._block(device).rows(
                device,
                self.history,
                memory,
                self._facts(device, snapshot.host_of(device), memory),
                width=width,
                graph_rows=parts.graph_rows,
                fact_rows=parts.fact_rows,
                seconds=SCALES[self.scale],
                selected=many and number == self.selected,
                ascii_only=self.ascii_only,
            )
            rows += [clickable(head, f"screen.choose({number})"), *block]
        return rows

    def _block(self, device: Device) -> DeviceBlock:
        key = device_key(device)
        if len(self._blocks) > 64 and key not in self._blocks:
            self._blocks.clear()
        if key not in self._blocks:
            self._blocks[key] = DeviceBlock(device)
        return self._blocks[key]

    def _head(self, snapshot: Snapshot | None, width: int) -> Row:
        clock = time.strftime("%H:%M:%S", time.localtime(snapshot.time)) if snapshot else ""
        told = "  ".join(filter(None, ("paused" if self.paused else "", self.note)))
        note = [(f"{name(told, max(width // 2, 10))}  ", KEY)] if told else []
        about = [self.place]
        if snapshot and snapshot.driver:
            about.append(f"NVIDIA driver {snapshot.driver}")
        if snapshot and snapshot.cuda:
            about.append(f"CUDA {snapshot.cuda}")
        left = [(" φ ", KEY), (name(" · ".join(about), max(width - 14, 10)), HEAD)]
        # The clock is painted each second, together with the figures: its colours are theirs.
        return apart([*left, (" " * width, HEAD)], [(" ", HEAD), *note, (f" {clock} ", VALUE)], width)


def _machine(snapshot: Snapshot, width: int) -> list[Row]:
    """The host beside its GPUs; without one, why."""
    if not any(device.kind == "gpu" for device in snapshot.devices):
        return [device_block.no_gpu(snapshot.unavailable.get("gpu", "not known"), width)]
    return [fit([(" host ", TITLE), *_host(snapshot.host)], width)]


def _host(host: Host) -> Row:
    cpu = NOTHING if host.cpu_pct is None else f"{host.cpu_pct:3.0f} %"
    used, total = host.ram_used_bytes, host.ram_total_bytes
    ram = NOTHING if used is None or not total else f"{used / GIB:.1f} / {total / GIB:.1f} GiB"
    load = NOTHING if host.load1 is None else f"{host.load1:.1f}"
    cpus = f" on {host.cpus} CPUs" if host.cpus else ""
    pairs = (("CPU ", cpu), ("   RAM ", ram), ("   load ", load + cpus))
    return [span for label, value in pairs for span in ((label, MUTED), (value, PLAIN))]
