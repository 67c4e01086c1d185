"""A tuning inside the console. On this machine it takes the engine's place, so that memory is never taken for two
models; of a server it only keeps the chat from asking it meanwhile, which would be measured, too."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from msgspec.structs import replace

from phitui.config.layers import Config, shown_path
from phitui.core.errors import PhituiError, UnavailableError, UsageError
from phitui.core.ipc.messages import Failure
from phitui.core.tasks import start_task
from phitui.core.text import one_line
from phitui.engine.protocol.api import Event
from phitui.workbench.chat.chat import Chat
from phitui.workbench.engines import Engines
from phitui.workbench.measure.probing import ProbingEngine
from phitui.workbench.start import engine_log, load_folder, start_local
from phitui.workbench.tune.apply import Settings, apply, check_place, in_words, with_settings
from phitui.workbench.tune.events import TuneEvent, TuneResult
from phitui.workbench.tune.form import LOCAL_QUESTIONS, SERVER_QUESTIONS, LoadWish, Questions, Wish
from phitui.workbench.tune.local import tune
from phitui.workbench.tune.profiles import Profile, forget, keep, profiles, server_profiles
from phitui.workbench.tune.run_state import Course, LocalCourse, ServerCourse
from phitui.workbench.tune.server import LoadEvent, LoadResult, tune_server

# Whose the engine is: the chat's, the tuner's, or nobody's while it is handed over.
Engine = Literal["chat", "handed over", "tuner"]
_FIX = "Wait for it, or cancel it (F3, then c)."
REFUSAL = UnavailableError("a tuning is under way: the chat has no engine", _FIX)
SERVER_REFUSAL = UnavailableError("a tuning of the server is under way: a prompt would be measured, too", _FIX)

Result = TypeVar("Result", TuneResult, LoadResult)


@dataclass(frozen=True)
class Hooks:
    """All are called on the event loop. `changed`: something to show is different; `watch`: an event of the tuner's
    engine; `pass_on`: there is no engine any more for this reason; `say`: one line for the chat; `configured`: other
    settings hold from here on."""

    changed: Callable[[], None]
    watch: Callable[[Event], None]
    pass_on: Callable[[Event], None]
    say: Callable[[str], None]
    configured: Callable[[Config], None]


class TuningDesk:
    """One tuning at a time, and those that were kept."""

    def __init__(
        self,
        client: Engines,
        config: Config,
        chat: Chat,
        hooks: Hooks,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.config = config
        self.course: Course | None = None
        self.engine: Engine = "chat"
        self.profiles: list[Profile] = []
        self.profiles_problem = ""
        self._client, self._chat, self._hooks, self._environ = client, chat, hooks, environ
        self._go = asyncio.Event()
        self._probing: ProbingEngine | None = None
        self._tuning: asyncio.Task[TuneResult] | asyncio.Task[LoadResult] | None = None
        self._task: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._cancelled = self._closing = False

    @property
    def busy(self) -> bool:
        """Whether a tuning is under way, or the engine is handed over."""
        return self.engine != "chat"

    @property
    def paused(self) -> bool:
        """Whether no other probe begins."""
        return self.engine == "tuner" and not self._go.is_set()

    @property
    def cancelling(self) -> bool:
        """Whether the tuning has been cancelled and has not ended yet."""
        return self._cancelled and self.engine == "tuner"

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
        return SERVER_QUESTIONS if self.on_server else LOCAL_QUESTIONS

    def check_start(self) -> None:
        """Raise UsageError where a tuning is under way already."""
        if self.engine == "tuner":
            raise UsageError("a tuning is under way already", "c cancels it.")
        if self.engine == "handed over":
            raise UsageError("the engine is being handed over", "Try again in a moment.")

    def start(self, wish: Wish | LoadWish, title: str) -> None:
        """Tune; the chat's engine on this machine stops for it. An answer on its way is stopped. Raises UsageError as
        `check_start`, and where the wish is not for the engine that answers now."""
        self.check_start()
        if isinstance(wish, LoadWish) is not self.on_server:
            raise UsageError("another engine answers now", "s asks again what to tune for.")
        self.engine = "tuner"
        self._cancelled = False
        self._go.set()
        if isinstance(wish, LoadWish):
            self._chat.refusal, self.course = SERVER_REFUSAL, ServerCourse(wish, title)
            self._begin(self._run_on_server(self.course))
        else:
            self._chat.refusal, self.course = REFUSAL, LocalCourse(wish, title)
            self._begin(self._run(self.course))
        self._hooks.changed()

    def toggle_pause(self) -> None:
        """Let no other probe begin, or let it. Raises UsageError where nothing is tuned."""
        if self.engine != "tuner":
            raise UsageError("no tuning is under way: there is nothing to pause")
        if self._go.is_set():
            self._go.clear()
        else:
            self._go.set()
        self._hooks.changed()

    def cancel(self) -> None:
        """End the tuning, in the middle of a probe too. Raises UsageError where nothing is tuned."""
        if self.engine != "tuner":
            raise UsageError("no tuning is under way: there is nothing to cancel")
        if not self._cancelled:  # a second time would cut short how it ends its process
            self._cancelled = True
            if self._tuning is not None:
                self._tuning.cancel()
        self._hooks.changed()

    async def apply(self, chosen: Settings) -> None:
        """Write the settings into the user's configuration, and have the engine run with them. An answer on its way is
        stopped where the engine has to start anew for it. Raises PhituiError, and UsageError as `check_start` and
        `check_apply`."""
        self.check_start()
        await self.check_apply(chosen)
        path = await asyncio.to_thread(apply, chosen, self._environ)
        self.config = with_settings(self.config, chosen)
        self._hooks.configured(self.config)
        self._hooks.say(f"Written to {shown_path(path)}: {in_words(chosen)}.")
        folder = self._client.folder
        if self.restarts(chosen) and folder is not None and not self.busy:
            self.engine = "handed over"
            self._begin(self._restart(folder))

    async def check_apply(self, chosen: Settings) -> None:
        """Raise UsageError where there is no place to write the settings to."""
        await asyncio.to_thread(check_place, chosen, self.config, self._environ)

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

    async def delete(self, profile: Profile) -> None:
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
            if self.engine == "handed over":
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        self._task = start_task(work)

    async def _run(self, course: LocalCourse) -> None:
        folder = self._client.folder
        config = self.config
        if folder is not None:  # the model that the chat has now, which need not be the configured one
            config = replace(config, model=replace(config.model, name=folder))
        await self._chat.release()
        await self._client.stop()
        result = await self._tune(config, course)
        self.engine = "handed over"
        self._chat.refusal = None
        self._hooks.changed()
        if result is not None:
            await self._keep(result)
        if folder is not None or result is not None:  # with neither there was no engine before, and there is no model
            await self._restart(folder)
        else:
            self._handed_back()

    async def _run_on_server(self, course: ServerCourse) -> None:
        def tell(event: LoadEvent) -> None:
            course.note(event)
            self._hooks.changed()

        config = replace(self.config, engine=replace(self.config.engine, name=self._client.name))
        try:
            await self._chat.hold()
            work = tune_server(config, course.wish.goal, tell, self._environ, self._go)
            result = await self._made(work, course)
            if result is not None:
                await self._keep(result)
        finally:  # whatever it was that went wrong
            if course.state == "running":
                course.end("failed", error="a defect of phitui's ended it; the log has the rest")
            self._chat.refusal = None
            if not self._closing:
                self._chat.go_on()
            self._handed_back()

    async def _tune(self, config: Config, course: LocalCourse) -> TuneResult | None:
        """The tuning itself; `course` says how it ended."""

        def tell(event: TuneEvent) -> None:
            course.note(event)
            self._hooks.changed()

        wish = course.wish
        self._probing = ProbingEngine(engine_log(self._environ), tell, self._hooks.watch)
        work = tune(config, wish.goal, wish.limit, tell, wish.vary_compute_type, self._environ, self._probing, self._go)
        try:
            return await self._made(work, course)
        finally:
            self._probing = None

    async def _made(self, work: Coroutine[None, None, Result], course: Course) -> Result | None:
        """Its result, None without one; `course` says why."""
        # A task of its own: it is what is cancelled, and the engine comes back all the same.
        tuning = self._tuning = asyncio.create_task(work)
        if self._cancelled:
            tuning.cancel()
        try:
            await asyncio.wait({tuning})
            return self._judge(tuning, course)
        finally:
            self._tuning = None

    def _judge(self, tuning: asyncio.Task[Result], course: Course) -> Result | None:
        if tuning.cancelled():
            course.end("cancelled")
        elif isinstance(error := tuning.exception(), PhituiError):
            course.end("failed", error=str(error))
        elif error is not None:
            said = f"an error of phitui itself: {type(error).__name__}: {one_line(str(error), 200)}"
            course.end("failed", error=said)
            asyncio.get_running_loop().call_exception_handler({"message": "a tuning failed", "exception": error})
        else:
            found = tuning.result()
            course.end("done", found)  # type: ignore[arg-type]  # a course and its tuning are of one kind
            return found
        return None

    async def _keep(self, result: TuneResult | LoadResult) -> None:
        try:
            if problem := await asyncio.to_thread(keep, result, self._environ):
                self._hooks.say(problem)
        except PhituiError as error:
            self._hooks.say(f"What the tuning found is not kept: {error}")
        self.refresh()

    async def _restart(self, folder: str | None) -> None:
        """Have the chat's engine load `folder`, else the configured model, as it is configured now."""
        if self._closing:
            return
        try:
            await self._chat.release()
            if folder is not None:
                await load_folder(self._client, self.config, Path(folder), self._environ)
            else:
                await start_local(self._client, self.config, self._hooks.watch, self._environ)
        except PhituiError as error:
            self._hooks.pass_on(Failure.of(error))
        self._handed_back()

    def _handed_back(self) -> None:
        self.engine = "chat"
        self._hooks.changed()

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
