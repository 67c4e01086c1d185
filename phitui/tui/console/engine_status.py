"""What the engine and the work on models have to tell, on the console's screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.screen import Screen

from phitui.core.errors import PhituiError
from phitui.core.ipc.messages import Failure, Progress
from phitui.engine.protocol.api import BatchEnded, BatchState, Died, Event, Loaded, Parked, ParkRefused, Retrying, Woken
from phitui.models.catalog import DEMO
from phitui.tui.terminal.notices import Notices
from phitui.tui.widgets.gauges import GaugeColumn, GaugeLine
from phitui.tui.widgets.progress import ProgressLine
from phitui.tui.widgets.status import StatusLine, activity, ready_line
from phitui.tui.widgets.welcome import Welcome
from phitui.workbench.workbench import Workbench

if TYPE_CHECKING:
    from phitui.workbench.models.work import ModelWork

_WORK = "models"  # of the notices


class EngineStatus:
    """The console's helper."""

    def __init__(self, screen: Screen[None], workbench: Workbench, notices: Notices) -> None:
        self._screen, self._workbench, self._notices = screen, workbench, notices
        self._answers: str | None = None  # the folder of the model, or the remote engine, that was ready last
        self._engine_progress: Progress | None = None
        self._work_progress: Progress | None = None
        self._batch_rows = 0

    def show(self, event: Event) -> None:
        """An event of the engine that is not of an answer."""
        if isinstance(event, Progress):
            self._engine_progress = event
            self._show_progress()
            self.show_state(event.text)
        elif isinstance(event, Loaded):
            self._on_loaded(event)
        elif isinstance(event, Failure):
            self.show_failure(event.error())
        elif isinstance(event, Died):
            self._on_died(event)
        elif isinstance(event, ParkRefused):
            self._workbench.say(str(event.failure.error()), "warn")
        elif isinstance(event, Parked | Woken):
            self._on_parking(event)
        elif isinstance(event, Retrying):
            self._workbench.say(event.text, "warn")

    def show_failure(self, error: PhituiError) -> None:
        """The engine cannot be had: say why and what to do; the screen stays."""
        self._engine_progress = None
        self._show_progress()
        self._screen.query_one(StatusLine).show_state("no engine")
        self._workbench.say(str(error), "bad")

    def show_switching(self, title: str) -> None:
        """The engine is being changed to this from here on; "" says that the one before stays."""
        if not title:
            self._show_what_is_there()
            return
        self._show_parked("")
        self._screen.query_one(StatusLine).show_state(f"loading {title}…")
        self._screen.query_one(StatusLine).show_context(None, None)

    def show_state(self, text: str) -> None:
        """What the engine is doing, in the line at the top."""
        self._screen.query_one(StatusLine).show_state(text)

    def show_lent(self, lent: bool) -> None:
        """The engine is the tuner's from here on, or the chat's again."""
        self._show_parked("")
        if lent:
            self._engine_progress = None
            self._show_progress()
            self.show_state("tuning…")
        else:
            self._show_what_is_there()

    def _show_what_is_there(self) -> None:
        self._engine_progress = None
        self._show_progress()
        loaded = self._workbench.engine.loaded
        if loaded is not None:
            self._screen.query_one(StatusLine).show_loaded(loaded)
        else:
            self.show_state("the engine is starting again…" if self._answers else "no engine")

    def show_work(self, work: ModelWork) -> None:
        """A pull or another piece of work on the models has gone on, or has ended."""
        ended = self._work_progress is not None and work.progress is None
        self._work_progress = work.progress
        if work.progress is not None:
            self._notices.begin(_WORK)
        self._show_progress()
        if ended and work.outcome is not None:
            self._workbench.say(work.outcome.text, "bad" if work.outcome.failed else "")
            self._notices.end(_WORK, work.outcome.text)

    def show_activity(self, event: Event) -> None:
        """What the engine does after `event`, in the line at the top."""
        if isinstance(event, BatchState | BatchEnded):
            self._batch_rows = event.alive if isinstance(event, BatchState) else 0
        self._screen.query_one(StatusLine).show_activity(activity(self._workbench.chat, self._batch_rows))

    def _show_progress(self) -> None:
        """One line for both: what the prompt waits for comes first."""
        progress = self._engine_progress or self._work_progress
        if progress is None:
            self._screen.query_one(ProgressLine).done()
        else:
            self._screen.query_one(ProgressLine).show(progress)

    def _show_parked(self, place: str) -> None:
        """Say in the gauges that the model is parked, or with "" that it is not."""
        self._screen.query_one(GaugeColumn).show_parked(place)
        self._screen.query_one(GaugeLine).show_parked(place)

    def _on_loaded(self, loaded: Loaded) -> None:
        self._engine_progress = None
        self._show_progress()
        self._show_parked("")
        self._screen.query_one(StatusLine).show_loaded(loaded)
        self._screen.query_one(GaugeColumn).show_elsewhere(loaded.remote)
        before, self._answers = self._answers, loaded.remote.name if loaded.remote else self._workbench.engine.folder
        ready = ready_line(loaded)
        if before is not None and before == self._answers:
            self._workbench.say(f"The engine is back after {loaded.load_s:.1f} s.", "")
        elif before is not None:
            self._workbench.say(f"From here on another model answers. {ready}", "")
        else:
            self._workbench.say(ready, "")
            if loaded.name == DEMO.name and not self._screen.query_one(Welcome).display:  # which says it, too
                self._workbench.say("This is a small demo model. F2 gets Phi-3 Mini.", "")

    def _on_parking(self, event: Parked | Woken) -> None:
        """The model went to rest, or was brought back for a prompt."""
        loaded = self._workbench.engine.loaded
        if isinstance(event, Woken):
            self._show_parked("")
            if loaded is not None:
                self._screen.query_one(StatusLine).show_loaded(loaded)
            self._workbench.say(f"The model was brought back in {event.seconds:.1f} s.", "")
        elif loaded is not None:
            self._show_parked(event.place)
            self._screen.query_one(StatusLine).show_state(f"{loaded.title} · parked ({event.place})")

    def _on_died(self, died: Died) -> None:
        what = (
            "it is being restarted"
            if died.restarting
            else "it keeps dying and is not restarted; quit and see phitui doctor"
        )
        self._show_parked("")
        self._screen.query_one(StatusLine).show_state("restarting the engine…" if died.restarting else "no engine")
        self._workbench.say(f"The engine died ({died.reason}): {what}.", "bad")
