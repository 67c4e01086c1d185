"""One parameter: its name, its value to type, and which values there are."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from phitui.core.errors import PhituiError
from phitui.core.text import one_line
from phitui.tui.terminal.display import displayable
from phitui.workbench.chat.parameters import Parameters, check, limits, parse, shown

TITLES = {
    "temperature": "temperature",
    "top_k": "top-k",
    "top_p": "top-p",
    "repetition_penalty": "repetition penalty",
    "max_tokens": "max tokens",
    "stop": "stop strings",
    "seed": "seed (-1: none)",
}
_MOST_CHARS = 4000


class ParameterRow(Horizontal):
    """Takes a value when the field is left; `wrong` says why what stands there is none, or ""."""

    DEFAULT_CSS = """
    ParameterRow {
        height: 1; padding: 0 1;
        .name { width: 20; }
        Input { width: 24; background: $surface; }
        Input:focus { background: $panel; }
        .note { width: 1fr; margin: 0 0 0 2; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
        .note.own { color: $text-accent; }
        .note.bad { color: $text-error; }
    }
    """

    def __init__(self, name: str, parameters: Parameters) -> None:
        super().__init__()
        self.name_of = name
        self.wrong = ""
        self._parameters = parameters
        self._shown = self._value()

    def compose(self) -> ComposeResult:
        yield Static(TITLES[self.name_of], classes="name", markup=False)
        yield Input(self._shown, compact=True, max_length=_MOST_CHARS, id=self.name_of)
        yield Static(classes="note", markup=False)

    def on_mount(self) -> None:
        self._tell()

    def show(self) -> None:
        """Show the value that holds."""
        self.wrong, self._shown = "", self._value()
        self.query_one(Input).value = self._shown
        self._tell()

    def _value(self) -> str:
        return displayable(shown(getattr(self._parameters.now, self.name_of)))

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        try:
            check(self.name_of, parse(self.name_of, message.value))
            self.wrong = ""
        except PhituiError as error:
            self.wrong = str(error)
        self._tell()

    @on(Input.Blurred)
    @on(Input.Submitted)
    def take(self) -> None:
        """Take what stands there, where it is a value and another one."""
        text = self.query_one(Input).value
        if text == self._shown:
            return
        try:
            self._parameters.set(self.name_of, text)
        except PhituiError as error:
            self.wrong = str(error)
        else:
            self._shown = text
        self._tell()

    def _tell(self) -> None:
        note = self.query_one(".note", Static)
        own = self.name_of in self._parameters.own
        text = limits(self.name_of)
        if self.wrong:
            text = one_line(self.wrong.partition(": ")[2], 100)
        elif own:
            before = one_line(shown(getattr(self._parameters.config, self.name_of)), 60)
            text = f"default: {before or 'none'} · {text}"
        note.set_class(bool(self.wrong), "bad")
        note.set_class(own and not self.wrong, "own")
        note.update(Content(text))
