"""A chat: prompts queued in order, each answered with all the turns before it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from phitui.core.errors import PhituiError, UnavailableError, UsageError
from phitui.core.ipc.messages import Failure
from phitui.core.tasks import Tasks
from phitui.engine.protocol.api import BrokeOff, Delta, Died, Event, Finished, Loaded, Rejected, Sampling, Started, Turn
from phitui.engine.protocol.interface import Engine
from phitui.workbench.chat.exchanges import Exchange, State, path_through, path_to
from phitui.workbench.lease import Lease, Leases, Use

__all__ = ["Chat", "Exchange", "State", "check_prompt"]


# A prefill cannot be stopped: after this time its answer is given up.
_LET_GO_WITHIN_S = 3.0


def _nobody(exchange: Exchange) -> None:
    del exchange


@dataclass
class Chat:
    """One chat with the engine. `exchanges` is the path through the tree of `roots` that is shown and goes on.

    `on_change` is called on the event loop whenever an exchange of this path has changed, `record` for every exchange,
    also of a chat that was left; `on_over` with an answer, or all of those made side by side, once nothing more of them
    will come. A system prompt of "" leaves the system turn to the model's own template.
    """

    engine: Engine
    sampling: Sampling
    system: str
    on_change: Callable[[Exchange], None] = _nobody
    leases: Leases = field(default_factory=Leases)
    exchanges: list[Exchange] = field(default_factory=list)
    roots: list[Exchange] = field(default_factory=list)
    record: Callable[[Exchange], None] | None = None
    on_over: Callable[[list[Exchange]], None] | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _gone: str = ""  # why there is no engine any more
    # Each of these is a list of exchanges whose answers are made side by side, mostly of one.
    _waiting: list[list[Exchange]] = field(default_factory=list)
    _current: list[Exchange] = field(default_factory=list)
    _request_id: int | None = None
    _cancel_asked: bool = False
    _lease: Lease | None = None  # while an answer is being made
    _epoch: int = 0  # the load that counts tokens now: each model does in its own way
    _tasks: Tasks = field(default_factory=Tasks)

    def __post_init__(self) -> None:
        self.leases.subscribe(self.pump)

    def submit(self, prompt: str) -> Exchange:
        """Queue a prompt.

        Raises UsageError for an empty one or one that cannot be text, and UnavailableError where there is no engine
        and none will come, or while somebody else has it for long.
        """
        return self._queue(prompt, self.exchanges[-1] if self.exchanges else None)[0]

    def _queue(
        self, prompt: str, parent: Exchange | None, answers: int = 1, sampling: Sampling | None = None
    ) -> list[Exchange]:
        """Queue a prompt below `parent`, for so many answers, and show the path to the first. Raises as `submit`."""
        check_prompt(prompt)
        self.leases.check(Use.ANSWER)
        if self._gone:
            raise UnavailableError(f"there is no engine ({self._gone})", "Quit and run phitui doctor")
        queued = [Exchange(next(self._numbers), prompt, parent=parent) for _ in range(answers)]
        for exchange in queued:
            exchange.sampling, exchange.system = sampling or self.sampling, self.system
            (parent.children if parent else self.roots).append(exchange)
        self.show_path(queued[0])
        self._waiting.append(queued)
        for exchange in queued:
            self._tell(exchange)
        self.pump()
        return queued

    def instead(
        self, exchange: Exchange, prompt: str, answers: int = 1, sampling: Sampling | None = None
    ) -> list[Exchange]:
        """Answer `prompt` in the place of `exchange`: with its own prompt another answer, with another one an edit.
        What is there stays, as a sibling. `answers` is how many are made, side by side; `sampling` is for these alone,
        in the place of the chat's. Raises as `submit`."""
        return self._queue(prompt, exchange.parent, answers, sampling)

    def siblings(self, exchange: Exchange) -> list[Exchange]:
        """All exchanges in this place of the chat, `exchange` among them, oldest first."""
        return exchange.parent.children if exchange.parent else self.roots

    def fork(self, exchange: Exchange) -> None:
        """Go on after `exchange`: the next prompt follows it, beside what has followed it so far."""
        self.exchanges = path_to(exchange)

    def show_path(self, exchange: Exchange) -> None:
        """Make the path through `exchange` the one that is shown and goes on."""
        self.exchanges = path_through(exchange)
        for one in self.exchanges:
            if one.parent is not None:
                one.parent.chosen = one

    def number(self) -> int:
        """The number of an exchange that comes from elsewhere, for `adopt`."""
        return next(self._numbers)

    def adopt(self, roots: list[Exchange], leaf: Exchange | None, system: str) -> None:
        """Go on with a chat that was kept, at `leaf`. The one before is left, as by `clear`."""
        self.clear()
        self.roots, self.system = roots, system
        if leaf is not None:
            self.show_path(leaf)
            self.fork(leaf)
        loaded = self.engine.loaded
        for exchange in self.exchanges:
            exchange.counted = self._epoch if loaded is not None and exchange.model == loaded.name else -1

    def pump(self) -> None:
        """Send the next prompt if the engine is ready and free, and none is on its way."""
        if self._current or not self._waiting or self.engine.loaded is None:
            return
        if self._lease is None:
            try:
                self._lease = self.leases.claim(Use.ANSWER, stop=self._let_go)
            except UnavailableError:  # what is queued waits until the engine is free again
                return
            if self._lease is None:
                return
        self._current = self._waiting.pop(0)
        self._cancel_asked = False
        self._tasks.start(self._send(self._current))

    async def _send(self, together: list[Exchange]) -> None:
        if self._current is not together:  # the engine died before this task could begin
            return
        first = together[0]
        turns, draw = self._turns(path_to(first.parent), first.prompt, first.system), first.sampling or self.sampling
        several = {"answers": len(together)} if len(together) > 1 else {}
        try:
            self._request_id = await self.engine.generate(turns, draw, **several)
        except PhituiError as error:
            if self._current is together:
                for exchange in together:
                    self._close(exchange, State.REFUSED, str(error))
            return
        if self._cancel_asked:
            await self.engine.cancel(self._request_id)

    def turns(self, prompt: str) -> list[Turn]:
        """What the model is given for `prompt`: the system turn, the answered exchanges, the prompt. Exchanges that
        were refused or lost are not part of the chat."""
        return self._turns(self.exchanges, prompt, self.system)

    def turns_after(self, parent: Exchange | None, prompt: str) -> list[Turn]:
        """As `turns`, for a prompt that follows `parent`."""
        return self._turns(path_to(parent), prompt, self.system)

    def _turns(self, path: list[Exchange], prompt: str, system: str) -> list[Turn]:
        turns = [Turn("system", system)] if system else []
        for exchange in path:
            if _counts(exchange):
                turns += [Turn("user", exchange.prompt), Turn("assistant", exchange.text)]
        return [*turns, Turn("user", prompt)]

    def cancel(self) -> bool:
        """Stop the answer that is being made, with those beside it, or, with none, take back the prompt queued last.
        False with neither."""
        if self._current:
            self._stop_current()
            return True
        if self._waiting:
            self._take_back(self._waiting.pop())
            return True
        return False

    def stop(self, exchanges: Iterable[Exchange]) -> None:
        """Stop these, each with those beside it: answers that are being made, and prompts that are queued."""
        wanted = set(exchanges)
        for together in [one for one in self._waiting if not wanted.isdisjoint(one)]:
            self._waiting.remove(together)
            self._take_back(together)
        if not wanted.isdisjoint(self._current):
            self._stop_current()

    def _stop_current(self) -> None:
        self._cancel_asked = True
        if self._request_id is not None:
            self._tasks.start(self.engine.cancel(self._request_id))

    def _take_back(self, together: list[Exchange]) -> None:
        for exchange in together:
            exchange.reason = "cancelled"
            exchange.state = State.DONE
            self._tell(exchange)

    def handle(self, event: Event) -> None:
        """Take an event of the engine. Those of other requests are passed over."""
        if isinstance(event, Delta):
            self.grow(event)
            return
        if isinstance(event, Died):
            self._lose(event.reason, all_of_them=not event.restarting)
            return
        if isinstance(event, Failure):
            self._lose(event.message, all_of_them=True)
            return
        if isinstance(event, Loaded):
            self._gone, self._epoch = "", event.epoch
            self.pump()
            return
        exchange = self._owner(event)
        if exchange is None:
            return
        if isinstance(event, Started):
            exchange.state, exchange.prompt_tokens = State.PREFILL, event.prompt_tokens
            exchange.counted, exchange.model = self._epoch, self.engine.loaded.name if self.engine.loaded else ""
            self._tell(exchange)
        elif isinstance(event, Finished):
            self._finish(exchange, event)
        elif isinstance(event, Rejected | BrokeOff):
            state = State.REFUSED if isinstance(event, Rejected) else State.BROKEN
            self._close(exchange, state, str(event.failure.error()))

    def grow(self, event: Delta) -> bool:
        """Add what has come to its answer; whether it is the answer's first."""
        exchange = self._owner(event)
        if exchange is None:
            return False
        first = exchange.state is not State.ANSWERING
        exchange.state = State.ANSWERING
        if event.moved:
            exchange.thinking, exchange.text = exchange.thinking + exchange.text, ""
        exchange.thinking += event.thinking
        exchange.text += event.text
        exchange.tokens = event.tokens
        exchange.note_tokens(time.monotonic())
        if exchange.thinking and (event.thinking or event.moved):
            exchange.thinking_tokens = event.tokens
        self._tell(exchange)
        return first

    def _owner(self, event: Event) -> Exchange | None:
        """The exchange on its way that an event is of."""
        number = getattr(event, "id", None)
        if not self._current or self._request_id is None or number is None:
            return None
        place = number - self._request_id
        exchange = self._current[place] if 0 <= place < len(self._current) else None
        return None if exchange is None or exchange.state.over else exchange

    def _finish(self, exchange: Exchange, event: Finished) -> None:
        exchange.reason, exchange.usage, exchange.timings = event.reason, event.usage, event.timings
        only = exchange.thinking and not exchange.text.strip()
        told = event.usage.completion_tokens if only else event.usage.thinking_tokens
        exchange.thinking_tokens = exchange.thinking_tokens if told is None else told
        if exchange.prompt_tokens is None:  # a remote engine counts at the end
            exchange.prompt_tokens, exchange.tokens = event.usage.prompt_tokens, event.usage.completion_tokens
        self._close(exchange, State.DONE, event.shortfall)

    async def _let_go(self) -> None:
        """Give the engine up for another use: the running answer is stopped, and queued prompts wait."""
        current, deadline = self._current, asyncio.get_running_loop().time() + _LET_GO_WITHIN_S
        if current:
            self.cancel()
        while current and self._current is current:
            if asyncio.get_running_loop().time() > deadline:  # in a long prefill, which cannot be stopped
                for exchange in [one for one in current if not one.state.over]:
                    exchange.reason = "cancelled"
                    self._close(exchange, State.DONE)
            await asyncio.sleep(0.02)

    def clear(self) -> None:
        """Leave the chat: a new one begins. Its answer on the way is stopped, what is queued is taken back; `record`
        still hears of both."""
        self.exchanges, self.roots = [], []
        waiting, self._waiting = self._waiting, []
        for together in waiting:
            self._take_back(together)
        self.cancel()

    @property
    def busy(self) -> bool:
        """Whether a prompt is on its way or queued."""
        return bool(self._current or self._waiting)

    @property
    def on_its_way(self) -> list[Exchange]:
        """The exchanges whose answers are being made."""
        return self._current

    @property
    def context_tokens(self) -> int | None:
        """Tokens of the context window that the chat takes so far; None before the first answer.

        As with `turns`, what was refused, lost or stopped before its first word takes none. After a change of model
        it is not known until that one has read a prompt.
        """
        for exchange in reversed(self.exchanges):
            if exchange.counted not in (-1, self._epoch):
                return None
            if exchange.counted < 0 or exchange.prompt_tokens is None:
                continue
            if _counts(exchange) or not exchange.state.over:
                return None if exchange.tokens is None else exchange.prompt_tokens + _stays(exchange)
        return None

    def _lose(self, reason: str, all_of_them: bool) -> None:
        """The engine died: the answer so far stays, the prompt goes back to the person. Where no new engine comes,
        the prompts queued behind it go the same way."""
        waiting = self._waiting if all_of_them else []
        if all_of_them:
            self._waiting, self._gone = [], reason
        for exchange in [one for together in [self._current, *waiting] for one in together if not one.state.over]:
            self._close(exchange, State.LOST, reason)

    def _close(self, exchange: Exchange, state: State, error: str = "") -> None:
        exchange.state, exchange.error = state, error
        together, over = self._current, all(one.state.over for one in self._current)
        if over:
            self._current, self._request_id = [], None
        self._tell(exchange)
        if over and together and self.on_over is not None:
            self.on_over(together)
        if over and self._lease is not None:
            lease, self._lease = self._lease, None
            lease.release()  # which pumps, unless somebody waits for the engine
        self.pump()

    def _tell(self, exchange: Exchange) -> None:
        if self.record is not None:
            self.record(exchange)
        # Not of a chat or branch that was left. The place in the path, mostly the last, is its own or a sibling's.
        known = next((one for one in reversed(self.exchanges) if one.parent is exchange.parent), None)
        if known is exchange:
            self.on_change(exchange)


def _stays(exchange: Exchange) -> int:
    """Tokens of an answer that the next prompt has in front of it: what was thought is left out there."""
    thought = exchange.thinking_tokens if exchange.text and exchange.state.over else None
    return max((exchange.tokens or 0) - (thought or 0), 0)


def _counts(exchange: Exchange) -> bool:
    """Whether an exchange that is over is part of the chat."""
    return exchange.state is State.DONE and bool(exchange.text)


def check_prompt(prompt: str) -> None:
    """Raises UsageError where `prompt` is empty or holds what is no text."""
    if not prompt.strip():
        raise UsageError("the prompt is empty")
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"the prompt is not valid UTF-8 (at character {error.start + 1})", "Convert it to UTF-8 first"
        ) from error
