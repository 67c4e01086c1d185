"""`phitui monitor --replay`: a recording on the monitor screen, at its own pace or faster."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Input

from phitui.config.layers import Config
from phitui.core.errors import PhituiError
from phitui.hardware.history import CAPACITY, History
from phitui.hardware.recording import Recording
from phitui.tui.app.base_app import BaseApp
from phitui.tui.screens.monitor import MonitorScreen
from phitui.tui.terminal.display import displayable

SPEEDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)
SEEK_S = 10.0
_SHORTEST_WAIT_S = 0.02
# How far back the graphs are filled after a seek.
_LOOK_BACK = min(CAPACITY, 900)


class ReplayApp(BaseApp):
    """Plays `recording`; processes of the past cannot be ended, so the screen has no key for it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "play", "Play, pause", id="replay.toggle", priority=True),
        Binding("left", f"seek(-{SEEK_S})", f"−{SEEK_S:g} s", id="replay.back", priority=True),
        Binding("right", f"seek({SEEK_S})", f"+{SEEK_S:g} s", id="replay.on", priority=True),
        Binding("less_than_sign,minus", "speed(-1)", "Slower", id="replay.slower", priority=True),
        Binding("greater_than_sign,plus", "speed(1)", "Faster", id="replay.faster", priority=True),
        Binding("home", "jump(0)", "Begin", show=False, id="replay.begin", priority=True),
        Binding("end", "jump(-1)", "End", show=False, id="replay.end", priority=True),
    ]

    def __init__(self, config: Config, recording: Recording, *, ascii_only: bool) -> None:
        super().__init__(config)
        self._recording = recording
        self._history = History()
        self.place = 0
        self.playing = True
        self._speed = SPEEDS.index(1.0)
        self._timer: Timer | None = None
        self.monitor = MonitorScreen(self._history, recording.path.name, readonly=True, ascii_only=ascii_only)
        self.monitor.picture.limit = config.tuner.limit

    def get_default_screen(self) -> Screen[None]:
        return self.monitor

    def prepare(self) -> None:
        self._show(0)
        self._wait()

    async def begin(self) -> None:
        if told := self._recording.told():
            self.notify(displayable(told), severity="warning", timeout=8, markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a filter is being typed its letters are not keys of the player."""
        if action in ("play", "seek", "jump", "speed") and isinstance(self.focused, Input):
            return False
        return super().check_action(action, parameters)

    @property
    def speed(self) -> float:
        """How many recorded seconds pass in one."""
        return SPEEDS[self._speed]

    def _show(self, place: int) -> None:
        """Show the snapshot at `place`; the graphs show what came before it."""
        try:
            if place == self.place + 1:
                snapshot = self._recording.snapshot(place)
                self._history.add(snapshot)
            else:
                self._history.clear()
                for before in range(max(place - _LOOK_BACK, 0), place + 1):
                    snapshot = self._recording.snapshot(before)
                    self._history.add(snapshot)
        except PhituiError as error:
            self.playing = False
            self.notify(displayable(str(error)), severity="error", markup=False)
            return
        self.place = place
        self._tell()
        self.monitor.show_snapshot(snapshot)

    def _tell(self) -> None:
        times = self._recording.times
        begun, ended = times[0], times[-1]
        state = f"▶ ×{self.speed:g}" if self.playing else "⏸"
        at = f"{_clock(times[self.place] - begun)} of {_clock(ended - begun)}"
        self.monitor.note(f"recording {state}  {at}")

    def _wait(self) -> None:
        """Until the next snapshot is due; at the end it stays."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        times = self._recording.times
        if self.playing and self.place + 1 < len(times):
            gap = (times[self.place + 1] - times[self.place]) / self.speed
            self._timer = self.set_timer(max(gap, _SHORTEST_WAIT_S), self._next)

    def _next(self) -> None:
        if self.playing and self.place + 1 < len(self._recording):
            self._show(self.place + 1)
            self._wait()

    def action_play(self) -> None:
        self.playing = not self.playing
        if self.playing and self.place + 1 == len(self._recording):
            self._show(0)
        self._tell()
        self._wait()

    def action_seek(self, seconds: float) -> None:
        """By recorded seconds; over a gap in the recording at least to the next snapshot."""
        times = self._recording.times
        wanted = bisect_right(times, times[self.place] + seconds) - 1
        if wanted == self.place:
            wanted += 1 if seconds > 0 else -1
        self._jump(wanted)

    def action_jump(self, place: int) -> None:
        self._jump(place if place >= 0 else len(self._recording) - 1)

    def _jump(self, place: int) -> None:
        self._show(min(max(place, 0), len(self._recording) - 1))
        self._wait()

    def action_speed(self, by: int) -> None:
        self._speed = min(max(self._speed + by, 0), len(SPEEDS) - 1)
        self._tell()
        self._wait()

    def system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        del screen
        return self.monitor.system_commands()


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
