"""The list of engines with what each says of itself, to choose one of."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from phitui.config.remotes import LOCAL, RemoteSettings
from phitui.core.errors import PhituiError
from phitui.core.tasks import start_task
from phitui.core.text import one_line
from phitui.engine.protocol.api import Loaded
from phitui.tui.terminal.display import displayable
from phitui.tui.widgets.dialogs import BOX
from phitui.tui.widgets.single_dismiss import Dialog
from phitui.workbench.engines import is_there

_NAME_CHARS = 24


class EngineDialog(Dialog[str | None]):
    """Each server is asked what it is, side by side; no prompt is sent. Dismissed with the name that was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Back", id="engines.back")]
    DEFAULT_CSS = (
        BOX.format(name="EngineDialog")
        + """
    EngineDialog {
        #box { width: 92; }
        OptionList { height: auto; max-height: 16; background: $surface; padding: 0; &, &:focus { border: none; } }
    }
    """
    )

    def __init__(self, engines: Mapping[str, RemoteSettings], current: str, loaded: Loaded | None) -> None:
        """`current` is the engine in use, `loaded` what it has."""
        super().__init__()
        self._engines = engines
        self._current = current
        self._loaded = loaded
        self._asking: list[asyncio.Task[None]] = []

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static("Engines", markup=False)
            local = self._loaded.title if self._loaded and self._current == LOCAL else "this machine, CTranslate2"
            options = [Option(self._line(LOCAL, local), id=LOCAL)]
            options += [Option(self._line(name, "asking…"), id=name) for name in self._engines]
            yield OptionList(*options, markup=False)
            none = "" if self._engines else "Add servers as [engines.NAME] with their url in config.toml. "
            yield Static(f"{none}Enter changes to it · Esc back", classes="keys", markup=False)

    def on_mount(self) -> None:
        for name, settings in self._engines.items():
            task = start_task(self._ask(name, settings))
            self._asking.append(task)

    async def on_unmount(self) -> None:
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _ask(self, name: str, settings: RemoteSettings) -> None:
        found = await is_there(name, settings)
        if isinstance(found, PhituiError):
            state = f"not there: {found.message}"
        else:
            state = f"{found.title} · {found.why} · {1000 * found.load_s:.0f} ms"
        for options in self.query(OptionList):  # none while the list is on its way out
            options.replace_option_prompt(name, self._line(name, state))

    def _line(self, name: str, state: str) -> Content:
        mark = "● " if name == self._current else "  "
        shown = displayable(one_line(name, _NAME_CHARS))
        # Without a colour of its own: it has to be readable on the highlighted line, too.
        return Content.assemble((f"{mark}{shown:<{_NAME_CHARS}} ", "bold"), displayable(one_line(state, 160)))

    @on(OptionList.OptionSelected)
    def _choose(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(message.option.id)
