"""Every load of the engine: the start, another model, another engine, the way back from a tuning."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from phitui.config.remotes import LOCAL
from phitui.core.errors import ExitCode, PhituiError
from phitui.core.ipc.messages import Failure, Progress
from phitui.core.tasks import start_task
from phitui.core.text import one_line
from phitui.engine.protocol.api import Died, Event, Loaded
from phitui.workbench.current import CurrentConfig
from phitui.workbench.engines import Engines, remote_settings
from phitui.workbench.lease import Lease, Leases, Use
from phitui.workbench.start import load_of, model_folder


@dataclass(frozen=True)
class Configured:
    """The configured model; with `local` on this machine, else where engine.name says."""

    local: bool = False


@dataclass(frozen=True)
class LocalModel:
    """A model on this machine. With `keep` later starts load it, too."""

    folder: Path
    title: str = ""
    keep: bool = False

    @property
    def name(self) -> str:
        return self.folder.name


@dataclass(frozen=True)
class RemoteServer:
    """A configured engine on another machine."""

    name: str


Target = Configured | LocalModel | RemoteServer


class Teller(Protocol):
    """Who hears what becomes of it."""

    def tell(self, event: Event) -> None:
        """An event of a load: how far it is, or that there is no engine for this reason."""

    def say(self, text: str, kind: str = "") -> None:
        """One line for a person."""

    def show_switching(self, title: str) -> None:
        """The engine is being changed to this from here on; "" says that the one before stays."""


class Switching:
    """One change at a time: a target that is asked for while another loads takes its place, whichever door it came by.

    `keep` is awaited with the folder of a model that has loaded and is for later starts, too.
    """

    def __init__(
        self,
        engine: Engines,
        config: CurrentConfig,
        leases: Leases,
        teller: Teller,
        keep: Callable[[Path], Awaitable[None]],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._engine, self._config, self._leases, self._teller = engine, config, leases, teller
        self._keep, self._environ = keep, environ
        self._wanted: Target | None = None
        self._lease: Lease | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._outcome: asyncio.Future[Failure | None] | None = None
        self._loading: asyncio.Future[None] | None = None
        self._epoch = 0
        self._answers: LocalModel | RemoteServer | None = None  # what has answered last, to go back to
        self._kept: Path | None = None

    @property
    def busy(self) -> bool:
        """Whether a change is under way."""
        return self._lease is not None

    def to(self, target: Target, lease: Lease | None = None) -> None:
        """Change to `target`. `lease` is one that the caller has alone, to go on with. Raises UsageError where the
        engine cannot be had."""
        about = self._about(target)
        if lease is not None:
            lease.become(Use.SWITCH, about)
            self._lease = lease
        elif self._lease is not None:
            self._lease.about = about
        else:
            self._lease = self._leases.claim(Use.SWITCH, about)
        self._wanted = target
        if self._attempt is not None:
            self._attempt.cancel()
        if self._task is None or self._task.done():
            self._task = start_task(self._run(), name="phitui-switching")

    def take(self, event: Event) -> bool:
        """Look at an event of the engine. True for one that is only of this change: the failure of what is being
        changed to, after which the one before comes back."""
        if isinstance(event, Loaded):
            self._answers = RemoteServer(self._engine.name) if event.remote is not None else self._loaded_model(event)
            if event.epoch == self._epoch:
                self._settle(None)
            return False
        if isinstance(event, Died) and not event.restarting:
            return self._settle(Failure(f"its engine died ({event.reason})", "", ExitCode.UNAVAILABLE))
        return isinstance(event, Failure) and self._settle(event)

    async def close(self) -> None:
        """Leave it where it is."""
        for task in (self._task, self._attempt):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def _loaded_model(self, loaded: Loaded) -> LocalModel | None:
        return LocalModel(Path(self._engine.folder), loaded.title) if self._engine.folder else None

    def _about(self, target: Target) -> str:
        if isinstance(target, RemoteServer):
            return f"{one_line(target.name, 60)} is being connected"
        if isinstance(target, LocalModel):
            return f"{one_line(target.title or target.name, 60)} is being loaded"
        return "the engine is being started"

    def _settle(self, failure: Failure | None) -> bool:
        if self._outcome is None or self._outcome.done():
            return False
        self._outcome.set_result(failure)
        return True

    async def _run(self) -> None:
        while self._wanted is not None:
            try:
                await self._work_through()
            finally:
                if self._lease is not None:
                    self._lease.release()
                    self._lease = None
            kept, self._kept = self._kept, None
            if kept is not None:
                await self._keep(kept)

    async def _work_through(self) -> None:
        while self._wanted is not None:
            target, self._wanted = self._wanted, None
            self._kept = None
            self._attempt = asyncio.create_task(self._change(target))
            await asyncio.wait({self._attempt})
            if not self._attempt.cancelled():
                self._attempt.result()  # a defect of ours is for the loop's handler

    async def _change(self, target: Target) -> None:
        before = self._answers
        try:
            failure = await self._load(target)
        except PhituiError as error:  # before the engine was touched
            self._not_begun(error, isinstance(target, RemoteServer))
            return
        if failure is None:
            self._kept = target.folder if isinstance(target, LocalModel) and target.keep else None
        elif before is None or not isinstance(target, LocalModel) or _same(before, target):
            self._teller.tell(failure)
        else:
            await self._go_back(target, failure, before)

    async def _go_back(self, target: LocalModel, failure: Failure, before: LocalModel | RemoteServer) -> None:
        reason = str(failure.error()).rstrip(".")
        self._teller.say(f"{target.name} cannot be used: {reason}. Going back to {before.name}.")
        try:
            again = await self._load(before)
        except PhituiError as error:
            again = Failure.of(error)
        if again is not None:
            self._teller.tell(again)

    def _not_begun(self, error: PhituiError, asked: bool) -> None:
        """What answers goes on; without anything there is no engine."""
        if self._engine.loaded is None and not asked:
            self._teller.tell(Failure.of(error))
            return
        stays = f" {self._engine.name} stays." if self._engine.loaded is not None else ""
        self._teller.say(f"{str(error).rstrip('.')}.{stays}")
        self._teller.show_switching("")

    async def _load(self, target: Target) -> Failure | None:
        """Load it and wait for how that ends: None, or the reason. Raises PhituiError where nothing was touched yet."""
        if isinstance(target, Configured):
            name = LOCAL if target.local else self._config.now.engine.name
            if name != LOCAL:
                return await self._connect(name)
            await self._engine.warm()  # its imports run while the model is looked for
            folder = await model_folder(self._config.now.model.name, self._teller.tell, self._environ)
            return await self._load_model(LocalModel(folder))
        return await (self._connect(target.name) if isinstance(target, RemoteServer) else self._load_model(target))

    async def _connect(self, name: str) -> Failure | None:
        if self._engine.loaded is None:
            self._teller.tell(Progress("connect", f"connecting to {name}…"))
        else:
            self._teller.say(f"Connecting to {name}…")
        settings = remote_settings(self._config.now, name)
        remote = await self._engine.reach(name, settings, self._environ, self._tell_waiting)
        try:
            await self._alone()
        except asyncio.CancelledError:  # something else is asked for by now: nobody would close its connections
            await remote.stop()
            raise
        self._epoch += 1
        await self._engine.connect(remote, self._epoch)
        return None

    def _tell_waiting(self, text: str) -> None:
        """A server's model is not in memory yet."""
        if self._engine.loaded is None:
            self._teller.tell(Progress("wait", text))
        else:
            self._teller.say(f"{text}.")

    async def _load_model(self, model: LocalModel) -> Failure | None:
        self._teller.show_switching(model.title or model.name)
        await self._alone()
        self._epoch += 1
        self._outcome = asyncio.get_running_loop().create_future()
        load = load_of(self._config.now, model.folder, self._environ, self._epoch)
        # What is asked for meanwhile waits until the process before has ended and the new one is there.
        self._loading = asyncio.ensure_future(self._engine.load(load))
        try:
            await asyncio.shield(self._loading)
            return await self._outcome
        except PhituiError as error:
            return Failure.of(error)
        finally:
            self._outcome = None

    async def _alone(self) -> None:
        if self._loading is not None:
            await asyncio.wait({self._loading})
        if self._lease is not None:
            await self._lease.have_alone()


def _same(one: LocalModel | RemoteServer, other: LocalModel) -> bool:
    return isinstance(one, LocalModel) and one.folder == other.folder
