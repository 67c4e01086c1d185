"""The list of sessions and the field that searches them."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Input

from phitui.core.text import one_line
from phitui.tui.keys.remap import keys_for
from phitui.tui.terminal.display import displayable
from phitui.workbench.chat.session_library import Found


class SessionTable(DataTable[Text]):
    """One row for each session."""

    # Not a priority binding of the screen: that would overtake an arrow key that came just before it.
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Resume", id="sessions.resume")]

    def fill(self, found: list[Found], present: int | None, width: int) -> None:
        """Show these, in `width` columns of the screen. `present` is the session of the chat."""
        self.clear(columns=True)
        room = max(width - 26, 16)
        for title, size in (("Title", room), ("Changed", 11), ("Turns", 6)):
            self.add_column(title, width=size)
        for row, _ in found:
            style = "bold" if row.id == present else ""
            mark = "● " if row.id == present else "  "
            self.add_row(
                Text(mark + one_line(displayable(row.title), room - 2), style),
                Text(when(row.changed), style),
                Text(f"{row.turns:,}", style, justify="right"),
            )

    async def _on_key(self, event: events.Key) -> None:
        """What is typed right after the key that begins the search is for the search: a binding would run only once
        the letters of a fast typist, or of a slow link that delivers in bursts, are here and mean something else."""
        field = self.screen.query_one(SearchField)
        if event.key in keys_for(self.screen, "sessions.search"):
            event.stop()
            event.prevent_default()
            self.screen.set_focus(field)  # at once: `focus` would come after the next letters
        elif self.screen.focused is field:
            event.stop()
            event.prevent_default()
            field.post_message(events.Key(event.key, event.character))
        else:
            await super()._on_key(event)


class SearchField(Input):
    """Its arrows move in the table below it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "screen.move(-1)", "Up", show=False, id="sessions.up"),
        Binding("down", "screen.move(1)", "Down", show=False, id="sessions.down"),
        Binding("tab", "screen.to_table", "List", id="sessions.to_list"),
    ]


def when(seconds: float) -> str:
    """A time of the past: today's as 14:05, this year's as 3 Nov, others as 2024-11-03."""
    then, now = datetime.fromtimestamp(seconds), datetime.now()
    if then.date() == now.date():
        return f"{then:%H:%M}"
    if then.year == now.year:
        return f"{then.day} {then:%b}"
    return f"{then:%Y-%m-%d}"
