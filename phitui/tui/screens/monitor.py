"""The monitor screen: all devices with their history, their processes, and hints."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import events, on, work
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.widgets import Input

from phitui.core.errors import PhituiError
from phitui.hardware.history import History
from phitui.hardware.host import end_process
from phitui.hardware.snapshot import Snapshot
from phitui.tui.charts.canvas import Canvas
from phitui.tui.charts.cells import KeyHint, Row
from phitui.tui.monitor.picture import MonitorPicture
from phitui.tui.monitor.process_table import COLUMNS
from phitui.tui.terminal.display import displayable
from phitui.tui.widgets.single_dismiss import LeftOnce

if TYPE_CHECKING:  # the engine's side is not needed where the monitor stands alone
    from phitui.workbench.telemetry.performance import DeviceView

# How long a process has to end by itself before the stronger signal is offered.
_WAIT_S = 3.0
_WHEEL_ROWS = 3


class MonitorScreen(LeftOnce[None]):
    """Shows the newest snapshot that `show_snapshot` got. `readonly` takes the key that ends processes away."""

    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape,f4", "close", "Close", key_display="q", id="monitor.close"),
        Binding("slash", "filter", "Filter", key_display="/", id="monitor.filter"),
        Binding("k", "end", "End process", id="monitor.end"),
        Binding("tab", "select(1)", "Device", key_display="tab", id="monitor.device"),
        Binding("w", "reasons", "Why –", id="monitor.reasons"),
        Binding("z", "scale", "Time scale", id="monitor.scale"),
        Binding("space", "pause", "Pause", id="monitor.pause"),
        Binding("shift+tab", "select(-1)", "Device before", show=False, id="monitor.device_before"),
        Binding("up", "move(-1)", "Process above", show=False, id="monitor.up"),
        Binding("down", "move(1)", "Process below", show=False, id="monitor.down"),
        Binding("pageup", "move(-10)", "Processes above", show=False, id="monitor.page_up"),
        Binding("pagedown", "move(10)", "Processes below", show=False, id="monitor.page_down"),
        *(
            Binding(c.key, f"sort('{c.key}')", f"Sort by {c.title}", show=False, id=f"monitor.sort_{c.key}")
            for c in COLUMNS
        ),
    ]
    DEFAULT_CSS = """
    MonitorScreen {
        Input, Input:focus { dock: bottom; height: 1; border: none; padding: 0 1; background: $panel; }
    }
    """

    def __init__(self, history: History, place: str, *, readonly: bool, ascii_only: bool) -> None:
        super().__init__()
        self.picture = MonitorPicture(history, place, ascii_only)
        self._readonly = readonly
        self._canvas = Canvas(self._rows, ascii_only)
        self._paused = False
        self._latest: tuple[Snapshot, list[DeviceView]] | None = None
        self._keys: list[KeyHint] = []

    def compose(self) -> ComposeResult:
        yield self._canvas

    def show_snapshot(self, snapshot: Snapshot, views: list[DeviceView] | None = None) -> None:
        """New readings; the history has them already. `views` is what the engine's figures add to them."""
        self._latest = (snapshot, views or [])
        if not self._paused:
            self.picture.snapshot, self.picture.views = self._latest
            self.paint()

    def paint(self) -> None:
        """Paint what has changed."""
        # Callbacks from threads know no app until the screen is attached to one.
        if self.is_attached and self.is_current and self._canvas.size.height:
            self._canvas.show()

    def _rows(self, width: int, height: int) -> list[Row]:
        return self.picture.rows(width, height, self._shown_keys())

    def note(self, text: str) -> None:
        """What is told beside the clock."""
        self.picture.note = text
        self.paint()

    def on_screen_resume(self) -> None:
        self.paint()

    def _shown_keys(self) -> list[KeyHint]:
        if not self._keys:
            active = [bound.binding for bound in self.active_bindings.values() if bound.enabled]
            shown = [binding for binding in active if binding.show]
            shown.sort(key=lambda binding: binding.id != "app.help")
            hints = [KeyHint(self.app.get_key_display(each), each.description, each.key) for each in shown]
            # A binding of several keys is there once for each of them, all with the same key to show.
            self._keys = [*{hint[:2]: hint for hint in reversed(hints)}.values()][::-1]
            palette = (each for each in active if each.id == "app.palette")
            # Whatever finds no room behind it is there.
            self._keys[4:4] = [KeyHint(self.app.get_key_display(each), "Palette", each.key) for each in palette]
            self._keys.append(KeyHint("gpum…", "Sort"))
        return self._keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        del parameters
        return not (action == "end" and self._readonly)

    def system_commands(self) -> Iterable[SystemCommand]:
        """What the palette has while this screen is shown."""
        yield SystemCommand("Filter processes", "Show those with a word in them", self.action_filter)
        if not self._readonly:
            yield SystemCommand("End process", "Send a signal to the marked process", self.action_end)
        yield SystemCommand("Reasons", "Why figures are not available", self.action_reasons)
        yield SystemCommand("Time scale", "What a column of the graphs stands for", self.action_scale)
        yield SystemCommand("Pause", "Keep the picture as it is", self.action_pause)
        for column in COLUMNS:
            yield SystemCommand(
                f"Sort by {column.title}", "Once more turns it around", lambda c=column: self._sort(c.key)
            )

    def action_close(self) -> None:
        """Back to where it was opened from; out, where it stands alone."""
        if len(self.app.screen_stack) > 1:
            self.app.pop_screen()
        else:
            self.app.exit()

    def action_select(self, by: int) -> None:
        self.picture.select(by)
        self.paint()

    def action_choose(self, number: int) -> None:
        """The device with this number, by a click on its head."""
        self.picture.selected = number
        self.paint()

    def action_mark(self, row: int) -> None:
        """The process in this row of those that are shown, by a click."""
        self.picture.table.mark(row)
        self.paint()

    def on_mouse_scroll_down(self) -> None:
        self.action_move(_WHEEL_ROWS)

    def on_mouse_scroll_up(self) -> None:
        self.action_move(-_WHEEL_ROWS)

    def action_move(self, by: int) -> None:
        self.picture.table.move(by)
        self.paint()

    def action_sort(self, key: str) -> None:
        self._sort(key)

    def _sort(self, key: str) -> None:
        self.picture.table.sort_by(key)
        self.paint()

    def action_reasons(self) -> None:
        """Show why figures of the selected device are not available, in place of the hints."""
        self.picture.show_reasons = not self.picture.show_reasons
        self.paint()

    def action_scale(self) -> None:
        seconds = self.picture.next_scale()
        self.notify(f"A column of dots is {seconds:g} s", timeout=2, markup=False)
        self.paint()

    def action_pause(self) -> None:
        """Keep the picture; what comes in meanwhile is in the history."""
        self._paused = not self._paused
        if not self._paused and self._latest is not None:
            self.picture.snapshot, self.picture.views = self._latest
        self.picture.paused = self._paused
        self.paint()

    async def action_filter(self) -> None:
        """Ask for a word; Enter keeps it, Escape takes it away."""
        if not self.query(Input):
            field = Input(
                self.picture.table.pattern, placeholder="show processes with …", id="filter", select_on_focus=False
            )
            await self.mount(field)
            field.focus()

    @on(Input.Changed)
    def _filter(self, message: Input.Changed) -> None:
        self.picture.table.pattern = message.value
        self.paint()

    @on(Input.Submitted)
    async def _filtered(self) -> None:
        await self.query(Input).remove()

    async def key_escape(self, event: events.Key) -> None:
        if self.query(Input):
            event.stop()  # the key's binding would close the monitor with it
            self.picture.table.pattern = ""
            await self.query(Input).remove()
            self.paint()

    @work(exclusive=True)
    async def action_end(self) -> None:
        """End the marked process: ask, SIGTERM, and where that does not help ask again for SIGKILL."""
        marked = self.picture.table.marked
        if marked is None:
            self.notify("There is no process to end.", severity="warning", markup=False)
            return
        try:
            target = await asyncio.to_thread(end_process.choose, marked.process)
            who = f"{target.pid} ({displayable(target.name)}, {displayable(target.user)})"
            await self._ask_and_send(target, signal.SIGTERM, f"End process {who} with SIGTERM?")
        except PhituiError as error:
            self.notify(displayable(str(error)), severity="warning", markup=False)

    async def _ask_and_send(self, target: end_process.Target, number: signal.Signals, question: str) -> None:
        from phitui.tui.widgets.dialogs import Confirm  # most never need it

        if not await self.app.push_screen_wait(Confirm(question, f"send {number.name}")):
            return
        await asyncio.to_thread(end_process.send, target, number)
        if await asyncio.to_thread(end_process.ended, target, _WAIT_S):
            self.notify(f"Process {target.pid} has ended.", timeout=3, markup=False)
        elif number is signal.SIGTERM:
            again = f"Process {target.pid} has not ended within {_WAIT_S:g} s. Kill it with SIGKILL?"
            await self._ask_and_send(target, signal.SIGKILL, again)
        else:
            self.notify(f"Process {target.pid} has not ended yet.", severity="warning", markup=False)
