"""The model screen: what is here, what could be, and switching between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from rich.style import Style
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, Static

from phitui.config.layers import shown_path
from phitui.core.errors import PhituiError
from phitui.tui.widgets.dialogs import Confirm, PullDialog, PullWish
from phitui.tui.widgets.key_footer import KeyFooter
from phitui.tui.widgets.model_facts import COLUMNS, ModelFacts, cells, fit_lines, shown
from phitui.tui.widgets.progress import ProgressLine
from phitui.tui.widgets.single_dismiss import LeftOnce
from phitui.workbench.models.fit import Room
from phitui.workbench.models.inventory import ModelRow
from phitui.workbench.models.library import ModelLibrary

HELP = "Enter loads the model and makes it the default, or downloads one that is not here · p downloads any other"


class ModelTable(DataTable[Text]):
    """One row for each model."""

    # Not a priority binding of the screen: that would overtake an arrow key that came just before it.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Switch", id="models.switch", tooltip="Load the marked model, or download it")
    ]


class ModelsScreen(LeftOnce[None]):
    """Opened on top of the console, which goes on below it."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012 - Textual reads it so

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f2", "back", "Back", id="models.back"),
        Binding("p", "pull", "Pull", id="models.pull", tooltip="Pull: download a model from the Hugging Face Hub"),
        Binding("v", "verify", "Verify", id="models.verify", tooltip="Verify: check the files of the marked model"),
        Binding("d,delete", "remove", "Remove", id="models.remove", tooltip="Remove the marked model from the disk"),
        Binding(
            "c", "cancel", "Cancel", id="models.cancel", tooltip="Cancel the download, the conversion or the check"
        ),
        Binding(
            "a",
            "automatic",
            "Automatic",
            show=False,
            id="models.automatic",
            tooltip="Model at the start: automatic, Phi-3 Mini where it is installed",
        ),
        Binding("pageup", "page(-1)", "Page up", show=False, id="models.page_up", priority=True),
        Binding("pagedown", "page(1)", "Page down", show=False, id="models.page_down", priority=True),
    ]

    DEFAULT_CSS = """
    ModelsScreen {
        #shelf { height: 1fr; layout: horizontal; }
        ModelTable {
            height: 1fr; width: 1fr; background: $background; scrollbar-size: 1 1;
            scrollbar-background: $background;
        }
        #detail {
            height: 1fr; width: 42; padding: 0 1; border-left: vkey $panel; scrollbar-size-vertical: 1;
            scrollbar-background: $background;
        }
        ProgressLine { margin: 0; padding: 0 2; }  /* a margin would take width from the others, too */
        &.-narrow {
            #shelf { layout: vertical; }
            #detail { width: 1fr; border-left: none; border-top: hkey $panel; }
        }
    }
    """

    def __init__(
        self, library: ModelLibrary, switch: Callable[[ModelRow], None], room: Callable[[], Room | None]
    ) -> None:
        """`switch` begins to switch, and raises PhituiError where that cannot be. `room` is where models run."""
        super().__init__()
        self._room = room
        self._library = library
        self._switch = switch
        self._ready = False
        self._shown: tuple[str, list[tuple[str, ...]]] = ("", [])  # in which theme

    def compose(self) -> ComposeResult:
        store = shown(shown_path(self._library.store), 200)
        yield Static(Content.assemble(("φ phitui", "bold $primary"), f"  Models · {store}"), id="head", markup=False)
        with Horizontal(id="shelf"):
            yield ModelTable(cursor_type="row")
            with VerticalScroll(id="detail", can_focus=False):
                yield ModelFacts(store)
        yield ProgressLine()
        yield Static(HELP, id="said", markup=False)
        yield KeyFooter(show_command_palette=True)

    def on_mount(self) -> None:
        self.query_one(ModelTable).add_columns(*COLUMNS)
        self._ready = True
        self.app.theme_changed_signal.subscribe(self, lambda _: self.show())
        self._library.refresh()
        self.show()

    def show(self) -> None:
        """Rows, progress or outcome may be different: paint what is."""
        if not self._ready:
            return
        self._show_rows()
        work, line = self._library.work, self.query_one(ProgressLine)
        if work.progress is not None:
            line.show(work.progress)
        else:
            line.done()
        if self._library.error:
            self.say(self._library.error, bad=True)
        elif work.outcome is not None:
            self.say(work.outcome.text, work.outcome.failed)

    def _show_rows(self) -> None:
        table = self.query_one(ModelTable)
        wanted = [cells(row) for row in self._library.rows]
        if (self.app.theme, wanted) != self._shown:
            place, self._shown = self._place(table), (self.app.theme, wanted)
            table.clear()
            faint = Style(color=Color.parse(self.app.theme_variables["text-muted"]).rich_color)
            for row, texts in zip(self._library.rows, wanted, strict=True):
                style = "bold" if row.loaded else faint if row.folder is None else ""
                table.add_row(*(Text(text, style, justify=_justify(i)) for i, text in enumerate(texts)), key=_key(row))
            table.move_cursor(row=place)
        self._show_about()

    def _place(self, table: ModelTable) -> int:
        """Where the cursor goes when the rows are new: to the row it was on, at first to the loaded one."""
        keys = [_key(row) for row in self._library.rows]
        if table.row_count:
            chosen = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
            return keys.index(chosen) if chosen in keys else min(table.cursor_row, len(keys) - 1)
        return next((i for i, row in enumerate(self._library.rows) if row.loaded), 0)

    @on(DataTable.RowHighlighted)
    def _show_about(self) -> None:
        if self.query_one(ModelFacts).show(self._chosen(), self._room()):
            self.query_one("#detail").scroll_home(animate=False)

    def _chosen(self) -> ModelRow | None:
        table = self.query_one(ModelTable)
        return self._library.rows[table.cursor_row] if 0 <= table.cursor_row < len(self._library.rows) else None

    def _try(self, deed: Callable[..., None], *args: Any) -> bool:
        """Do it, or say why it cannot be done."""
        try:
            deed(*args)
        except PhituiError as error:
            self.say(str(error), bad=True)
            return False
        return True

    def action_page(self, direction: int) -> None:
        detail = self.query_one("#detail")
        detail.scroll_relative(y=direction * detail.scrollable_content_region.height, animate=False)

    @on(DataTable.RowSelected)
    def _switch_chosen(self) -> None:
        """Have the engine load the chosen model, or ask whether to pull it."""
        row = self._chosen()
        if row is None:
            return
        if row.folder is None:
            self.action_pull()
        else:
            self._try(self._switch, row)

    def action_pull(self) -> None:
        """Ask what to pull; the chosen model, where it has a source, is proposed."""
        row = self._chosen()
        name = row.source if row is not None else ""

        def decided(wish: PullWish | None) -> None:
            if wish is not None:
                self._try(self._library.pull, *wish)

        about = []
        if row is not None and row.folder is None:
            about = [line for line in fit_lines(row, self._room()) if line[0] != "Memory"]  # below the list
        self.app.push_screen(PullDialog(shown(name, 200), about), decided)

    def action_verify(self) -> None:
        """Read all of the chosen model's files and compare them with its manifest."""
        row = self._chosen()
        if row is not None:
            self._try(self._library.verify, row)

    def action_remove(self) -> None:
        """Take the chosen model out of the store, after a question."""
        row = self._chosen()
        if row is None or not self._try(self._library.check_removal, row):
            return

        def decided(yes: bool | None) -> None:
            if yes:
                self._try(self._library.remove, row)

        what = (
            "is removed from the disk" if row.folder else "is not downloaded: what a stopped pull has left is removed"
        )
        self.app.push_screen(Confirm(f"{shown(row.name, 60)} {what}.", "remove it"), decided)

    async def action_automatic(self) -> None:
        """Have later starts choose the model themselves."""
        await self._library.keep_automatic()

    def action_cancel(self) -> None:
        """Stop the pull or the check."""
        if not self._library.work.cancel():
            self.say("Nothing is under way that could be stopped.")


def _key(row: ModelRow) -> str:
    """Tells a model of the store from one of the same name elsewhere."""
    return str(row.folder or row.name)


def _justify(column: int) -> Any:
    return "right" if COLUMNS[column] in ("Size", "Context") else "left"
