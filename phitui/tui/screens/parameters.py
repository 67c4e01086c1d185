"""The parameters of the chat: its system prompt and how its answers are drawn."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static, TextArea

from phitui.core.errors import PhituiError
from phitui.core.text import one_line, without_controls
from phitui.engine.protocol.api import Loaded
from phitui.engine.protocol.capabilities import PARAMETERS
from phitui.storage.presets import NAME_CHARS, Preset, Presets
from phitui.tui.terminal.display import displayable
from phitui.tui.widgets.dialogs import Ask, Confirm
from phitui.tui.widgets.key_footer import KeyFooter
from phitui.tui.widgets.parameter_row import ParameterRow
from phitui.tui.widgets.plain_area import PlainArea
from phitui.tui.widgets.preset_list import PresetList
from phitui.tui.widgets.single_dismiss import LeftOnce
from phitui.workbench.chat.parameters import SYSTEM, Parameters

HELP = "Changes apply from the next prompt, and stay with this chat. A new chat begins with the defaults (config.toml)."


class SystemArea(PlainArea):
    """The system prompt."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+underscore,alt+z", "undo", "Undo", show=False, id="system.undo", tooltip="Undo what was typed")
    ]


class ParametersScreen(LeftOnce[None]):
    """Opened over the console, which goes on below it. What `loaded`, the engine that answers, does not honour is not
    offered."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f7", "back", "Back", id="parameters.back", priority=True),
        Binding(
            "ctrl+o",
            "presets",
            "Presets",
            id="parameters.presets",
            tooltip="Presets: system prompts kept under a name",
            priority=True,
        ),
        Binding(
            "ctrl+s",
            "keep",
            "Keep as preset",
            id="parameters.keep",
            tooltip="Keep this system prompt under a name",
            priority=True,
        ),
        Binding(
            "ctrl+r",
            "reset",
            "Defaults",
            id="parameters.reset",
            tooltip="Back to the defaults of config.toml",
            priority=True,
        ),
        Binding("up", "app.focus_previous", "Field before", show=False, id="parameters.previous"),
        Binding("down", "app.focus_next", "Next field", show=False, id="parameters.next"),
        # Textual's own Tab waits until the field has handled it: what is typed behind it would stand in that field.
        Binding("shift+tab", "app.focus_previous", "Field above", show=False, priority=True, id="parameters.above"),
        Binding("tab", "app.focus_next", "Field below", show=False, priority=True, id="parameters.below"),
    ]

    DEFAULT_CSS = """
    ParametersScreen {
        .label { height: 1; padding: 0 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
        TextArea {
            height: 1fr; min-height: 3; max-height: 14; padding: 0 1;
            border: round $panel-lighten-2; background: $surface;
            &:focus { border: round $primary; }
        }
        #rows { height: auto; max-height: 9; padding: 0; scrollbar-size-vertical: 1; }
        #said { padding: 0 1; }
    }
    """

    def __init__(self, parameters: Parameters, presets: Presets, loaded: Loaded | None) -> None:
        super().__init__()
        self._parameters = parameters
        self._presets = presets
        self._loaded = loaded
        self._system = without_controls(parameters.now.system)

    def compose(self) -> ComposeResult:
        offered = self._parameters.offered(self._loaded)
        yield Static(Content(self._head(offered)), id="head", markup=False)
        yield Static("", classes="label", id="about-system", markup=False)
        yield SystemArea(
            self._system, soft_wrap=True, show_line_numbers=False, highlight_cursor_line=False, id="system"
        )
        with VerticalScroll(id="rows", can_focus=False):
            for name in offered:
                yield ParameterRow(name, self._parameters)
        yield Static(HELP, id="said", markup=False)
        yield KeyFooter(show_command_palette=False)

    def _head(self, offered: tuple[str, ...]) -> str:
        missing = [name for name in PARAMETERS if name not in offered]
        title = one_line(self._loaded.title, 60) if self._loaded else "no engine yet"
        without = f" · ignores {', '.join(missing)}" if missing else ""
        return displayable(f"Parameters of this chat · {title}{without}")

    def on_mount(self) -> None:
        area = self.query_one(TextArea)
        for key in ("f6", "f7"):  # the text area's "select line" and "select all": here they lead to other screens
            area._bindings.key_to_bindings.pop(key, None)
        area.focus()
        self._show_system()

    def _show_system(self) -> None:
        own = SYSTEM in self._parameters.own
        about = "System prompt · of this chat alone" if own else "System prompt · default"
        self.query_one("#about-system", Static).update(Content(about))

    @on(TextArea.Changed)
    def _typed(self, message: TextArea.Changed) -> None:
        text = message.text_area.text
        if text == self._system:  # shown, not typed: what was taken out to be shown stays in it
            return
        self._system = text
        try:
            self._parameters.set_system(text)
        except PhituiError as error:
            self.say(str(error), bad=True)
        self._show_system()

    @on(Input.Submitted)
    def _next_field(self) -> None:
        self.focus_next()

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Leave, by whatever key; what was typed and is no value is told."""
        for row in self.query(ParameterRow):
            row.take()
            if row.wrong:
                self.notify(f"Not taken: {row.wrong}. {self._parameters.line(row.name_of)} stays.", severity="warning")
        return super().dismiss(result)

    def action_reset(self) -> None:
        """All as in config.toml."""
        self._parameters.reset()
        self._show_all()
        self.say("All parameters of this chat are those of config.toml.")

    def _show_all(self) -> None:
        for row in self.query(ParameterRow):
            row.show()
        self._system = without_controls(self._parameters.now.system)
        self.query_one(TextArea).text = self._system
        self._show_system()

    def action_presets(self) -> None:
        """Choose a kept system prompt, or delete one."""

        def chosen(preset: Preset | None) -> None:
            if preset is not None:
                self.query_one(TextArea).text = without_controls(preset.text)
                self.say(f"The system prompt is “{one_line(preset.name, NAME_CHARS)}”.")

        try:
            presets = self._presets.all()
        except PhituiError as error:
            self.say(str(error), bad=True)
            return
        if presets:
            self.app.push_screen(PresetList(self._presets, presets), chosen)
        else:
            self.say("There is no preset yet. ^s keeps this system prompt under a name.")

    def action_keep(self) -> None:
        """Ask for a name and keep the system prompt under it."""

        def named(name: str | None) -> None:
            if name is not None:
                self._ask_and_keep(" ".join(name.split()))

        self.app.push_screen(Ask("Keep this system prompt under the name", "", NAME_CHARS), named)

    def _ask_and_keep(self, name: str) -> None:
        def decided(yes: bool | None) -> None:
            if yes:
                self._keep(name)

        try:
            there = any(preset.name == name for preset in self._presets.all())
        except PhituiError as error:
            self.say(str(error), bad=True)
            return
        if there:
            self.app.push_screen(Confirm(f"There is a preset “{one_line(name, NAME_CHARS)}”.", "replace it"), decided)
        else:
            self._keep(name)

    def _keep(self, name: str) -> None:
        try:
            self._presets.keep(name, self._parameters.now.system)
        except PhituiError as error:
            self.say(str(error), bad=True)
        else:
            self.say(f"Kept as “{one_line(name, NAME_CHARS)}”. ^o lists the presets.")
