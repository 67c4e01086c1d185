"""What slash commands need of the console: to open its screens, and to do what its keys do."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from phitui.tui.widgets.code_blocks import CodeBlock
    from phitui.workbench.chat.exchanges import Exchange
    from phitui.workbench.models.inventory import ModelRow
    from phitui.workbench.workbench import Workbench

Place = Literal["help", "models", "engines", "tuner", "monitor", "batches", "sessions", "parameters"]


class AnswerCopies(Protocol):
    """Takes an answer, or a piece of it, elsewhere."""

    def do(self, deed: str, exchange: Exchange) -> None:
        """Copy, choose a part, or save: "copy", "parts", "save"."""

    def blocks(self, exchange: Exchange) -> Sequence[CodeBlock]:
        """Its code blocks."""

    def copy_block(self, exchange: Exchange, number: int) -> None:
        """Copy one of them, counted from 1. Raises UsageError."""

    def save_to(self, exchange: Exchange, path: Path) -> None:
        """Write it to a file, after a question where one is there."""


class Navigation(Protocol):
    """All of it raises PhituiError where it cannot be done now."""

    @property
    def workbench(self) -> Workbench:
        """Engine, chat, and all that stands on them."""

    @property
    def copying(self) -> AnswerCopies:
        """Takes answers elsewhere."""

    def open(self, place: Place) -> None:
        """Open a screen or a list."""

    def leave(self) -> Awaitable[None]:
        """Leave phitui."""

    def new_chat(self) -> None:
        """Begin a new chat; the one so far stays as a session."""

    def edit_prompt(self) -> None:
        """Have the prompt in the editor of one's choice."""

    def find(self, words: str) -> None:
        """Look for words in this chat."""

    def attach(self, path: str) -> Awaitable[None]:
        """Send a text file with the next prompt."""

    def switch_model(self, row: ModelRow) -> None:
        """Have another model answer, after a question where that stops something."""

    def switch_engine(self, name: str) -> None:
        """Have another engine answer, after a question where that stops something."""

    def add_batch(self, path: Path) -> None:
        """Open the batches with another file of prompts queued."""

    def engine_names(self) -> dict[str, str]:
        """The engines, with the addresses of those on other machines."""

    def theme_names(self) -> list[str]:
        """The themes. From any thread."""

    def use_theme(self, name: str) -> None:
        """Take a theme, and keep it for later starts."""

    def next_theme(self) -> None:
        """Take the one after the present one."""

    def set_parameter(self, name: str, text: str) -> str:
        """Set one from text; returns a line that says what holds."""

    def set_system(self, text: str) -> None:
        """Set the chat's system prompt, "" for none."""

    def reset_parameters(self) -> None:
        """All as config.toml has them."""

    def tell(self, line: str) -> None:
        """A line for some seconds."""
