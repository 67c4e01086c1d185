"""A tuning inside the console: it takes the engine's place, so that memory is never taken for two models."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from phitui.config import Config, shown_path
from phitui.engine.api import Event
from phitui.engine.client import raise_in_loop
from phitui.errors import PhituiError, UnavailableError, UsageError
from phitui.ipc.messages import Failure
from phitui.jobs.chat import Chat
from phitui.jobs.engines import Engines
from phitui.jobs.probing import ProbingEngine
from phitui.jobs.start import engine_log, load_folder, start_local
from phitui.jobs.tune import tune
from phitui.jobs.tune_events import TuneEvent, TuneResult
from phitui.jobs.tuning_course import Course
from phitui.jobs.tuning_profiles import Profile, profiles
from phitui.jobs.tuning_settings import Settings, apply, in_words, with_settings
from phitui.jobs.tuning_wish import Wish
from phitui.jobs.tunings import remember, tunings_file
from phitui.store.tunings import remove_tuning

# Whose the engine is: the chat's, the tuner's, or nobody's while it is handed over.
Engine = Literal["chat", "handed over", "tuner"]
REFUSAL = UnavailableError("a tuning is under way: the chat has no engine", "Wait for it, or cancel it (F3, then c).")


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
        self._tuning: asyncio.Task[TuneResult] | None = None
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

    def check_start(self) -> None:
        """Raise UsageError where a tuning is under way already."""
        if self.engine == "tuner":
            raise UsageError("a tuning is under way already", "c cancels it.")
        if not self._client.is_local:
            raise UsageError(
                f"the tuner measures the local engine, and {self._client.name} answers", "Choose ct2 first."
            )
        if self.engine == "handed over":
            raise UsageError("the engine is being handed over", "Try again in a moment.")

    def start(self, wish: Wish, title: str) -> None:
        """Stop the chat's engine and tune. An answer on its way is stopped. Raises UsageError as `check_start`."""
        self.check_start()
        self.course = Course(wish, title)
        self.engine = "tuner"
        self._cancelled = False
        self._go.set()
        self._chat.refusal = REFUSAL
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
        stopped where the engine has to start anew for it. Raises PhituiError, and UsageError as `check_start`."""
        self.check_start()
        path = await asyncio.to_thread(apply, chosen, self._environ)
        self.config = with_settings(self.config, chosen)
        self._hooks.configured(self.config)
        self._hooks.say(f"Written to {shown_path(path)}: {in_words(chosen)}.")
        folder = self._client.folder
        if self.restarts(chosen) and folder is not None and not self.busy:
            self.engine = "handed over"
            self._begin(self._restart(folder))

    def restarts(self, chosen: Settings) -> bool:
        """Whether the engine has to start anew to run with these settings."""
        loaded = self._client.loaded
        if loaded is None:
            return self._client.holding is not None
        running = (loaded.workers, loaded.threads, loaded.compute_type)
        return running != tuple(chosen[f"engine.{key}"] for key in ("workers", "threads", "compute_type"))

    def refresh(self) -> None:
        """Read the kept tunings anew, in a thread; `changed` follows."""
        if self._reading is not None:
            self._reading.cancel()
        self._reading = asyncio.create_task(self._read())
        self._reading.add_done_callback(raise_in_loop)

    async def delete(self, profile: Profile) -> None:
        """Take out a kept tuning. Raises PhituiError where that fails."""
        await asyncio.to_thread(remove_tuning, tunings_file(self._environ), profile.tuning)
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
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(raise_in_loop)

    async def _run(self, course: Course) -> None:
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

    async def _tune(self, config: Config, course: Course) -> TuneResult | None:
        """The tuning itself; `course` says how it ended."""

        def tell(event: TuneEvent) -> None:
            course.note(event)
            self._hooks.changed()

        wish = course.wish
        self._probing = ProbingEngine(engine_log(self._environ), tell, self._hooks.watch)
        work = tune(config, wish.goal, wish.limit, tell, wish.vary_compute_type, self._environ, self._probing, self._go)
        # A task of its own: it is what is cancelled, and the engine comes back all the same.
        self._tuning = asyncio.create_task(work)
        if self._cancelled:
            self._tuning.cancel()
        try:
            await asyncio.wait({self._tuning})
            return self._judge(self._tuning, course)
        finally:
            self._tuning = self._probing = None

    def _judge(self, tuning: asyncio.Task[TuneResult], course: Course) -> TuneResult | None:
        if tuning.cancelled():
            course.end("cancelled")
        elif isinstance(error := tuning.exception(), PhituiError):
            course.end("failed", error=str(error))
        else:
            course.end("done", tuning.result())  # an error that is none of ours goes to the loop's handler
        return course.result

    async def _keep(self, result: TuneResult) -> None:
        try:
            await asyncio.to_thread(remember, result, self._environ)
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
        pid = self.pid or self._client.pid
        found = await asyncio.to_thread(profiles, self._client.folder, pid, self._environ)
        self.profiles, self.profiles_problem = found
        self._hooks.changed()
