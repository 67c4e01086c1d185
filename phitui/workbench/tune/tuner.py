"""A tuning inside the console. On this machine it takes the engine's place, so that memory is never taken for two
models; of a server it only keeps the chat from asking it meanwhile, which would be measured, too."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from phitui.autotune.server_search import ServerGoal
from phitui.config.layers import Config, shown_path
from phitui.core.errors import PhituiError, UsageError
from phitui.core.tasks import start_task
from phitui.core.text import one_line
from phitui.engine.protocol.api import Event
from phitui.workbench.current import CurrentConfig
from phitui.workbench.engines import Engines
from phitui.workbench.lease import Lease, Leases, Use
from phitui.workbench.measure.probing import ProbingEngine
from phitui.workbench.start import engine_log
from phitui.workbench.switching import Configured, LocalModel, Switching
from phitui.workbench.tune.apply import Settings, apply, check_place, in_words, with_settings
from phitui.workbench.tune.events import ServerTuneResult, TuneEvent, TuneResult
from phitui.workbench.tune.form import Questions, TuneForm
from phitui.workbench.tune.local import tune
from phitui.workbench.tune.profiles import KeptTuning, forget, profiles, server_profiles
from phitui.workbench.tune.run_state import LocalRunState, RunState, ServerRunState
from phitui.workbench.tune.saved import keep
from phitui.workbench.tune.server import tune_server

# What a prompt would do to it.
_ABOUT, _ABOUT_SERVER = "the chat has no engine", "a prompt to the server would be measured, too"


@dataclass(frozen=True)
class Hooks:
    """All are called on the event loop. `changed`: something to show is different; `watch`: an event of the tuner's
    engine; `say`: one line for a person."""

    changed: Callable[[], None]
    watch: Callable[[Event], None]
    say: Callable[[str], None]


class Tuner:
    """One tuning at a time, and those that were kept."""

    def __init__(
        self,
        client: Engines,
        config: CurrentConfig,
        leases: Leases,
        switching: Switching,
        hooks: Hooks,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.run_state: RunState | None = None
        self.profiles: list[KeptTuning] = []
        self.profiles_problem = ""
        self._client, self._config, self._leases, self._switching = client, config, leases, switching
        self._hooks, self._environ = hooks, environ
        self._lease: Lease | None = None
        self._go = asyncio.Event()
        self._probing: ProbingEngine | None = None
        self._tuning: asyncio.Task[TuneResult | ServerTuneResult] | None = None
        self._task: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._cancelled = self._closing = False

    @property
    def busy(self) -> bool:
        """Whether a tuning is under way."""
        return self._lease is not None

    @property
    def paused(self) -> bool:
        """Whether no other probe begins."""
        return self.busy and not self._go.is_set()

    @property
    def cancelling(self) -> bool:
        """Whether the tuning has been cancelled and has not ended yet."""
        return self._cancelled and self.busy

    @property
    def pid(self) -> int | None:
        """The process of the tuner's engine."""
        return self._probing.pid if self._probing is not None else None

    @property
    def on_server(self) -> bool:
        """Whether a server would be tuned."""
        return not self._client.is_local

    @property
    def questions(self) -> Questions:
        """What there is to ask before a tuning of the engine that answers."""
        return Questions(self.on_server)

    @property
    def config(self) -> Config:
        """What is configured now."""
        return self._config.now

    @property
    def coming_back(self) -> bool:
        """Whether the engine is being loaded, or will be in a moment: a tuning on this machine has ended."""
        ended = self.busy and self.run_state is not None and self.run_state.state != "running"
        return self._switching.busy or (ended and not self.on_server)

    @property
    def model(self) -> tuple[str, int | None]:
        """What would be tuned, and its context window; while a tuning runs the model that it tunes."""
        loaded = self._client.loaded
        if loaded is not None:
            on = f" on {loaded.remote.name}" if loaded.remote is not None else ""
            return f"{loaded.title}{on}", loaded.context_window
        return (self.run_state.title if self.run_state is not None and self.busy else ""), None

    @property
    def model_name(self) -> str:
        """What kept tunings call the model that would be tuned; "" while none is loaded."""
        loaded = self._client.loaded
        return "" if loaded is None else loaded.remote.model if loaded.remote is not None else loaded.name

    def losses(self, use: Use = Use.TUNING) -> list[str]:
        """What a start of a tuning would stop, or another use of the engine; a sentence each."""
        return self._leases.losses(use)

    def check_start(self) -> None:
        """Raise UsageError where no tuning can begin now."""
        self._leases.check(Use.TUNING)

    def start(self, form: TuneForm, title: str) -> None:
        """Tune; the chat's engine on this machine stops for it. An answer on its way is stopped. Raises UsageError as
        `check_start`, and where the wish is not for the engine that answers now."""
        self.check_start()
        if isinstance(form.goal, ServerGoal) is not self.on_server:
            raise UsageError("another engine answers now", "s asks again what to tune for.")
        self._lease = lease = self._leases.claim(Use.TUNING, _ABOUT_SERVER if self.on_server else _ABOUT)
        if lease is None:  # a tuning waits for nothing: it stops, or is refused
            raise UsageError("the engine is not free", "Try again in a moment.")
        self._cancelled = False
        self._go.set()
        self.run_state = ServerRunState(form, title) if self.on_server else LocalRunState(form, title)
        self._task = start_task(self._run(self.run_state, lease))
        self._hooks.changed()

    def toggle_pause(self) -> None:
        """Let no other probe begin, or let it. Raises UsageError where nothing is tuned."""
        if not self.busy:
            raise UsageError("no tuning is under way: there is nothing to pause")
        if self._go.is_set():
            self._go.clear()
        else:
            self._go.set()
        self._hooks.changed()

    def cancel(self) -> None:
        """End the tuning, in the middle of a probe too. Raises UsageError where nothing is tuned."""
        if not self.busy:
            raise UsageError("no tuning is under way: there is nothing to cancel")
        if not self._cancelled:  # a second time would cut short how it ends its process
            self._cancelled = True
            if self._tuning is not None:
                self._tuning.cancel()
        self._hooks.changed()

    async def apply(self, chosen: Settings) -> None:
        """Write the settings into the user's configuration, and have the engine run with them. An answer on its way is
        stopped where the engine has to start anew for it. Raises PhituiError, and UsageError as `check_apply`."""
        await self.check_apply(chosen)
        path = await asyncio.to_thread(apply, chosen, self._environ)
        self._config.now = with_settings(self._config.now, chosen)
        self._hooks.changed()
        self._hooks.say(f"Written to {shown_path(path)}: {in_words(chosen)}.")
        folder = self._client.folder
        if self.restarts(chosen) and folder is not None:
            self._switching.to(LocalModel(Path(folder)))

    async def check_apply(self, chosen: Settings) -> None:
        """Raise UsageError where there is no place to write the settings to, or the engine could not start anew now."""
        if self.restarts(chosen):
            self._leases.check(Use.SWITCH)
        await asyncio.to_thread(check_place, chosen, self._config.now, self._environ)

    def restarts(self, chosen: Settings) -> bool:
        """Whether the engine has to start anew to run with these settings."""
        if self.on_server or "engine.workers" not in chosen:
            return False
        loaded = self._client.loaded
        if loaded is None:
            return self._client.holding is not None
        running = (loaded.workers, loaded.threads, loaded.compute_type)
        return running != tuple(chosen[f"engine.{key}"] for key in ("workers", "threads", "compute_type"))

    def refresh(self) -> None:
        """Read the kept tunings anew, in a thread; `changed` follows."""
        if self._reading is not None:
            self._reading.cancel()
        self._reading = start_task(self._read())

    async def delete(self, profile: KeptTuning) -> None:
        """Take out a kept tuning. Raises PhituiError where that fails."""
        await asyncio.to_thread(forget, profile, self._environ)
        self.refresh()

    async def close(self) -> None:
        """End what is under way, for good."""
        self._closing = True
        if self._reading is not None:
            self._reading.cancel()
        if self._tuning is not None and not self._cancelled:
            self._cancelled = True
            self._tuning.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, run_state: RunState, lease: Lease) -> None:
        folder, on_server = self._client.folder, isinstance(run_state, ServerRunState)
        result: TuneResult | ServerTuneResult | None = None
        try:
            await lease.have_alone()
            if not on_server:
                await self._client.stop()
            result = await self._made(run_state, folder)
            if result is not None:
                await self._keep(result)
        finally:  # whatever it was that went wrong
            if run_state.state == "running":
                run_state.end("failed", error="a defect of phitui's ended it; the log has the rest")
            self._lease = None
            never_was = folder is None and result is None  # no engine before, and there is no model
            if on_server or self._closing or never_was:
                lease.release()
            else:
                self._switching.to(LocalModel(Path(folder)) if folder is not None else Configured(local=True), lease)
            self._hooks.changed()

    async def _tune(self, run_state: RunState, folder: str | None) -> TuneResult | ServerTuneResult:
        """The tuning itself. `folder` is the model that the chat had, which need not be the configured one."""

        def tell(event: TuneEvent) -> None:
            run_state.note(event)  # type: ignore[arg-type]  # a tuning and what it tells are of one kind
            self._hooks.changed()

        now, form = self._config.now, run_state.form
        if isinstance(form.goal, ServerGoal):
            config = replace(now, engine=replace(now.engine, name=self._client.name))
            return await tune_server(config, form.goal, tell, self._environ, self._go)
        config = now if folder is None else replace(now, model=replace(now.model, name=folder))
        vary, environ = form.vary_compute_type, self._environ
        self._probing = ProbingEngine(engine_log(environ), tell, self._hooks.watch)
        try:
            return await tune(config, form.goal, form.limit, tell, vary, environ, self._probing, self._go)
        finally:
            self._probing = None

    async def _made(self, run_state: RunState, folder: str | None) -> TuneResult | ServerTuneResult | None:
        """Its result, None without one; `run_state` says why."""
        # A task of its own: it is what is cancelled, and the engine comes back all the same.
        tuning = self._tuning = asyncio.create_task(self._tune(run_state, folder))
        if self._cancelled:
            tuning.cancel()
        await asyncio.wait({tuning})
        self._tuning = None
        if tuning.cancelled():
            run_state.end("cancelled")
        elif isinstance(error := tuning.exception(), PhituiError):
            run_state.end("failed", error=str(error))
        elif error is not None:
            said = f"an error of phitui itself: {type(error).__name__}: {one_line(str(error), 200)}"
            run_state.end("failed", error=said)
            asyncio.get_running_loop().call_exception_handler({"message": "a tuning failed", "exception": error})
        else:
            found = tuning.result()
            run_state.end("done", found)  # type: ignore[arg-type]  # a tuning and its result are of one kind
            return found
        return None

    async def _keep(self, result: TuneResult | ServerTuneResult) -> None:
        try:
            if problem := await asyncio.to_thread(keep, result, self._environ):
                self._hooks.say(problem)
        except PhituiError as error:
            self._hooks.say(f"What the tuning found is not kept: {error}")
        self.refresh()

    async def _read(self) -> None:
        loaded, pid = self._client.loaded, self.pid or self._client.pid
        if not self.on_server:
            found = await asyncio.to_thread(profiles, self._client.folder, pid, self._environ)
        elif loaded is not None and loaded.remote is not None:
            found = await asyncio.to_thread(server_profiles, loaded.remote, self._environ)
        else:
            found = [], f"{self._client.name} is not connected"
        self.profiles, self.profiles_problem = found
        self._hooks.changed()
