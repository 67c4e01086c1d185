"""Where the chat and its sessions come together: what a person can do with the chats that were kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from phitui.config.layers import home
from phitui.core.errors import PhituiError, UsageError
from phitui.storage.sessions.session_types import TITLE_CHARS, KeptTurn, Session, SessionRow, encoded
from phitui.workbench.chat.chat import Chat
from phitui.workbench.chat.exchanges import Exchange
from phitui.workbench.chat.parameters import SYSTEM, Parameters
from phitui.workbench.chat.session_recorder import Keeping, SessionRecorder, kept_exchanges
from phitui.workbench.chat.session_thread import SessionThread

if TYPE_CHECKING:
    from phitui.storage.sessions.sessions import SessionStore

FILE_NAME = "sessions.db"
LISTED = 200
_HITS = 400
_PREVIEWED = 6


class Found(NamedTuple):
    """A session in the list, and the turns in which what was searched for stands, newest first."""

    row: SessionRow
    turns: list[int]


class SessionLibrary:
    """`say` gets lines for the chat, and "bad" or "". `parameters` are the chat's, kept with its session; without them
    every new chat has the system prompt `system`."""

    def __init__(
        self,
        chat: Chat,
        system: str,
        say: Callable[[str, str], None],
        environ: Mapping[str, str] = os.environ,
        parameters: Parameters | None = None,
    ) -> None:
        self._chat = chat
        self._system = system
        self._path = home(environ) / FILE_NAME
        self._thread = SessionThread(self._path, lambda text: say(text, "bad"))
        self.recorder = SessionRecorder(chat, self._thread, say)
        self._say = say
        self._parameters = parameters
        if parameters is not None:
            parameters.on_change = self._keep_parameters
            self._keep_parameters()
        self._searches = 0

    @property
    def session(self) -> int | None:
        """The session that the chat is kept as; None before its first turn is."""
        return self.recorder.current.session

    @property
    def title(self) -> str:
        """Its title, "" where there is none yet."""
        return self.recorder.current.title

    async def look(self) -> None:
        """Say what is wrong with the file before there is something to write. Where there is none, none is made."""
        if any(self._path.parent.glob(f"{FILE_NAME}*")):
            try:
                await self._thread.run(lambda store: store.count())
            except PhituiError as error:
                self._say(f"The sessions cannot be opened: {error}", "bad")

    def new_chat(self) -> None:
        """Begin anew; the chat so far stays as a session."""
        self._chat.clear()
        self._chat.system = self._system
        if self._parameters is not None:
            self._parameters.adopt({})
        self.recorder.leave()

    def _keep_parameters(self) -> None:
        if self._parameters is not None:
            own = {name: value for name, value in self._parameters.own.items() if name != SYSTEM}
            self.recorder.set_parameters(self._chat.system, encoded(own))

    def _take_parameters(self, row: SessionRow) -> None:
        if self._parameters is None:
            return
        bad = self._parameters.adopt({**row.own(), SYSTEM: row.system})
        if bad:
            self._say(f"Some parameters of this session cannot be used: {bad}.", "bad")

    async def find(self, wanted: str) -> tuple[list[Found], int]:
        """The sessions that changed last, or those with these words in their title or their turns; and how many
        sessions there are. A search that is overtaken by the next one ends early, with nothing."""
        self._searches += 1
        mine = self._searches
        await self.recorder.flush()
        if not wanted.strip():
            rows, count = await self._thread.run(lambda store: (store.sessions(LISTED), store.count()))
            return [Found(row, []) for row in rows], count

        def overtaken() -> bool:
            return self._searches != mine

        hits, titled, count = await self._thread.run(
            lambda store: (store.search(wanted, _HITS, overtaken), store.titled(wanted, LISTED), store.count())
        )
        turns: dict[int, list[int]] = {}
        for hit in hits:
            turns.setdefault(hit.session, []).append(hit.turn)
        order = list(dict.fromkeys([*turns, *titled]))[:LISTED]
        rows = await self._thread.run(lambda store: store.rows(order))
        return [Found(row, turns.get(row.id, [])) for row in rows], count

    async def preview(self, found: Found) -> list[KeptTurn]:
        """Turns to show of a session: those that were found, else its newest."""
        wanted = found.turns[:_PREVIEWED]
        if wanted:
            return await self._thread.run(lambda store: store.turns(wanted))
        return await self._thread.run(lambda store: store.last_turns(found.row.id, _PREVIEWED))

    async def resume(self, session: int, turn: int | None = None) -> Exchange | None:
        """Go on with a session, where the chat stood, or in the branch of `turn`, whose exchange is returned.

        What was queued is taken back, an answer on its way stopped; the chat so far stays as a session. Raises
        PhituiError.
        """
        await self.recorder.flush()
        number = self._chat.number

        def load(store: SessionStore) -> tuple[Session, Keeping, dict[int, Exchange]]:
            loaded = store.load(session)
            return loaded, *kept_exchanges(loaded, number)

        loaded, keeping, made = await self._thread.run(load)
        leaf = made.get(loaded.row.leaf) if loaded.row.leaf is not None else None
        leaf = leaf or (list(made.values())[-1] if made else None)
        self._chat.adopt(keeping.roots, leaf, loaded.row.system)
        self._take_parameters(loaded.row)
        self.recorder.adopt(keeping)
        wanted = made.get(turn) if turn is not None else None
        if wanted is not None and wanted not in self._chat.exchanges:
            self._chat.show_path(wanted)
        return wanted

    async def newest(self) -> int:
        """The session that changed last. Raises UsageError where there is none."""
        rows = await self._thread.run(lambda store: store.sessions(1))
        if not rows:
            raise UsageError("there is no session yet")
        return rows[0].id

    async def keep_place(self) -> None:
        """The chat stands at another turn now."""
        keeping = self.recorder.current
        at = self._chat.exchanges[-1].kept if self._chat.exchanges else None
        session = keeping.session
        if at is not None and session is not None:
            number, leaf = session, at
            await self._thread.run(lambda store: store.stand_at(number, leaf))

    async def rename(self, session: int, title: str) -> None:
        """Give a session another title, on one line. Raises UsageError for an empty one."""
        line = " ".join(title.split())[:TITLE_CHARS]
        if not line:
            raise UsageError("a title needs some text")
        await self._thread.run(lambda store: store.rename(session, line))
        if session == self.session:
            self.recorder.current.title = line

    async def delete(self, session: int) -> None:
        """Delete a session; `undo` brings it back. That of the chat is left first. Raises UsageError while an answer is
        made in it."""
        if session == self.session:
            if self._chat.busy:
                raise UsageError("an answer is being made in this session", "Stop it first")
            await self.recorder.flush()
            self.new_chat()
        await self._thread.run(lambda store: store.delete(session))

    async def undo(self) -> SessionRow | None:
        """Bring back the session that was deleted last; None where there is none."""
        return await self._thread.run(lambda store: store.undelete())

    async def export(self, session: int, path: Path) -> None:
        """Write a session to a file, as JSON where its name ends so, else as Markdown. Raises PhituiError."""
        from phitui.storage.sessions.session_transfer import write_file

        await self.recorder.flush()
        as_json = path.suffix.lower() == ".json"
        await self._thread.run(lambda store: write_file(path, store.load(session), as_json))

    async def bring_in(self, path: Path) -> int:
        """The session of a JSON file as a new one, whose id is returned. Raises UsageError."""
        from phitui.storage.sessions.session_transfer import read_file

        def insert(store: SessionStore) -> int:
            read = read_file(path)
            own = encoded(read.parameters)
            made = store.insert(read.title, read.system, read.created, read.turns, read.leaf, own)
            return int(made[0])

        return await self._thread.run(insert)

    async def close(self) -> None:
        """Write what is left and close the file."""
        await self.recorder.close()
        await self._thread.close()
