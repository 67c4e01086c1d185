"""Between the prompt and what is kept of it: history and draft of earlier starts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from phitui.config.layers import Config, home
from phitui.core.tasks import start_task
from phitui.storage.prompts import PromptStore
from phitui.tui.screens.console import ConsoleScreen
from phitui.tui.widgets.prompt import Prompt
from phitui.workbench.chat.prompt_history import PromptKeeper


class PromptActions:
    """Does nothing where console.keep_prompts is false."""

    def __init__(self, console: ConsoleScreen, config: Config, showing: Callable[[], bool]) -> None:
        self._console = console
        self._config = config.console
        self._showing = showing
        self._keeper: PromptKeeper | None = None
        self._loading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Bring back what was kept, and keep what comes."""
        if not self._config.keep_prompts:
            return
        self._keeper = PromptKeeper(PromptStore(home(), self._config.history_size), self._say)
        self._loading = start_task(self._load(self._keeper))

    async def _load(self, keeper: PromptKeeper) -> None:
        older, draft = await keeper.load()
        if not self._showing():
            return
        self._console.query_one(Prompt).remember(older, draft)
        self._console.on_draft = keeper.draft
        self._console.on_kept = keeper.sent

    def _say(self, text: str) -> None:
        if self._showing():
            self._console.say(text, "warn")

    async def close(self) -> None:
        """Write what is left."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        if self._keeper is not None:
            await self._keeper.close()
