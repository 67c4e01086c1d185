"""Small questions on top of a screen."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Select, Static

from phitui.models.messages import LEAST_CONTEXT, MOST_CONTEXT
from phitui.models.precision import PRECISIONS
from phitui.tui.terminal.display import displayable
from phitui.tui.widgets.single_dismiss import Dialog

BOX = """
    {name} {{
        align: center middle;
        #box {{
            width: 64; max-width: 100%; height: auto; max-height: 100%;
            padding: 1 2; background: $surface; border: round $primary;
        }}
        .field {{ margin: 1 0 0 0; }}
        .keys {{ color: $text-muted; margin: 1 0 0 0; height: auto; }}
        KeyButton {{
            width: auto; padding: 0 1; margin: 0 1 0 0; background: $panel;
            &:hover {{ background: $primary 30%; }}
        }}
    }}
"""


class KeyButton(Static):
    """What a key of a dialog does, to click on. It is never focused: Enter may have been meant for what was there
    before the dialog."""

    def __init__(self, key: str, does: str, action: str) -> None:
        """`action` is one of the dialog's, as in a binding."""
        super().__init__(Content.assemble((key, "bold $accent"), f" {displayable(does)}"), markup=False)
        self._action = action

    async def on_click(self, event: events.Click) -> None:
        event.stop()
        await self.screen.run_action(self._action)


class Confirm(Dialog[bool]):
    """A question whose answer is yes or no. Enter is neither: it may have been meant for what was there before."""

    DEFAULT_CSS = BOX.format(name="Confirm")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="confirm.yes"),
        Binding("n,escape", "answer(False)", "No", id="confirm.no"),
    ]

    def __init__(self, question: str, yes: str) -> None:
        """`yes` says what happens then."""
        super().__init__()
        self._question = question
        self._yes = yes

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Content(displayable(self._question)), id="question", markup=False)
            with Horizontal(classes="keys"):
                yield KeyButton("y", self._yes, "answer(True)")
                yield KeyButton("n", "no (Esc)", "answer(False)")

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)


class Ask(Dialog[str | None]):
    """A question whose answer is a line of text, and not an empty one. Esc gives none."""

    DEFAULT_CSS = BOX.format(name="Ask")
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Back", id="ask.back")]

    def __init__(self, question: str, text: str, most: int) -> None:
        """`text` stands there at first; the answer has at most `most` characters."""
        super().__init__()
        self._question = question
        self._text = text
        self._most = most

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Content(displayable(self._question)), id="question", markup=False)
            yield Input(self._text, max_length=self._most, select_on_focus=False, id="answer")
            with Horizontal(classes="keys"):
                yield KeyButton("enter", "take it", "take")
                yield KeyButton("esc", "back", "cancel")

    @on(Input.Submitted)
    def action_take(self) -> None:
        """The answer is what stands there."""
        text = self.query_one(Input).value.strip()
        if text:
            self.dismiss(text)


class PullWish(NamedTuple):
    """What to pull, how to store its weights ("": int8, or AWQ as it is), and for how many tokens (0: not said)."""

    name: str
    precision: str
    context: int


class PullDialog(Dialog[PullWish | None]):
    """Asks which model to pull, at which precision, for which context window."""

    DEFAULT_CSS = BOX.format(name="PullDialog")
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Back", id="pull.back")]

    def __init__(self, name: str, about: list[tuple[str, str]]) -> None:
        """`about` is what is known of this model before: a name and a text for each line."""
        super().__init__()
        self._name = name
        self._about = about

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            for label, text in self._about:
                yield Static(Content.assemble((f"{label:<10}", "$text-muted"), displayable(text)), markup=False)
            what = "Model to download and convert: one of the list, or organisation/model"
            yield Static(what, classes="field" if self._about else "", markup=False)
            yield Input(self._name, placeholder="organisation/model", max_length=200, compact=True, id="wanted")
            yield Static("Precision of the stored weights", classes="field", markup=False)
            kinds = [("int8, or AWQ int4 as it is", ""), *((kind, kind) for kind in PRECISIONS)]
            yield Select(kinds, value="", allow_blank=False, compact=True, id="precision")
            yield Static("Context window in tokens", classes="field", markup=False)
            yield Input(placeholder="as the model has it", compact=True, id="context", type="integer")
            with Horizontal(classes="keys"):
                yield KeyButton("enter", "download", "take")
                yield KeyButton("esc", "back", "cancel")

    @on(Input.Submitted)
    def action_take(self) -> None:
        """Download what the fields say."""
        wanted = self.query_one("#wanted", Input).value.strip()
        context = self.query_one("#context", Input).value.strip()
        if context and not (context.isdecimal() and LEAST_CONTEXT <= int(context[:12]) <= MOST_CONTEXT):
            self.notify(f"A context window has {LEAST_CONTEXT} to {MOST_CONTEXT} tokens.", severity="warning")
        elif wanted:
            precision = self.query_one("#precision", Select).value
            self.dismiss(PullWish(wanted, str(precision), int(context or 0)))
