"""Opens the sessions, resumes one, and keeps the place in the one that goes on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from textual.app import App

from phitui.core.errors import PhituiError
from phitui.core.tasks import Tasks
from phitui.tui.screens.console import ConsoleScreen
from phitui.workbench.workbench import Workbench

if TYPE_CHECKING:
    from phitui.workbench.chat.session_library import SessionLibrary

NEWEST, NEW_CHAT = 0, -1


class SessionActions:
    """`resume` is a session to begin with, NEWEST or NEW_CHAT; `showing` tells whether there is a screen."""

    def __init__(
        self, app: App[None], console: ConsoleScreen, workbench: Workbench, resume: int, showing: Callable[[], bool]
    ) -> None:
        self._app, self._console, self._workbench = app, console, workbench
        self._resume = resume
        self._showing = showing
        self._tasks = Tasks()

    def start(self) -> None:
        """Keep the chat from now on, and resume what was asked for."""
        sessions = self._workbench.sessions
        self._console.branching.on_place = self._keep_place
        if self._resume != NEW_CHAT:
            self._tasks.start(self._begin_with(sessions))

    async def look(self) -> None:
        """Say what is wrong with the sessions' file. A session that is resumed opens it by itself."""
        if self._resume == NEW_CHAT:
            await self._workbench.sessions.look()

    async def _begin_with(self, sessions: SessionLibrary) -> None:
        try:
            await self.resume(await sessions.newest() if self._resume == NEWEST else self._resume)
        except PhituiError as error:
            self._workbench.say(f"Not resumed: {error}", "bad")

    async def resume(self, session: int, turn: int | None = None) -> None:
        """Go on with a session, and show it where it stood, or at a turn. Raises PhituiError."""
        at = await self._workbench.sessions.resume(session, turn)
        if self._showing():
            self._console.show_chat(at)

    def open(self) -> None:
        """Open the list over the console."""
        from phitui.tui.screens.sessions import SessionsScreen  # most starts never need it

        if self._console.to_front():
            self._app.push_screen(SessionsScreen(self._workbench.sessions, self.resume, self._console.show_chat))

    def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()

    def _keep_place(self) -> None:
        self._tasks.start(self._quietly(self._workbench.sessions.keep_place()))

    async def _quietly(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except PhituiError as error:
            self._app.notify(str(error), severity="warning", markup=False)
