"""Writes a chat down while it goes on: what has changed, twice a second, so that a crash loses less than a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from phitui.core.errors import PhituiError
from phitui.core.tasks import start_task
from phitui.engine.protocol.api import Timings, Usage
from phitui.storage.sessions.session_types import KeptTurn, Session, title_of
from phitui.workbench.chat.chat import Chat
from phitui.workbench.chat.exchanges import Exchange, State, everything
from phitui.workbench.chat.session_thread import SessionThread

PERIOD_S = 0.5
AGAIN_S = 5.0


@dataclass(eq=False)
class Keeping:
    """A chat and the session that it is kept as: None before the first turn is written. `parameters` are those of its
    own, encoded."""

    system: str
    roots: list[Exchange]
    session: int | None = None
    title: str = ""
    parameters: str = ""


class SessionRecorder:
    """`say` hears, once, that the chat cannot be written, and that it can be again."""

    def __init__(self, chat: Chat, thread: SessionThread, say: Callable[[str, str], None]) -> None:
        self._chat = chat
        self._thread = thread
        self._say = say
        self.current = Keeping(chat.system, chat.roots)
        self._dirty: dict[Exchange, None] = {}
        self._reset: set[Keeping] = set()  # chats whose parameters have changed
        self._task: asyncio.Task[None] | None = None
        self._flushing = asyncio.Lock()
        self._writes: set[asyncio.Task[None]] = set()
        self._failed = False
        chat.record = self.record

    def record(self, exchange: Exchange) -> None:
        """An exchange has changed; cheap, the writing comes soon."""
        if exchange.keeper is None:
            self.current.roots = self._chat.roots
            exchange.keeper = self.current
        self._dirty[exchange] = None
        self._write_soon()

    def set_parameters(self, system: str, parameters: str) -> None:
        """The chat's system prompt and other parameters are these now; where nothing of it is kept yet, they go with
        its first turn."""
        self.current.system, self.current.parameters = system, parameters
        if self.current.session is not None or self._dirty:
            self._reset.add(self.current)
            self._write_soon()

    def _write_soon(self) -> None:
        if self._task is None or self._task.done():
            self._task = start_task(self._run())

    def leave(self) -> None:
        """A new chat begins; the one before is finished where it was."""
        self.current = Keeping(self._chat.system, self._chat.roots)

    def adopt(self, keeping: Keeping) -> None:
        """The chat goes on with a session that was kept."""
        self.current = keeping

    async def _run(self) -> None:
        while self._dirty or self._reset:
            await asyncio.sleep(AGAIN_S if self._failed else PERIOD_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what has changed by now. A write that has begun is not cut off together with whoever waits for it:
        nobody would know what of it is in the file."""
        write = asyncio.create_task(self._flush())
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)
        await asyncio.shield(write)

    async def _flush(self) -> None:
        async with self._flushing:
            dirty, self._dirty = self._dirty, {}
            by_keeping: dict[Keeping, list[Exchange]] = {}
            for exchange in sorted(dirty, key=lambda one: one.number):  # parents before children
                if isinstance(exchange.keeper, Keeping):
                    by_keeping.setdefault(exchange.keeper, []).append(exchange)
            for keeping, exchanges in by_keeping.items():
                await self._write(keeping, exchanges)
            changed, self._reset = self._reset, set()
            for keeping in changed:
                await self._write(keeping, [])

    async def _write(self, keeping: Keeping, exchanges: list[Exchange]) -> None:
        from phitui.storage.sessions.session_file import DamagedError, GoneError, MovedError

        try:
            await self._save(keeping, exchanges)
        except GoneError:
            self._write_anew(keeping)
        except (DamagedError, MovedError) as error:
            self._write_anew(keeping)
            if isinstance(error, DamagedError):
                await self._set_aside(error)
            else:
                await self._thread.reopen()
                self._say(f"{error}. The whole chat is written to the file that is there now.", "bad")
            if self.current.session is not None:
                self._write_anew(self.current)
        except PhituiError as error:
            self._dirty = {**dict.fromkeys(exchanges), **self._dirty}
            self._reset |= set() if exchanges else {keeping}
            if not self._failed:
                self._failed = True
                self._say(f"The chat goes on but is not being saved: {error}. Saving is tried again.", "bad")
        else:
            if self._failed:
                self._failed = False
                self._say("The chat is saved again.", "")

    async def _save(self, keeping: Keeping, exchanges: list[Exchange]) -> None:
        if not exchanges:
            await self._save_parameters(keeping)
            return
        turns = [turn_of(exchange) for exchange in exchanges]
        leaf = None
        if keeping is self.current and self._chat.exchanges:
            at = self._chat.exchanges[-1]
            leaf = _id_of(at)
        session = keeping.session
        if session is None:
            title = keeping.title or title_of(exchanges[0].prompt)
            made = exchanges[0].created
            keeping.session, ids = await self._thread.run(
                lambda store: store.insert(title, keeping.system, made, turns, leaf, keeping.parameters)
            )
            keeping.title = title
        else:
            number = session
            ids = await self._thread.run(lambda store: store.save(number, turns, leaf))
        for exchange in exchanges:
            if -exchange.number in ids:
                exchange.kept = ids[-exchange.number]

    async def _save_parameters(self, keeping: Keeping) -> None:
        session, system, parameters = keeping.session, keeping.system, keeping.parameters
        if session is not None:
            number = session
            await self._thread.run(lambda store: store.set_parameters(number, system, parameters))

    def _write_anew(self, keeping: Keeping) -> None:
        """The session is gone: what is in memory becomes a new one."""
        keeping.session = None
        for exchange in everything(keeping.roots):
            exchange.kept = None
            self._dirty[exchange] = None

    async def _set_aside(self, error: PhituiError) -> None:
        try:
            told = await self._thread.set_aside(error)
        except PhituiError as also:
            told = f"{error.message}; {also}"
        self._say(told, "bad")

    async def close(self) -> None:
        """Write what is left, once, after what is being written."""
        if self._task is not None:
            self._task.cancel()
        await self.flush()


