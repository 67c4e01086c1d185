"""Copies an answer or a piece of it to the terminal's clipboard, or saves it to a file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import App
from textual.screen import Screen

from phitui.config.layers import shown_path
from phitui.core.errors import PhituiError, UsageError
from phitui.core.files import create_file, replace_file
from phitui.core.tasks import Tasks
from phitui.core.text import counted
from phitui.tui.terminal import clipboard
from phitui.tui.terminal.display import displayable
from phitui.tui.widgets.dialogs import Ask, Confirm
from phitui.workbench.chat.exchanges import Exchange

if TYPE_CHECKING:
    from phitui.tui.widgets.code_blocks import CodeBlock

COPY_DEEDS = ("copy", "parts", "save")
_PATH_CHARS = 400


def answer_of(exchange: Exchange) -> str:
    """What is copied or saved of an answer is what is shown of it: without what would steer a terminal, and without the
    thinking, which is folded, unless nothing else came."""
    return displayable(exchange.text if exchange.text.strip() else exchange.thinking.strip())


class Copying:
    """The console's helper."""

    def __init__(self, screen: Screen[None]) -> None:
        self._screen = screen
        self._tasks = Tasks()

    @property
    def _app(self) -> App[None]:
        return self._screen.app

    def do(self, deed: str, exchange: Exchange) -> None:
        """What a key or a command asks for."""
        text = answer_of(exchange)
        if not text.strip():
            self._screen.notify("There is no answer to copy yet.", severity="warning")
        elif deed == "copy":
            self._copy(text, "The answer")
        elif deed == "save":
            self._ask_where(text, exchange.prompt)
        else:
            self._choose(text, exchange.prompt)

    def blocks(self, exchange: Exchange) -> list[CodeBlock]:
        """The code blocks of an answer."""
        from phitui.tui.widgets.code_blocks import code_blocks

        return code_blocks(answer_of(exchange))

    def copy_block(self, exchange: Exchange, number: int) -> None:
        """Copy code block `number`, from 1 on. Raises UsageError where there is none."""
        blocks = self.blocks(exchange)
        if not 1 <= number <= len(blocks):
            raise UsageError(f"the answer has {counted(len(blocks), 'code block') if blocks else 'no code blocks'}")
        self._copy(blocks[number - 1].text, f"Code block {number}")

    def save_to(self, exchange: Exchange, path: Path) -> None:
        """Save an answer to a file; another is replaced only after a question."""
        self._save_or_ask(path, answer_of(exchange))

    def _copy(self, text: str, what: str) -> None:
        self._screen.notify(clipboard.send(self._app, text, what))

    def _choose(self, text: str, prompt: str) -> None:
        """The parts of an answer: all of it, and its code blocks by number."""
        from phitui.tui.widgets.code_blocks import code_blocks
        from phitui.tui.widgets.part_list import PartList, Taken

        blocks = code_blocks(text)

        def chosen(taken: Taken | None) -> None:
            if taken is None:
                return
            part = blocks[taken.number - 1].text if taken.number else text
            if taken.save:
                self._ask_where(part, prompt, ".txt" if taken.number else ".md")
            else:
                self._copy(part, f"Code block {taken.number}" if taken.number else "The answer")

        self._app.push_screen(PartList(text, blocks), chosen)

    def _ask_where(self, text: str, prompt: str, ending: str = ".md") -> None:
        from phitui.storage.sessions.session_transfer import file_name

        def named(name: str | None) -> None:
            if name is not None:
                self._save_or_ask(Path(name).expanduser(), text)

        suggestion = Path(file_name(prompt[:200])).with_suffix(ending).name
        self._app.push_screen(Ask("Save to the file", suggestion, _PATH_CHARS), named)

    def _save_or_ask(self, path: Path, text: str) -> None:
        def decided(yes: bool | None) -> None:
            if yes:
                self._spawn(path, text, True)

        if path.exists():
            self._app.push_screen(Confirm(f"{shown_path(path)} is there already.", "overwrite it"), decided)
        else:
            self._spawn(path, text, False)

    def _spawn(self, path: Path, text: str, over: bool) -> None:
        self._tasks.start(self._save(path, text, over))

    async def _save(self, path: Path, text: str, over: bool) -> None:
        try:
            await asyncio.to_thread(save, path, text, over)
        except PhituiError as error:
            self._screen.notify(str(error), severity="warning")
        else:
            self._screen.notify(f"Saved to {shown_path(path)}.")


def save(path: Path, text: str, over: bool) -> None:
    """Write `text` to a file, whole or not at all; a new one is 0600. Only with `over` in the place of another.

    Raises UsageError where there is one, or something that is no file, and PhituiError where it cannot be written.
    """
    data = (text if text.endswith("\n") else text + "\n").encode("utf-8", "replace")
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{shown_path(path)} is not a file", "Give another name")
        if over:
            replace_file(path, data)
        else:
            create_file(path, data)
    except FileExistsError as error:
        raise UsageError(f"{shown_path(path)} is there already", "Give another name") from error
    except OSError as error:
        raise PhituiError(f"{shown_path(path)}: cannot be written: {error.strerror}") from error
