"""From the prompt to the chat: commands, attached files, and whether it all fits into the context window."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

from textual.screen import Screen

from phitui.core.errors import PhituiError, UsageError
from phitui.core.tasks import Tasks
from phitui.tui.commands.registry import Commands, is_command, plain
from phitui.tui.console.branching import Branching
from phitui.tui.keys.names import shown
from phitui.tui.keys.remap import keys_for
from phitui.tui.widgets.attachment_line import AttachmentLine
from phitui.tui.widgets.completion import Completion
from phitui.tui.widgets.prompt import Prompt
from phitui.workbench.chat.attachments import Attachment, path_of, read_attachment, with_attachments
from phitui.workbench.workbench import Workbench

# A token is a byte at least, so what has fewer bytes than there is room fits. For what a chat template adds:
_TEMPLATE_TOKENS = 128
REMOVE = "console.remove_file"


class Prompting:
    """The console's helper."""

    def __init__(self, screen: Screen[None], workbench: Workbench, branching: Branching) -> None:
        self.commands = Commands()
        self.attachments: list[Attachment] = []
        self._screen = screen
        self._branching = branching
        self._limit = workbench.config.now.console.file_limit_bytes
        self._workbench = workbench
        self._tasks = Tasks()
        self._in_turn = asyncio.Lock()
        self._looked = 0

    def send(self, text: str) -> None:
        """Run a command, or send a prompt with the attached files. Where it cannot be done the text comes back."""
        self.close()
        if is_command(text):
            self._guard(text, self._run, text)
        elif self.attachments or self._in_turn.locked() or not self._surely_fits(text):
            self._tasks.start(self._send_counted(plain(text), text))
        else:
            self._guard(text, self._branching.send, plain(text))

    def _guard(self, text: str, deed: Any, argument: str) -> None:
        try:
            deed(argument)
        except PhituiError as error:
            self._refuse(error, text)

    def _refuse(self, error: PhituiError, text: str) -> None:
        self._screen.notify(str(error), severity="warning", markup=False)
        self._screen.query_one(Prompt).put_back(text)

    def _run(self, line: str) -> None:
        made = self.commands.run(line)
        if made is not None:
            self._tasks.start(self._awaited(made, line))

    async def _awaited(self, work: Awaitable[None], line: str) -> None:
        try:
            await work
        except PhituiError as error:
            self._refuse(error, line)

    def _surely_fits(self, text: str) -> bool:
        """Whether no count is needed: there is more room than bytes, or the engine does not know its window."""
        loaded = self._workbench.engine.loaded
        if loaded is None or loaded.context_window is None:
            return True
        used = self._workbench.chat.context_tokens
        turns = self._branching.turns(text) if used is None else []
        used = used or 0
        size = sum(len(turn.content.encode("utf-8", "replace")) for turn in turns) or len(
            text.encode("utf-8", "replace")
        )
        return used + size + _TEMPLATE_TOKENS < loaded.context_window

    async def _send_counted(self, text: str, typed: str) -> None:
        async with self._in_turn:  # prompts are answered in the order in which they were sent
            files = list(self.attachments)
            try:
                if not text.strip():
                    raise UsageError("the prompt is empty: say what is to be done with the file")
                whole = with_attachments(text, files)
                await self._check_fit(whole)
                self._branching.send(whole)
            except PhituiError as error:
                self._refuse(error, typed)
                return
            self.attachments = [one for one in self.attachments if one not in files]
            self._show()

    async def _check_fit(self, text: str) -> None:
        """Raises UsageError with the numbers where the prompt does not fit. An engine that does not count decides
        itself."""
        loaded = self._workbench.engine.loaded
        if loaded is None or loaded.context_window is None:
            return
        turns = self._branching.turns(text)
        counted = await self._workbench.engine.count(turns)
        if counted.exact and counted.tokens >= loaded.context_window:
            over = counted.tokens - loaded.context_window + 1
            raise UsageError(
                f"not sent: {counted.tokens:,} tokens with the chat so far, the context window has "
                f"{loaded.context_window:,}",
                f"Shorten it by at least {over:,} tokens, or begin a new chat.",
            )

    async def attach(self, typed: str) -> None:
        """Attach a file. Raises UsageError where it is no text, too large, or more than the context window has left."""
        one = await asyncio.to_thread(read_attachment, path_of(typed), self._limit)
        await self._count(one)
        self._check_room(one)
        self.attachments.append(one)
        self._show()

    def _check_room(self, one: Attachment) -> None:
        loaded = self._workbench.engine.loaded
        if loaded is None or loaded.context_window is None or one.tokens is None or not one.exact:
            return
        beside = sum(other.tokens or 0 for other in self.attachments)
        left = max(loaded.context_window - (self._workbench.chat.context_tokens or 0) - beside, 0)
        if one.tokens >= left:
            raise UsageError(
                f"{one.name} has {one.tokens:,} tokens, and {left:,} of the context window are left",
                "Attach a part of it, or begin a new chat.",
            )

    async def _count(self, one: Attachment) -> None:
        try:
            if self._workbench.engine.loaded is None:
                raise PhituiError("no model is loaded yet")
            counted = await self._workbench.engine.count([], one.text)
            one.tokens, one.exact, one.trouble = counted.tokens, counted.exact, ""
        except PhituiError as error:
            one.tokens, one.trouble = None, error.message

    def recount(self) -> None:
        """Another model is loaded, with a tokenizer of its own."""
        if self.attachments:
            self._tasks.start(self._recount())

    async def _recount(self) -> None:
        for one in list(self.attachments):
            await self._count(one)
        self._show()

    def remove_last(self) -> None:
        """Take the file that was attached last away."""
        if self.attachments:
            self.attachments.pop()
            self._show()

    def _show(self) -> None:
        if self._screen.is_mounted:
            keys = keys_for(self._screen, REMOVE)
            self._screen.query_one(AttachmentLine).show(self.attachments, shown(keys[0]) if keys else "")

    def complete(self, text: str) -> None:
        """The prompt has changed: offer what a command in it can become."""
        self._looked += 1
        if not text.startswith("/") or text.startswith("//") or "\n" in text:
            self.close()
        elif " " not in text:
            self._offer(self.commands.names(text), text)
        else:
            self._tasks.start(self._complete_argument(text, self._looked))

    async def _complete_argument(self, text: str, mine: int) -> None:
        choices = await asyncio.to_thread(self.commands.arguments, text)
        if mine == self._looked and self._screen.is_mounted:
            self._offer(choices, text)

    def _offer(self, choices: list[Any], text: str) -> None:
        if len(choices) == 1 and choices[0].text == text:
            choices = []
        self._screen.query_one(Completion).show(choices)

    def close(self) -> bool:
        """Close the list of completions; False where none is open."""
        self._looked += 1
        popup = self._screen.query_one(Completion)
        was = popup.shown
        if was:
            popup.show([])
        return was

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it beside; its PhituiError is told."""

        async def guarded() -> None:
            try:
                await work
            except PhituiError as error:
                self._screen.notify(str(error), severity="warning", markup=False)

        self._tasks.start(guarded())