def _id_of(exchange: Exchange) -> int:
    """The id that it is kept with; where it has none yet, minus its number."""
    return -exchange.number if exchange.kept is None else exchange.kept


def turn_of(exchange: Exchange) -> KeptTurn:
    """An exchange as it is kept."""
    timings = exchange.timings or Timings(None, None, None, None)
    return KeptTurn(
        id=_id_of(exchange),
        parent=None if exchange.parent is None else _id_of(exchange.parent),
        prompt=exchange.prompt,
        text=exchange.text,
        thinking=exchange.thinking,
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


def kept_exchanges(session: Session, number: Callable[[], int]) -> tuple[Keeping, dict[int, Exchange]]:
    """A kept session's turns as exchanges, by the turns' ids, parents before children. One that was not over is lost:
    phitui ended in the middle of it."""
    row = session.row
    keeping = Keeping(row.system, [], row.id, row.title, row.parameters)
    made: dict[int, Exchange] = {}
    states = {state.value: state if state.over else State.LOST for state in State}
    for turn in session.turns:
        parent = made.get(turn.parent) if turn.parent is not None else None
        done = turn.completion_tokens is not None or turn.total_ms is not None
        made[turn.id] = exchange = Exchange(
            number(), turn.prompt, states[turn.state], turn.text, turn.thinking, turn.prompt_tokens, turn.tokens,
            turn.reason or None,
            Usage(turn.prompt_tokens, turn.completion_tokens) if done else None,
            Timings(turn.ttft_ms, turn.tpot_ms, turn.total_ms, turn.tokens_per_s) if done else None,
            turn.error, turn.model, turn.created, -1, parent, kept=turn.id, keeper=keeping,
        )  # fmt: skip
        (parent.children if parent is not None else keeping.roots).append(exchange)
    return keeping, made
