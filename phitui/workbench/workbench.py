"""The engine's one owner: configuration, chat, batches, tuner, models and telemetry around it, without a screen."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from phitui.config.layers import Config
from phitui.config.remotes import LOCAL
from phitui.core.ipc.messages import Progress
from phitui.engine.protocol.api import Delta, Event, Loaded
from phitui.workbench.chat.chat import Chat
from phitui.workbench.chat.parameters import Parameters
from phitui.workbench.current import CurrentConfig
from phitui.workbench.engines import Engines
from phitui.workbench.front import Front
from phitui.workbench.lease import Leases, Use
from phitui.workbench.start import engine_log, sampling
from phitui.workbench.switching import Configured, RemoteServer, Switching

if TYPE_CHECKING:  # imported with their first use: not before a console's first frame, and never by most commands
    from phitui.workbench.batch.queue import BatchQueue
    from phitui.workbench.chat.session_library import SessionLibrary
    from phitui.workbench.models.library import ModelLibrary
    from phitui.workbench.telemetry.telemetry import Telemetry
    from phitui.workbench.tune.tuner import Tuner

P = ParamSpec("P")


class Workbench:
    """What a person can do with one engine, wherever it computes. Fronts subscribe, call, and show.

    Nothing runs before it is asked for: `switching.to` loads an engine, `telemetry.start` begins to read the hardware.
    """

    def __init__(self, config: Config, environ: Mapping[str, str] = os.environ) -> None:
        self.config = CurrentConfig(config)
        self.leases = Leases()
        self.engine = Engines(engine_log(environ), self.take, config.engine.restart_limit)
        self.switching = Switching(self.engine, self.config, self.leases, self, self._keep_model, environ)
        generation = config.generation
        changed = self._to_all(Front.show_exchange)
        self.chat = Chat(self.engine, sampling(generation), generation.system, changed, self.leases)
        self.chat.on_over = self._to_all(Front.show_answered)
        # Made once: with each of a stream's Deltas they are called.
        self._show_event = self._to_all(Front.show_event)
        self._show_activity = self._to_all(Front.show_activity)
        self.parameters = Parameters(generation, self.chat)
        self._environ = environ
        self._fronts: list[Front] = []
        self._tuning = False

    def subscribe(self, front: Front) -> None:
        """Have `front` hear from here on."""
        self._fronts.append(front)

    def start_engine(self) -> None:
        """Load the configured model, or connect to the configured server."""
        self.switching.to(Configured())

    def switch_engine(self, name: str) -> None:
        """Have a server answer, or this machine's engine. Raises UsageError where the engine cannot be had."""
        self.switching.to(Configured(local=True) if name == LOCAL else RemoteServer(name))

    def new_chat(self) -> None:
        """Begin anew; the chat so far stays as a session, where sessions are kept."""
        if self._used("sessions"):
            self.sessions.new_chat()
        else:
            self.chat.clear()

    async def park(self) -> None:
        """Give the model's memory back until the next prompt. Raises UsageError where the engine cannot be had."""
        self.leases.check(Use.PARK)
        await self.engine.park()

    @cached_property
    def telemetry(self) -> Telemetry:
        """Readings of the hardware, and what they mean."""
        from phitui.workbench.telemetry.telemetry import Telemetry

        return Telemetry(self.engine, self.config.now, self.computing_pid, self._to_all(Front.show_snapshot))

    @cached_property
    def sessions(self) -> SessionLibrary:
        """The kept chats. Its first use begins to keep this one."""
        from phitui.workbench.chat.session_library import SessionLibrary

        system = self.config.now.generation.system
        return SessionLibrary(self.chat, system, self.say, self._environ, self.parameters)

    @cached_property
    def models(self) -> ModelLibrary:
        """The models, and what is being done with them."""
        from phitui.workbench.models.library import ModelLibrary

        changed = self._to_all(Front.show_models)
        return ModelLibrary(self.engine, self.config, self.leases, self.switching, changed, self.say, self._environ)

    @cached_property
    def batches(self) -> BatchQueue:
        """The queue of files."""
        from phitui.workbench.batch.queue import BatchQueue

        return BatchQueue(self.engine, self.config, self.leases, self._to_all(Front.show_batch))

    @cached_property
    def tuner(self) -> Tuner:
        """The tuning, and those that were kept."""
        from phitui.workbench.tune.tuner import Hooks, Tuner

        hooks = Hooks(self._tuning_changed, self._watch, self.say)
        return Tuner(self.engine, self.config, self.leases, self.switching, hooks, self._environ)

    def _used(self, service: str) -> bool:
        return service in vars(self)  # as cached_property keeps it

    def computing_pid(self) -> int | None:
        """The process that computes: the engine's, or the tuner's in its place. From any thread."""
        return (self.tuner.pid if self._used("tuner") else None) or self.engine.pid

    def take(self, event: Event) -> None:
        """An event of the engine."""
        if isinstance(event, Delta):  # thousands in a second
            self._show_event(event)
            if self.chat.grow(event):
                self._show_activity(event)
            return
        if self._used("batches"):
            self.batches.take(event)
        if isinstance(event, Loaded) and self._used("models"):
            self.models.refresh()
        if not self.switching.take(event):
            self.tell(event)

    def tell(self, event: Event) -> None:
        """Tell all subscribers of an event. `switching` keeps back the failure of a load that was replaced."""
        if self._used("telemetry"):
            self.telemetry.note_event(event)
        self._show_event(event)
        self.chat.handle(event)
        self._show_activity(event)

    def say(self, text: str, kind: str = "") -> None:
        """A line for a person."""
        self._to_all(Front.say)(text, kind)

    def show_switching(self, title: str) -> None:
        """See `Front.show_switching`."""
        self._to_all(Front.show_switching)(title)

    def _to_all(self, hears: Callable[Concatenate[Front, P], None]) -> Callable[P, None]:
        """Calls this method of every front."""

        def call(*what: P.args, **named: P.kwargs) -> None:
            for front in self._fronts:
                getattr(front, hears.__name__)(*what, **named)

        return call

    def _tuning_changed(self) -> None:
        tuning = self.tuner.busy
        if tuning != self._tuning:
            self._tuning = tuning
            if self.engine.is_local:
                self.telemetry.performance.probing = tuning
                self.telemetry.note_event(Progress("load", ""))  # what was loaded before is gone
        self._to_all(Front.show_tuning)()

    def _watch(self, event: Event) -> None:
        """The tuner's engine: the gauges show what it holds."""
        self.telemetry.note_event(event)

    async def _keep_model(self, folder: Path) -> None:
        await self.models.keep(folder)

    @property
    def kept_session(self) -> int | None:
        """The session that the chat is kept as; None where nothing of it is."""
        return self.sessions.session if self._used("sessions") else None

    async def close(self) -> None:
        """End all of it; what can be resumed is kept."""
        if self._used("telemetry"):
            await self.telemetry.stop()
        if self._used("sessions"):
            await self.sessions.close()
        if self._used("tuner"):
            await self.tuner.close()
        await self.switching.close()
        if self._used("models"):
            await self.models.close()
        if self._used("batches"):
            await self.batches.close()
        await self.engine.stop()
