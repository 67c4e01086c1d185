"""The sessions' file in a thread of its own: SQLite waits for disks and for other consoles, the screen must not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from phitui.core.errors import PhituiError

if TYPE_CHECKING:
    from phitui.storage.sessions.sessions import SessionStore

T = TypeVar("T")


class SessionThread:
    """Opens the file at its first use, and again where that failed. `say` is called on the event loop with what a
    person has to know of the opening."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say
        self._executor: ThreadPoolExecutor | None = None
        self._store: SessionStore | None = None
        self._closed = False

    async def run(self, deed: Callable[[SessionStore], T]) -> T:
        """What `deed` returns; one at a time, in the order in which they are asked for. Raises PhituiError."""
        if self._closed:
            raise PhituiError("the sessions are closed")
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, "phitui-sessions")
        result, notice = await asyncio.get_running_loop().run_in_executor(self._executor, self._do, deed)
        if notice:
            self._say(notice)
        return result

    def _do(self, deed: Callable[[SessionStore], T]) -> tuple[T, str]:
        notice = ""
        if self._store is None:
            from phitui.storage.sessions.sessions import SessionStore  # sqlite3 takes some ms

            self._store = SessionStore(self._path)
            notice = self._store.notice
        return deed(self._store), notice

    async def set_aside(self) -> Path:
        """Give the damaged file another name, which is returned; the next `run` makes a new one."""
        try:
            return await self.run(lambda store: store.set_aside())
        finally:
            self._store = None

    async def reopen(self) -> None:
        """Let go of a file that is not in its place any more; the next `run` opens the one that is, or makes it."""
        store, self._store = self._store, None
        if store is not None and self._executor is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, store.close)

    async def close(self, within_s: float = 3.0) -> None:
        """Close the file, unless its disk does not answer."""
        self._closed = True
        executor, self._executor = self._executor, None
        if executor is None:
            return
        store, self._store = self._store, None
        if store is not None:
            closing = asyncio.get_running_loop().run_in_executor(executor, store.close)
            await asyncio.wait([closing], timeout=within_s)
        executor.shutdown(wait=False)
