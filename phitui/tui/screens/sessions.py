"""The sessions: every chat that was kept, searched while one types."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, Input, Static

from phitui.config.layers import shown_path
from phitui.core.errors import PhituiError
from phitui.core.tasks import Tasks
from phitui.core.text import one_line
from phitui.storage.sessions.session_types import TITLE_CHARS, KeptTurn
from phitui.tui.terminal.display import displayable
from phitui.tui.widgets.dialogs import Ask
from phitui.tui.widgets.key_footer import KeyFooter
from phitui.tui.widgets.session_list import SearchField, SessionTable
from phitui.tui.widgets.session_preview import preview
from phitui.tui.widgets.single_dismiss import LeftOnce
from phitui.workbench.chat.session_library import Found, SessionLibrary

HELP = "Enter resumes · / searches all turns · d deletes, u brings back"


class SessionsScreen(LeftOnce[None]):
    """Opened on top of the console, which goes on below it. `resume` takes a session and a turn or None; `emptied` is
    called when the session of the chat was deleted."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 - Textual reads it so

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f6", "back", "Back", key_display="esc", id="sessions.back"),
        Binding("slash", "search", "Search", key_display="/", id="sessions.search"),
        Binding("r", "rename", "Rename", id="sessions.rename"),
        Binding("d,delete", "delete", "Delete", key_display="d", id="sessions.delete"),
        Binding("u", "undo", "Undo", id="sessions.undo"),
        Binding("e", "export", "Export", id="sessions.export"),
        Binding("i", "bring_in", "Import", id="sessions.import"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="sessions.page_up", priority=True),
        Binding("pagedown", "page(1)", "Page down", show=False, id="sessions.page_down", priority=True),
    ]

    DEFAULT_CSS = """
    SessionsScreen {
        SearchField { height: 1; border: none; padding: 0 1; background: $surface; }
        SearchField:focus { border: none; background: $panel; }
        #shelf { height: 1fr; layout: horizontal; }
        SessionTable {
            height: 1fr; width: 1fr; background: $background; scrollbar-size: 0 1;
            scrollbar-background: $background;
        }
        #preview {
            height: 1fr; width: 46%; padding: 0 1; border-left: vkey $panel; scrollbar-size-vertical: 1;
            scrollbar-background: $background;
        }
        #said { padding: 0 1; }
        &.-narrow {
            #shelf { layout: vertical; }
            #preview { width: 1fr; height: 45%; border-left: none; border-top: hkey $panel; }
        }
    }
    """

    def __init__(
        self, library: SessionLibrary, resume: Callable[[int, int | None], Awaitable[None]], emptied: Callable[[], None]
    ) -> None:
        super().__init__()
        self._library = library
        self._resume = resume
        self._emptied = emptied
        self._found: list[Found] = []
        self._shown_for: Found | None = None
        self._tasks = Tasks()

    def compose(self) -> ComposeResult:
        yield Static("", id="head", markup=False)
        yield SearchField(placeholder="/ searches titles, prompts and answers", max_length=200, id="wanted")
        with Horizontal(id="shelf"):
            yield SessionTable(cursor_type="row", zebra_stripes=False, cell_padding=1)
            with VerticalScroll(id="preview", can_focus=False):
                yield Static("", id="preview-text", markup=False)
        yield Static(HELP, id="said", markup=False)
        yield KeyFooter(show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(SessionTable).focus()
        self._find()

    def on_unmount(self) -> None:
        for task in self._tasks:
            task.cancel()

    def on_resize(self) -> None:
        if self._found:
            self._show_rows()

    def _find(self, keep: int | None = None) -> None:
        self._do(self._look(self.query_one(SearchField).value, keep))

    async def _look(self, wanted: str, keep: int | None) -> None:
        """Fill the table with what is there, or what is found; the cursor goes to the session `keep`."""
        found, count = await self._library.find(wanted)
        if not self._is_there or self.query_one(SearchField).value != wanted:
            return
        chosen = self._chosen()
        keep = keep if keep is not None else chosen.row.id if chosen and not wanted else None
        self._found = found
        head = f"Sessions · {len(found):,} of {count:,}" if len(found) != count else f"Sessions · {count:,}"
        self.query_one("#head", Static).update(Content(head + (" found" if wanted.strip() else "")))
        self._show_rows(keep)

    def _show_rows(self, keep: int | None = None) -> None:
        table = self.query_one(SessionTable)
        width = self.size.width * (100 if "-narrow" in self.classes else 54) // 100
        table.fill(self._found, self._library.session, width)
        place = next((i for i, found in enumerate(self._found) if found.row.id == keep), 0)
        table.move_cursor(row=place, animate=False)
        self._shown_for = None
        self._show_chosen()

    @on(DataTable.RowHighlighted)
    def _show_chosen(self) -> None:
        chosen = self._chosen()
        if chosen is None:
            empty = "Nothing is found." if self.query_one(SearchField).value.strip() else "No chat has been kept yet."
            self._shown_for = None
            self.query_one("#preview-text", Static).update(Content(empty))
        elif chosen is not self._shown_for:
            self._shown_for = chosen
            self._do(self._show_preview(chosen))

    async def _show_preview(self, found: Found) -> None:
        turns: list[KeptTurn] = await self._library.preview(found)
        if self._is_there and self._shown_for is found:
            width = max(self.query_one("#preview").scrollable_content_region.width, 20)
            text = preview(found, turns, self.query_one(SearchField).value, width)
            self.query_one("#preview-text", Static).update(text)
            self.query_one("#preview").scroll_home(animate=False)

    def _chosen(self) -> Found | None:
        place = self.query_one(SessionTable).cursor_row
        return self._found[place] if 0 <= place < len(self._found) else None

    @on(Input.Changed)
    def _typed(self) -> None:
        self._find()

    @on(Input.Submitted)
    @on(DataTable.RowSelected)
    def _resume_chosen(self) -> None:
        chosen = self._chosen()
        if chosen is not None:
            self._do(self._resume_and_leave(chosen))

    async def _resume_and_leave(self, found: Found) -> None:
        if found.row.id != self._library.session or found.turns:
            await self._resume(found.row.id, found.turns[0] if found.turns else None)
        self.dismiss()

    def action_back(self) -> None:
        """Out of the search first."""
        field = self.query_one(SearchField)
        if field.value:
            field.value = ""
            self.query_one(SessionTable).focus()
        elif field.has_focus:
            self.query_one(SessionTable).focus()
        else:
            self.dismiss()

    def action_search(self) -> None:
        self.query_one(SearchField).focus()

    def action_to_table(self) -> None:
        self.query_one(SessionTable).focus()

    def action_move(self, step: int) -> None:
        table = self.query_one(SessionTable)
        table.move_cursor(row=table.cursor_row + step, animate=False)

    def action_page(self, direction: int) -> None:
        pane = self.query_one("#preview")
        pane.scroll_relative(y=direction * pane.scrollable_content_region.height, animate=False)

    def action_rename(self) -> None:
        """Ask for another title."""
        chosen = self._chosen()
        if chosen is None:
            return
        row = chosen.row

        def decided(title: str | None) -> None:
            if title is not None:
                self._do(self._renamed(row.id, title))

        self.app.push_screen(Ask("Title of the session", displayable(row.title), TITLE_CHARS), decided)

    async def _renamed(self, session: int, title: str) -> None:
        await self._library.rename(session, title)
        self._find(session)

    def action_delete(self) -> None:
        """Delete without a question: it can be undone."""
        chosen = self._chosen()
        if chosen is not None:
            self._do(self._deleted(chosen))

    async def _deleted(self, found: Found) -> None:
        own = found.row.id == self._library.session
        await self._library.delete(found.row.id)
        if own:
            self._emptied()
        place = next((i for i, one in enumerate(self._found) if one is found), 0)
        beside = [*self._found[place + 1 :], *self._found[:place][::-1]]
        self._find(beside[0].row.id if beside else None)
        self.say(f"Deleted “{one_line(found.row.title, 50)}”. u brings it back; after a day it is removed for good.")

    def action_undo(self) -> None:
        """Bring back what was deleted last."""
        self._do(self._undone())

    async def _undone(self) -> None:
        row = await self._library.undo()
        if row is None:
            self.say("Nothing was deleted that could be brought back.")
        else:
            self._find(row.id)
            self.say(f"“{one_line(row.title, 50)}” is back.")

    def action_export(self) -> None:
        """Ask for a file's name."""
        from phitui.storage.sessions.session_transfer import file_name

        chosen = self._chosen()
        if chosen is None:
            return
        row = chosen.row

        def decided(name: str | None) -> None:
            if name is not None:
                self._do(self._exported(row.id, Path(name).expanduser()))

        question = "File to write: .json keeps all, else Markdown of the branch that is shown"
        self.app.push_screen(Ask(question, file_name(row.title), 400), decided)

    async def _exported(self, session: int, path: Path) -> None:
        await self._library.export(session, path)
        self.say(f"Written to {shown_path(path)}.")

    def action_bring_in(self) -> None:
        """Ask which file to import."""

        def decided(name: str | None) -> None:
            if name is not None:
                self._do(self._brought_in(Path(name).expanduser()))

        self.app.push_screen(Ask("JSON file of an exported session to import", "", 400), decided)

    async def _brought_in(self, path: Path) -> None:
        session = await self._library.bring_in(path)
        self._find(session)
        self.say(f"Imported {shown_path(path)}.")

    @property
    def _is_there(self) -> bool:
        """False as soon as it is left: its widgets go one by one while what was asked for still comes in."""
        return self in self.app.screen_stack

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it without waiting for it; where it cannot be done, say why."""

        async def guarded() -> None:
            try:
                await work
            except PhituiError as error:
                self.say(str(error), bad=True)

        self._tasks.start(guarded())
