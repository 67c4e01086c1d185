"""The batch screen: files of prompts, how far each is, and what failed."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from rich.style import Style
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, Static

from phitui.config.layers import shown_path
from phitui.core.errors import PhituiError
from phitui.core.text import one_line
from phitui.tui.terminal.display import displayable
from phitui.tui.widgets.batch_dialog import BatchDialog, BatchWish
from phitui.tui.widgets.key_footer import KeyFooter
from phitui.tui.widgets.single_dismiss import LeftOnce
from phitui.workbench.batch.progress import clock
from phitui.workbench.batch.queue import BatchEntry, BatchQueue

HELP = "a adds a file of prompts · it goes on when you leave this screen; prompts of the chat go ahead of its rows"
EMPTY = """\
No file yet. a adds one. It is either

  a .txt with a prompt on each line, or
  JSON Lines: {"id": "q1", "prompt": "What is a KV cache?", "max_tokens": 100}

The rows run together, as many at once as a tuning (F3) has found to be the fastest. \
The answers go into a file beside it, a line for each; what is done is kept, whatever happens."""
COLUMNS = ("File", "State", "Rows", "Failed", "tok/s", "Left", "In flight")
_REPAINT_S = 1.0
_REASONS = 100
_NAME_CHARS = 40


class BatchScreen(LeftOnce[None]):
    """Opened on top of the console, which goes on below it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f5", "back", "Back", key_display="esc", id="batches.back"),
        Binding("a", "add", "Add", id="batches.add"),
        Binding("c", "cancel", "Cancel", id="batches.cancel"),
        Binding("r", "resume", "Resume", id="batches.resume"),
        Binding("d,delete", "remove", "Remove", key_display="d", id="batches.remove"),
    ]

    DEFAULT_CSS = """
    BatchScreen {
        DataTable { height: 1fr; background: $background; scrollbar-size: 1 1; }
        #detail { height: 1fr; padding: 0 1; border-top: hkey $panel; scrollbar-size-vertical: 1; }
    }
    """

    def __init__(self, queue: BatchQueue) -> None:
        super().__init__()
        self._queue = queue
        self._ready = False
        self._rows: tuple[str, list[tuple[str, ...]]] = ("", [])  # in which theme

    def compose(self) -> ComposeResult:
        yield Static(Content.assemble(("φ phitui", "bold $primary"), "  Batches"), id="head", markup=False)
        table: DataTable[Text] = DataTable(cursor_type="row")
        table.add_columns(*COLUMNS)
        yield table
        with VerticalScroll(id="detail", can_focus=False):
            yield Static("", id="about", markup=False)
        yield Static(HELP, id="said", markup=False)
        yield KeyFooter(show_command_palette=True)

    def on_mount(self) -> None:
        self._ready = True
        self.set_interval(_REPAINT_S, self.show)
        self.app.theme_changed_signal.subscribe(self, lambda _: self.show())
        self.show()

    def show(self) -> None:
        """Paint what is different."""
        if not (self._ready and self.is_attached):  # not composed yet, or left
            return
        table = self.query_one(DataTable)
        wanted = [cells(entry) for entry in self._queue.entries]
        if (wanted or self._rows[1]) and (self.app.theme, wanted) != self._rows:
            place, self._rows = table.cursor_row, (self.app.theme, wanted)
            table.clear()
            for texts in wanted:
                table.add_row(*(self._cell(i, text, texts) for i, text in enumerate(texts)))
            table.move_cursor(row=max(min(place, len(wanted) - 1), 0))
        self._show_about()

    def _cell(self, column: int, text: str, row: tuple[str, ...]) -> Text:
        """State and failures in the colour of what they mean."""
        justify: Literal["left", "right"] = "left" if column < 2 else "right"
        if COLUMNS[column] not in ("State", "Failed"):
            return Text(text, justify=justify)
        failed = row[COLUMNS.index("Failed")] != "0"
        bad = text == "failed" or (failed and text != "running")
        role = "error" if bad else "success" if text == "complete" else ""
        colour = Color.parse(self.app.theme_variables[f"text-{role}"]).rich_color if role else None
        return Text(text, Style(color=colour), justify=justify)

    @on(DataTable.RowHighlighted)
    def _show_about(self) -> None:
        entry = self._chosen()
        text = about(entry) if entry is not None else EMPTY
        for widget in self.query("#about").results(Static):  # none, where it has been left at once
            if str(widget.content) != text:
                widget.update(Content(text))

    def _chosen(self) -> BatchEntry | None:
        place = self.query_one(DataTable).cursor_row
        return self._queue.entries[place] if 0 <= place < len(self._queue.entries) else None

    def action_add(self) -> None:
        """Ask for a file, and where its answers are to go."""

        def decided(wish: BatchWish | None) -> None:
            if wish is None:
                return
            try:
                self._queue.add(wish.source, wish.target)
            except PhituiError as error:
                self.say(str(error), bad=True)
            else:
                self.say(HELP)
            self.show()
            self.query_one(DataTable).move_cursor(row=len(self._queue.entries) - 1)

        self.app.push_screen(BatchDialog(Path.cwd()), decided)

    def action_cancel(self) -> None:
        """Stop the chosen file; what is done is kept."""
        entry = self._chosen()
        if entry is None or not self._queue.cancel(entry):
            self.say("It does not run.")
        else:
            self.say("Stopped after this step; what is done is kept, and r goes on with it.")

    def action_resume(self) -> None:
        entry = self._chosen()
        if entry is None or not self._queue.resume(entry):
            self.say("There is nothing to go on with.")

    def action_remove(self) -> None:
        """Take the chosen file off the list; nothing is deleted."""
        entry = self._chosen()
        if entry is None or not self._queue.remove(entry):
            self.say("It runs: cancel it first." if entry else "The list is empty.")
        self.show()


def cells(entry: BatchEntry) -> tuple[str, ...]:
    """A row of the table."""
    now = entry.progress
    whole = "" if now.rows is None else f"/{now.rows}"
    rate = "–" if now.tokens_per_s is None or not entry.busy else f"{now.tokens_per_s:.1f}"
    left = "–" if now.eta_s is None or not entry.busy else clock(now.eta_s)
    flight = str(now.alive) if entry.busy else "–"
    name = displayable(one_line(entry.name, 1000))
    if len(name) > _NAME_CHARS:  # its end says more than its beginning
        name = f"…{name[1 - _NAME_CHARS :]}"
    return name, entry.state, f"{now.done}{whole}", str(now.failed), rate, left, flight


def about(entry: BatchEntry) -> str:
    """What is said of a file: where its answers go, the last news, and the failures."""
    now = entry.progress
    target = shown_path(entry.order.target) if entry.order.target else "standard output"
    lines = [f"answers: {target}", entry.note, now.note, entry.error]
    lines += now.reasons[:_REASONS]
    if now.failed > len(now.reasons[:_REASONS]):
        lines.append(f"{now.failed} rows failed in all: the output has every reason")
    return "\n".join(displayable(one_line(line, 300)) for line in lines if line)
