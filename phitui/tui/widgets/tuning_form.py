"""Asks what to tune for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Checkbox, Input, Static

from phitui.tui.terminal.display import displayable
from phitui.tui.widgets.single_dismiss import Dialog
from phitui.workbench.tune.form import FieldError, Questions, TuneForm


class CheckBox(Checkbox, inherit_bindings=False):
    """Enter is the form's, as in its other fields."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "toggle_button", "Toggle", show=False, id="tuning.toggle"),
        Binding("enter", "screen.submit", "Start", show=False, id="tuning.submit"),
    ]


class TuningForm(Dialog[TuneForm | None]):
    """Fields with their defaults; what is wrong with one is said below them, and the form stays. `window` is the
    model's context window, `warning` what starting does to the chat."""

    DEFAULT_CSS = """
    TuningForm {
        align: center middle;
        #box {
            width: 76; max-width: 100%; height: auto; max-height: 100%;
            padding: 1 2; background: $surface; border: round $primary;
        }
        .field { height: 1; }
        .name { width: 15; }
        .hint { width: 1fr; color: $text-muted; padding: 0 0 0 2; text-wrap: nowrap; text-overflow: ellipsis; }
        Input, Input:focus { width: 14; height: 1; border: none; padding: 0 1; background: $panel; }
        CheckBox, CheckBox:focus { border: none; padding: 0; margin: 1 0 0 0; background: $surface; }
        #warning { color: $text-warning; margin: 1 0 0 0; }
        #wrong { color: $text-error; height: auto; min-height: 1; margin: 1 0 0 0; }
        .keys { color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Back", id="tuning.back"),
        # With priority, so that what is typed right after one of them goes into the next field, as fast as it comes.
        Binding("up,shift+tab", "app.focus_previous", "Field above", show=False, priority=True, id="tuning.above"),
        Binding("down,tab", "app.focus_next", "Field below", show=False, priority=True, id="tuning.below"),
    ]

    def __init__(
        self,
        questions: Questions,
        model: str,
        texts: Mapping[str, str],
        window: int | None,
        warning: str,
        vary: bool = True,
    ) -> None:
        super().__init__()
        self._questions = questions
        self._model, self._texts, self._window = model, texts, window
        self._warning, self._vary = warning, vary

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Content(displayable(f"Tune {self._model}" if self._model else "Tune")), markup=False)
            for key, field in self._questions.fields.items():
                with Horizontal(classes="field"):
                    yield Static(field.label, classes="name", markup=False)
                    yield Input(self._texts[key], max_length=20, id=key)
                    yield Static(field.hint, classes="hint", markup=False)
            if not self._questions.of_server:
                yield CheckBox("try other compute types, too", self._vary, id="vary", compact=True)
            if self._warning:
                yield Static(Content(displayable(self._warning)), id="warning", markup=False)
            yield Static("", id="wrong", markup=False)
            ticks = "Space ticks · " if not self._questions.of_server else ""
            yield Static(f"Enter starts · Tab, ↑ ↓ other field · {ticks}Esc back", classes="keys", markup=False)

    def texts(self) -> dict[str, str]:
        """What stands in the fields."""
        return {key: self.query_one(f"#{key}", Input).value for key in self._questions.fields}

    @on(Input.Submitted)
    def action_submit(self) -> None:
        """Start, or say what is wrong."""
        try:
            vary = self.query_one(CheckBox).value if not self._questions.of_server else False
            self.dismiss(self._questions.read(self.texts(), vary, self._window))
        except FieldError as error:
            self.query_one("#wrong", Static).update(Content(displayable(str(error))))
            self.query_one(f"#{error.field}", Input).focus()

    def action_cancel(self) -> None:
        self.dismiss(None)
