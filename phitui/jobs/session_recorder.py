"""Writes a chat down while it goes on: what has changed, twice a second, so that a crash loses less than a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from phitui.engine.api import Timings, Usage
from phitui.engine.client import raise_in_loop
from phitui.errors import PhituiError
from phitui.jobs.chat import Chat
from phitui.jobs.exchanges import Exchange, State, everything
from phitui.jobs.session_thread import SessionThread
from phitui.store.session_types import Session, Turn, title_of

PERIOD_S = 0.5
AGAIN_S = 5.0


@dataclass(eq=False)
class Keeping:
    """A chat and the session that it is kept as: None before the first turn is written."""

    system: str
    roots: list[Exchange]
    session: int | None = None
    title: str = ""
    ids: WeakKeyDictionary[Exchange, int] = field(default_factory=WeakKeyDictionary)


class SessionRecorder:
    """`say` hears, once, that the chat cannot be written, and that it can be again."""

    def __init__(self, chat: Chat, thread: SessionThread, say: Callable[[str, str], None]) -> None:
        self._chat = chat
        self._thread = thread
        self._say = say
        self.current = Keeping(chat.system, chat.roots)
        self._owners: WeakKeyDictionary[Exchange, Keeping] = WeakKeyDictionary()
        self._dirty: dict[Exchange, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._flushing = asyncio.Lock()
        self._failed = False
        chat.record = self.record

    def record(self, exchange: Exchange) -> None:
        """An exchange has changed; cheap, the writing comes soon."""
        if exchange not in self._owners:
            self.current.roots = self._chat.roots
            self._owners[exchange] = self.current
        self._dirty[exchange] = None
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(raise_in_loop)

    def leave(self) -> None:
        """A new chat begins; the one before is finished where it was."""
        self.current = Keeping(self._chat.system, self._chat.roots)

    def adopt(self, session: Session, ids: dict[Exchange, int]) -> None:
        """The chat goes on with a session that was kept."""
        row = session.row
        self.current = Keeping(row.system, self._chat.roots, row.id, row.title, WeakKeyDictionary(ids))
        for exchange in ids:
            self._owners[exchange] = self.current

    async def _run(self) -> None:
        while self._dirty:
            await asyncio.sleep(AGAIN_S if self._failed else PERIOD_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what has changed by now."""
        async with self._flushing:
            dirty, self._dirty = self._dirty, {}
            by_keeping: dict[Keeping, list[Exchange]] = {}
            for exchange in sorted(dirty, key=lambda one: one.number):  # parents before children
                by_keeping.setdefault(self._owners[exchange], []).append(exchange)
            for keeping, exchanges in by_keeping.items():
                await self._write(keeping, exchanges)

    async def _write(self, keeping: Keeping, exchanges: list[Exchange]) -> None:
        from phitui.store.session_file import DamagedError, GoneError

        try:
            await self._save(keeping, exchanges)
        except GoneError:
            self._write_anew(keeping)
        except DamagedError as error:
            self._write_anew(keeping)
            await self._replace_file(error)
        except PhituiError as error:
            self._dirty = {**dict.fromkeys(exchanges), **self._dirty}
            if not self._failed:
                self._failed = True
                self._say(f"The chat goes on but is not being saved: {error}. It is tried again.", "bad")
        else:
            if self._failed:
                self._failed = False
                self._say("The chat is saved again.", "")

    async def _save(self, keeping: Keeping, exchanges: list[Exchange]) -> None:
        turns = [turn_of(exchange, keeping.ids) for exchange in exchanges]
        leaf = None
        if keeping is self.current and self._chat.exchanges:
            at = self._chat.exchanges[-1]
            leaf = keeping.ids.get(at, -at.number)
        session = keeping.session
        if session is None:
            title = keeping.title or title_of(exchanges[0].prompt)
            made = exchanges[0].created
            keeping.session, ids = await self._thread.run(
                lambda store: store.insert(title, keeping.system, made, turns, leaf)
            )
            keeping.title = title
        else:
            number = session
            ids = await self._thread.run(lambda store: store.save(number, turns, leaf))
        for exchange in exchanges:
            if -exchange.number in ids:
                keeping.ids[exchange] = ids[-exchange.number]

    def _write_anew(self, keeping: Keeping) -> None:
        """The session is gone: what is in memory becomes a new one."""
        keeping.session = None
        keeping.ids.clear()
        self._dirty = {**dict.fromkeys(everything(keeping.roots)), **self._dirty}

    async def _replace_file(self, error: PhituiError) -> None:
        try:
            kept = await self._thread.set_aside()
        except PhituiError as also:
            kept_where = f"and cannot be set aside ({also})"
        else:
            kept_where = f"and was set aside as {kept}"
        if self.current.session is not None:
            self._write_anew(self.current)
        self._say(f"{error}, {kept_where}. This chat is written to a new file.", "bad")

    async def close(self) -> None:
        """Write what is left, once."""
        if self._task is not None:
            self._task.cancel()
        if self._dirty:
            await self.flush()


def turn_of(exchange: Exchange, ids: WeakKeyDictionary[Exchange, int]) -> Turn:
    """An exchange as it is kept. Without an id yet it, or its parent, is minus its number."""
    parent = exchange.parent
    timings = exchange.timings or Timings(None, None, None, None)
    return Turn(
        id=ids.get(exchange, -exchange.number),
        parent=None if parent is None else ids.get(parent, -parent.number),
        prompt=exchange.prompt,
        text=exchange.text,
        state=exchange.state.value,
        reason=exchange.reason or "",
        error=exchange.error,
        model=exchange.model,
        created=exchange.created,
        tokens=exchange.tokens,
        prompt_tokens=exchange.prompt_tokens,
        completion_tokens=exchange.usage.completion_tokens if exchange.usage else None,
        ttft_ms=timings.ttft_ms,
        tpot_ms=timings.tpot_ms,
        total_ms=timings.total_ms,
        tokens_per_s=timings.tokens_per_s,
    )


def exchanges_of(turns: list[Turn], number: Callable[[], int]) -> dict[int, Exchange]:
    """Kept turns as exchanges, by the turns' ids, parents before children. One that was not over is lost: phitui ended
    in the middle of it."""
    made: dict[int, Exchange] = {}
    for turn in turns:
        parent = made.get(turn.parent) if turn.parent is not None else None
        state = State(turn.state)
        exchange = Exchange(
            number(), turn.prompt, state if state.over else State.LOST, turn.text, turn.prompt_tokens, turn.tokens,
            error=turn.error, model=turn.model, created=turn.created, parent=parent,
        )  # fmt: skip
        exchange.reason = turn.reason or None
        if turn.completion_tokens is not None:
            exchange.usage = Usage(turn.prompt_tokens or 0, turn.completion_tokens)
            exchange.timings = Timings(turn.ttft_ms, turn.tpot_ms, turn.total_ms, turn.tokens_per_s)
        if parent is not None:
            parent.children.append(exchange)
        made[turn.id] = exchange
    return made
