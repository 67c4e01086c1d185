"""The sessions' file in a thread of its own: SQLite waits for disks and for other consoles, the screen must not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from phitui.core.errors import PhituiError, UsageError

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
        self._told = False

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
            try:
                self._store, notice = self._opened()
            except PhituiError as error:
                return self._read(deed, error), ""
        return deed(self._store), notice

    def _opened(self) -> tuple[SessionStore, str]:
        """The store, a damaged file being set aside; and what a person has to know, "" for nothing."""
        from phitui.storage.sessions.session_file import RECOVER, DamagedError, files_aside, set_aside
        from phitui.storage.sessions.sessions import SessionStore  # sqlite3 takes some ms

        aside = files_aside(self._path)
        was_empty = self._path.is_file() and not self._path.stat().st_size
        try:
            store = SessionStore(self._path)
        except DamagedError as error:
            told = _told_aside(error, set_aside(self._path))
            return SessionStore(self._path), told
        if was_empty:
            return store, f"{self._path} was empty (0 bytes). If you had sessions, put a copy back and start again."
        if not aside or self._told:
            return store, ""
        self._told = True
        more = f" (and {len(aside) - 1} more)" if len(aside) > 1 else ""
        return store, f"Damaged sessions were set aside as {aside[-1]}{more}. {RECOVER}."

    def _read(self, deed: Callable[[SessionStore], T], error: PhituiError) -> T:
        """What can be had where nothing can be written, such as in a read-only home. Raises `error` where that is
        nothing."""
        from phitui.storage.sessions.session_reading import reading

        try:
            with reading(self._path) as store:
                return deed(store)
        except UsageError:
            raise
        except PhituiError:
            raise error from None

    async def set_aside(self, error: PhituiError) -> str:
        """Give the file that is damaged, by `error`, another name; what is returned says so. The next `run` makes a new
        one."""
        try:
            return _told_aside(error, await self.run(lambda store: store.set_aside()))
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


def _told_aside(error: PhituiError, kept: Path) -> str:
    return f"{error.message}. It was set aside as {kept}; what comes is kept in a new file. {error.fix}."
