"""Keeps prompts and draft between starts, with the files' work in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from phitui.config.layers import shown_path
from phitui.storage.prompts import PromptStore

# A crash loses at most a second of typing: so long a draft waits, and the writing takes some milliseconds.
SAVE_S = 0.7


class PromptKeeper:
    """`say` hears, once, that it cannot be kept."""

    def __init__(self, store: PromptStore, say: Callable[[str], None]) -> None:
        self._store = store
        self._say = say
        self._told = False
        self._draft: str | None = None  # not written yet
        self._sent: list[str] = []
        self._task: asyncio.Task[None] | None = None

    async def load(self) -> tuple[list[str], str]:
        """The history, oldest first, and the draft."""
        try:
            return await asyncio.to_thread(lambda: (self._store.history(), self._store.draft()))
        except OSError as error:
            self._tell(error)
            return [], ""

    def draft(self, text: str) -> None:
        """The draft is this now."""
        self._draft = text
        self._soon()

    def sent(self, prompt: str) -> None:
        """A prompt has left the input."""
        self._sent.append(prompt)
        self._soon()

    async def close(self) -> None:
        """Write what is left."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._write()

    def _soon(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._later())

    async def _later(self) -> None:
        while self._sent or self._draft is not None:
            await asyncio.sleep(SAVE_S)
            await asyncio.shield(self._write())

    async def _write(self) -> None:
        sent, self._sent = self._sent, []
        draft, self._draft = self._draft, None

        def write() -> Path | None:
            aside = self._store.add(sent) if sent else None
            if draft is not None:
                self._store.keep_draft(draft)
            return aside

        try:
            aside = await asyncio.to_thread(write)
            if aside is not None:
                self._say(f"The history of prompts was damaged. What can be read is kept, the old file as {aside}.")
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            where = f"{shown_path(Path(error.filename))}: " if isinstance(error.filename, str) else ""
            self._say(f"Prompts and draft cannot be kept: {where}{error.strerror or error} (console.keep_prompts).")
