"""Between the console and the tuner: opens the tuner screen, brings news of a tuning to the chat and the gauges."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from textual.app import App, SystemCommand

from phitui.config.layers import Config
from phitui.core.errors import PhituiError, UsageError
from phitui.core.ipc.messages import Progress
from phitui.core.text import one_line
from phitui.engine.protocol.api import Event
from phitui.tui.app.model_actions import ModelFront
from phitui.tui.screens.console import ConsoleScreen
from phitui.tui.terminal.display import graphs_in_ascii
from phitui.workbench.engines import Engines

if TYPE_CHECKING:
    from phitui.tui.screens.tuner import TunerScreen
    from phitui.workbench.tune.run_state import Course
    from phitui.workbench.tune.tuner import TuningDesk

TAKEN = "a tuning is under way"
_BEGINS = "Tuning: the engine stops, and comes back when it is over; prompts are not taken meanwhile."
_SERVER_BEGINS = "Tuning {name}: prompts are not taken meanwhile, they would be measured, too."


class TuningFront:
    """`show_event` brings an event of the engine to the screen; `showing` tells whether there is still a screen to show
    anything on. What it is made of is imported when it is first needed, after the first frame."""

    def __init__(
        self,
        app: App[None],
        console: ConsoleScreen,
        engine: Engines,
        models: ModelFront,
        config: Config,
        show_event: Callable[[Event], None],
        showing: Callable[[], bool],
    ) -> None:
        self._app, self._console, self._engine, self._models = app, console, engine, models
        self._config = config
        self._show_event = show_event
        self._showing = showing
        self._desk: TuningDesk | None = None
        self.screen: TunerScreen | None = None
        self._told: Course | None = None
        self._tuning = False
        # What the other fronts are asked and told; the app sets them.
        self.batch_runs: Callable[[], bool] = lambda: False
        self.engine_changes: Callable[[], bool] = lambda: False
        self.hold_batches: Callable[[str], None] = lambda _: None
        self.configured: Callable[[Config], None] = lambda _: None

    @property
    def desk(self) -> TuningDesk:
        """The tuning, and those that were kept."""
        if self._desk is None:
            from phitui.workbench.tune.tuner import Hooks, TuningDesk

            hooks = Hooks(self._on_change, self._watch, self._show_event, self._say, self._configure)
            self._desk = TuningDesk(self._engine, self._config, self._console.chat, hooks)
        return self._desk

    @property
    def refusal(self) -> str:
        """Why nobody else has the engine now, "" where that is not so."""
        return TAKEN if self._tuning else ""

    @property
    def pid(self) -> int | None:
        """The process of the tuner's engine. From any thread."""
        return self._desk.pid if self._desk is not None else None

    async def close(self) -> None:
        """End a tuning."""
        if self._desk is not None:
            await self._desk.close()

    def open(self) -> None:
        """Open the tuner screen on top of the console."""
        from phitui.tui.screens.tuner import TunerScreen  # most starts never need it

        if self._app.screen is self.screen or not self._console.to_front():
            return
        if self.screen is None:
            ascii_only = graphs_in_ascii(self._config.monitor.symbols, self._config.console.symbols)
            self.screen = TunerScreen(self.desk, self._check_ready, self._answering, self._about_model, ascii_only)
            self._app.install_screen(self.screen, "tuner")  # else closing it would be its end
        self._app.push_screen(self.screen)

    def commands(self) -> Iterable[SystemCommand]:
        """What the command palette offers."""
        local = "Find the fastest batch and configuration for this machine"
        about = local if self._engine.is_local else "Find how many requests at once the server is best asked"
        yield SystemCommand("Tuner", about, self.open)
        if self._tuning:
            yield SystemCommand("Cancel tuning", "At once, in the middle of a probe too", self._cancel)

    def tick(self) -> None:
        """A second has gone by."""
        if self.screen is not None and self._app.screen is self.screen:
            self.screen.show()

    def _cancel(self) -> None:
        try:
            self.desk.cancel()
        except PhituiError as error:
            self._app.notify(str(error), severity="warning")

    def _check_ready(self) -> None:
        """Raise UsageError where no tuning can begin now."""
        self.desk.check_start()
        if self.batch_runs():
            raise UsageError("a batch is running on the engine", "Wait for it, or stop it: F5.")
        starting = self._models.starting
        if starting is not None and not starting.done():
            raise UsageError("the console is still starting its engine", "Wait until the model is loaded.")
        if self.engine_changes():
            raise UsageError("another engine is being connected", "Wait until it is there.")
        if self._models.desk.switching.busy:
            raise UsageError("another model is being loaded", "Wait until it is there.")
        if self._models.desk.work.busy:
            name = one_line(self._models.desk.work.name, 60)
            raise UsageError(f"{name} is being worked on, which would be measured, too", "Wait for it, or stop it.")

    def _answering(self) -> bool:
        return self._console.chat.answering

    def _about_model(self) -> tuple[str, int | None]:
        loaded = self._engine.loaded
        if loaded is not None:
            on = f" on {loaded.remote.name}" if loaded.remote is not None else ""
            return f"{loaded.title}{on}", loaded.context_window
        course = self.desk.course
        return (course.title if course is not None and self.desk.busy else ""), None

    def _on_change(self) -> None:
        """The tuning has gone on, or the kept ones are others."""
        if not self._showing():
            return
        course, tuning = self.desk.course, self.desk.engine == "tuner"
        if tuning != self._tuning:
            self._tuning = tuning
            self._hand_over(tuning)
        if tuning and course is not None:
            self._console.engine_status.show_state(f"tuning: {_where(course, self.desk.paused)} · F3 shows it")
        elif course is not None and course is not self._told and not tuning:
            self._told = course
            self._say(_outcome(course))
            self._console.notices.end("tuning", _outcome(course))
        if self.screen is not None:
            self.screen.show()

    def _hand_over(self, to_tuner: bool) -> None:
        """What is told of the engine is the tuner's or the chat's from here on, and so are the gauges, but for a
        server, which the chat's engine stays with."""
        on_server = not self._engine.is_local
        if not on_server:
            performance = self._console.performance
            performance.probing = to_tuner
            performance.note_event(Progress("load", ""))  # what was loaded before is gone
        self._models.desk.taken = TAKEN if to_tuner else ""
        self.hold_batches(self.refusal)
        if to_tuner:
            self._console.notices.begin("tuning")
            self._say(_SERVER_BEGINS.format(name=self._engine.name) if on_server else _BEGINS)
        self._console.engine_status.show_lent(to_tuner)

    def _watch(self, event: Event) -> None:
        """The tuner's engine: the gauges show what it holds."""
        self._console.performance.note_event(event)

    def _configure(self, config: Config) -> None:
        self._models.desk.switching.config = config
        self.configured(config)
        self._console.show_budget(config.engine)

    def _say(self, text: str) -> None:
        if self._showing():
            self._console.say(text)


def _where(course: Course, paused: bool) -> str:
    if course.running is not None:
        return f"probe {course.running.number}, {course.size}"
    return "paused" if paused else f"after {len(course.probes)} probes" if course.probes else "getting ready"


def _outcome(course: Course) -> str:
    """One line for the chat."""
    if course.found:
        return f"Tuned: {course.found}. F3 shows it, a writes it into your config.toml."
    return f"The tuning failed: {course.error}" if course.state == "failed" else "The tuning was cancelled."
