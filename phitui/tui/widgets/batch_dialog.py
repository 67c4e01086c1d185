"""Asks for a file of prompts and where its answers are to go."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.suggester import Suggester
from textual.widgets import Input, Static

from phitui.core.text import sanitize
from phitui.tui.widgets.dialogs import BOX
from phitui.tui.widgets.single_dismiss import Dialog

_MOST_NAMES = 10_000


class BatchWish(NamedTuple):
    """A file of prompts; `target` None: beside it."""

    source: Path
    target: Path | None


class PathSuggester(Suggester):
    """Completes paths: what is typed is continued by the first name that begins so."""

    def __init__(self, start: Path) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._start = start

    async def get_suggestion(self, value: str) -> str | None:
        return await asyncio.to_thread(self._complete, value)

    def _complete(self, value: str) -> str | None:
        typed_folder, _, begun = value.rpartition("/")
        folder = self._start / Path(f"{typed_folder}/" if "/" in value else "").expanduser()
        try:
            names = [path for _, path in zip(range(_MOST_NAMES), folder.iterdir(), strict=False)]
            fitting = sorted(path for path in names if begun and path.name.startswith(begun))
            if not fitting or sanitize(fitting[0].name) != fitting[0].name:
                return None
            end = "/" if fitting[0].is_dir() else ""
        except (OSError, RuntimeError, ValueError):
            return None
        return f"{value.removesuffix(begun)}{fitting[0].name}{end}"


class BatchDialog(Dialog[BatchWish | None]):
    """Two paths. → completes what is typed."""

    DEFAULT_CSS = BOX.format(name="BatchDialog")
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Back", id="batch.back")]

    def __init__(self, start: Path) -> None:
        """Paths are from `start`."""
        super().__init__()
        self._start = start

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static("A file of prompts: JSON Lines, or a .txt with a prompt on each line", markup=False)
            yield Input(placeholder="questions.jsonl", suggester=PathSuggester(self._start), id="source")
            yield Static("File for the answers; left empty: …-answers.jsonl beside the prompts", markup=False)
            yield Input(placeholder="answers.jsonl", suggester=PathSuggester(self._start), id="target")
            yield Static("Enter adds it · → completes · Tab goes on · Esc back", classes="keys", markup=False)

    @on(Input.Submitted)
    def _submit(self, message: Input.Submitted) -> None:
        del message  # of either field
        source, target = self._path("#source"), self._path("#target")
        if source is not None:
            self.dismiss(BatchWish(source, target))

    def _path(self, field: str) -> Path | None:
        typed = self.query_one(field, Input).value.strip()
        if not typed or "\x00" in typed:
            return None
        try:
            return self._start / Path(typed).expanduser()
        except RuntimeError:  # "~somebody" whom the system does not know
            return self._start / typed
