"""An engine process for the tuner: it loads, is measured, and is started again when a probe takes it along."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from phitui.autotune.memory import Shape
from phitui.config.layers import Config
from phitui.core.errors import UnavailableError, UsageError
from phitui.core.ipc.messages import Failure, Progress
from phitui.engine.local.client import EngineClient
from phitui.engine.protocol.api import Died, Event, Load, Loaded, Probed, Rejected, Room
from phitui.models.manifest import Manifest, read_manifest
from phitui.workbench.start import wait_loaded, what_to_load

# Of this the kernel's out-of-memory killer makes use; nobody else does without being asked.
_KILLED = "SIGKILL"
# On a CPU the tables of positions grow when they are needed; on CUDA a lack of memory there would break them.
_CPU_POSITIONS = 16


async def to_measure(
    config: Config,
    prompt_tokens: int,
    new_tokens: int,
    tell: Callable[[Progress], None],
    environ: Mapping[str, str] = os.environ,
) -> tuple[Load, Manifest]:
    """The configured model, never parked. Raises PhituiError, and UsageError as `check_lengths`."""
    load = msgspec.structs.replace(await what_to_load(config, tell, environ), park_after_s=0.0)
    manifest = read_manifest(Path(load.folder))
    check_lengths(prompt_tokens, new_tokens, manifest.context_window)
    return load, manifest


def check_lengths(prompt_tokens: int, new_tokens: int, window: int) -> None:
    """Raises UsageError with the figures where the lengths are beyond the context window."""
    if prompt_tokens + new_tokens > window:
        raise UsageError(
            f"{prompt_tokens} tokens of prompt and {new_tokens} of answer do not fit: the context window has {window}",
            "Ask for fewer tokens of prompt or answer",
        )


class ProbingEngine:
    """One engine at a time. `tell` hears what it says of long work, `watch` every event of it."""

    def __init__(
        self, log: Path, tell: Callable[[Progress], None], watch: Callable[[Event], None] | None = None
    ) -> None:
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._client = EngineClient(log, self._take)
        self._tell = tell
        self._watch = watch
        self._usable = 0
        self.positions = 1
        self._timed_threads = False

    @property
    def pid(self) -> int | None:
        return self._client.pid

    @property
    def device(self) -> str:
        """Where the model is loaded, "cpu" or "cuda"; "" while none is."""
        return self._client.loaded.device if self._client.loaded else ""

    @property
    def device_uuid(self) -> str:
        """The card's, "" where there is none or it is not known."""
        return self._client.loaded.device_uuid if self._client.loaded else ""

    def _take(self, event: Event) -> None:
        self._events.put_nowait(event)
        if self._watch is not None:
            self._watch(event)

    async def load(self, load: Load) -> Loaded:
        """Load, in a fresh process. Raises PhituiError with the engine's reason where it cannot."""
        loaded = await self._load(load)
        if self._timed_threads:
            # Timing them left heaps that other generators have used: there large blocks were measured to fragment to
            # 1.6 times their size.
            loaded = await self._load(msgspec.structs.replace(load, threads=loaded.threads))
        return loaded

    async def _load(self, load: Load) -> Loaded:
        await self.stop()
        while not self._events.empty():
            self._events.get_nowait()
        self._timed_threads = False
        await self._client.load(load)
        return await wait_loaded(self._events, self._told)

    async def ready(self, load: Load, tokens: int) -> tuple[Loaded, Room]:
        """Load, and warm up for rows of so many tokens. Raises PhituiError."""
        loaded = await self.load(load)
        positions = tokens if loaded.device == "cuda" else _CPU_POSITIONS
        return loaded, await self.warm_up(min(positions, loaded.context_window or positions))

    async def warm_up(self, positions: int) -> Room:
        """Have all workers used; returns the memory at rest. Raises PhituiError where that fails."""
        self.positions = positions
        number = await self._client.warm_up(positions)
        event = await self._answer(number)
        if isinstance(event, Room):
            self._usable = event.usable_bytes
            return event
        raise UnavailableError("the engine does not survive a batch of one row", "Run phitui doctor")

    async def probe(self, shape: Shape, bound_bytes: int, every_token: bool = False) -> Probed:
        """Measure. An engine that dies of it is started again, and that is the outcome: "oom" where the kernel killed
        it, else "failed". Raises PhituiError where it does not come back."""
        number = await self._client.probe(shape.batch, shape.prompt, shape.new, bound_bytes, every_token)
        event = await self._answer(number)
        if isinstance(event, Probed):
            self._usable = event.usable_bytes
            return event
        if not isinstance(event, Died) or not event.restarting:
            raise UnavailableError("the engine keeps dying", "Run phitui doctor")
        await wait_loaded(self._events, self._told)
        await self.warm_up(self.positions)
        detail = f"the engine died ({event.reason})"
        return Probed(number, "oom" if _KILLED in event.reason else "failed", self._usable, 0.0, detail=detail)

    async def stop(self) -> None:
        """End the process, and with it whatever it is at. Cancelled meanwhile, it ends it all the same and then raises
        CancelledError: asyncio.wait_for in it may keep a cancellation to itself before Python 3.12."""
        stopping = asyncio.ensure_future(self._client.stop())
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError:
            await stopping
            raise

    def _told(self, progress: Progress) -> None:
        self._timed_threads |= progress.stage == "measure"
        self._tell(progress)

    async def _answer(self, number: int) -> Room | Probed | Died:
        """What comes of request `number`. Raises PhituiError where the engine refuses it."""
        while True:
            event = await self._events.get()
            if isinstance(event, Room | Probed) and event.id == number:
                return event
            if isinstance(event, Rejected) and event.id == number:
                raise event.failure.error()
            if isinstance(event, Failure):
                raise event.error()
            if isinstance(event, Died):
                return event
