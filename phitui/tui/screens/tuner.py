"""The tuner screen: charts and table of a tuning while it runs, its answer, and the tunings that were kept."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType

from phitui.config.layers import shown_path, user_config_file
from phitui.core.errors import PhituiError, UsageError
from phitui.core.text import one_line
from phitui.storage.server_tunings import LoadTuning
from phitui.tui.charts.canvas import Canvas
from phitui.tui.charts.cells import Row
from phitui.tui.tuner.picture import Picture
from phitui.tui.tuner.views import WIDE
from phitui.tui.widgets.dialogs import Confirm
from phitui.tui.widgets.single_dismiss import LeftOnce
from phitui.tui.widgets.tuning_form import TuningForm
from phitui.workbench.tune.apply import Settings, in_words, settings
from phitui.workbench.tune.form import LoadWish, Wish
from phitui.workbench.tune.tuner import TuningDesk

_PAGE = 8
# How the keys stand in the last row.
_IN_ORDER = [
    *(f"tuner.{name}" for name in ("back", "start", "pause", "cancel", "apply", "earlier", "delete", "pane", "chart")),
    "app.quit",
    "app.theme",
]


class TunerScreen(LeftOnce[None]):
    """Shows `desk`; leaving it leaves the tuning alone. `ready` raises PhituiError where none can begin now,
    `answering` tells whether that would stop an answer, `about_model` gives the model's title and context window."""

    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f3", "back", "Back", key_display="esc", id="tuner.back"),
        Binding("s", "start", "Start", id="tuner.start"),
        Binding("space", "pause", "Pause", id="tuner.pause"),
        Binding("c", "cancel", "Cancel", id="tuner.cancel"),
        Binding("a", "apply", "Apply", id="tuner.apply"),
        Binding("e", "earlier", "Earlier", id="tuner.earlier"),
        Binding("d,delete", "delete", "Delete", key_display="d", id="tuner.delete"),
        Binding("tab", "pane", "Table", key_display="tab", id="tuner.pane"),
        Binding("v", "chart", "Chart", id="tuner.chart"),
        Binding("f4", "app.monitor", "Monitor", show=False, id="tuner.monitor"),
        Binding("up", "move(-1)", "Row above", show=False, id="tuner.up"),
        Binding("down", "move(1)", "Row below", show=False, id="tuner.down"),
        Binding("pageup", f"move({-_PAGE})", "Rows above", show=False, id="tuner.page_up"),
        Binding("pagedown", f"move({_PAGE})", "Rows below", show=False, id="tuner.page_down"),
        Binding("home", "move(-10000)", "First row", show=False, id="tuner.first"),
        Binding("end", "move(10000)", "Last row", show=False, id="tuner.last"),
    ]

    def __init__(
        self,
        desk: TuningDesk,
        ready: Callable[[], None],
        answering: Callable[[], bool],
        about_model: Callable[[], tuple[str, int | None]],
        ascii_only: bool,
    ) -> None:
        super().__init__()
        self.desk = desk
        self._ready, self._answering, self._about_model = ready, answering, about_model
        self.picture = Picture(ascii_only)
        self.canvas = Canvas(self._rows, ascii_only)
        self._texts: dict[bool, Mapping[str, str]] = {}  # of the form, by whether it was a server's
        self._vary = True
        self._seen: tuple[str, str] | None = None

    def compose(self) -> ComposeResult:
        yield self.canvas

    def on_mount(self) -> None:
        self.picture.pane = "earlier" if self.desk.course is None else "probes"

    def on_screen_resume(self) -> None:
        self.desk.refresh()  # another engine may answer than before
        self.show()

    def show(self) -> None:
        """Something of the tuning is different, or a second has gone by: paint what has changed."""
        picture, desk = self.picture, self.desk
        picture.course, picture.model, picture.on_server = desk.course, self._about_model()[0], desk.on_server
        picture.status = self._status()
        picture.kept.take(desk.profiles, desk.profiles_problem, desk.on_server)
        self._follow()
        if self.is_attached and self.is_current and self.canvas.size.height:
            self.canvas.show()

    def say(self, text: str, bad: bool = False) -> None:
        """One line above the keys."""
        self.picture.said, self.picture.bad = text, bad
        self.show()

    def _follow(self) -> None:
        """Say what else goes on when a tuning begins, and how it has ended, once each."""
        course = self.desk.course
        state = (course.state, course.before) if course is not None else None
        if state != self._seen and course is not None:
            said = {
                "running": (course.before, False),
                "done": ("Done. a writes the answer into your config.toml.", False),
                "cancelled": ("The tuning was cancelled.", False),
                "failed": (course.error, True),
            }
            self.picture.said, self.picture.bad = said[course.state]
            self._seen = state

    def _status(self) -> str:
        desk, course = self.desk, self.desk.course
        if desk.engine == "handed over":
            return "the engine comes back"
        if desk.cancelling:
            return "cancelling"
        if desk.paused:
            return "pausing after this probe" if course is not None and course.running is not None else "paused"
        return "tuning" if desk.engine == "tuner" else course.state if course is not None else ""

    def _rows(self, width: int, height: int) -> list[Row]:
        return self.picture.rows(width, height, self._keys(width))

    def _keys(self, width: int) -> list[tuple[str, str]]:
        """The keys that do something now, with what they do."""
        active = {bound.binding.id: bound.binding for bound in self.active_bindings.values() if bound.enabled}
        names = {"tuner.pause": "Go on"} if self.desk.paused else {}
        if self.picture.pane == "earlier":
            names["tuner.earlier"] = "Probes"
        useless = self._useless(width)
        shown = [active[each] for each in _IN_ORDER if each in active and each not in useless]
        pairs = [(self.app.get_key_display(each), names.get(each.id or "", each.description)) for each in shown]
        return [*pairs[:4], ("^p", "Palette"), *pairs[4:]]  # whatever finds no room behind it is there

    def _useless(self, width: int) -> set[str]:
        tuning, earlier = self.desk.engine == "tuner", self.picture.pane == "earlier"
        useless = {"tuner.start", "tuner.apply"} if tuning else {"tuner.pause", "tuner.cancel"}
        if not earlier:
            useless.add("tuner.delete")
        if not earlier and (self.desk.course is None or self.desk.course.result is None):
            useless.add("tuner.apply")
        if width >= WIDE:
            useless.add("tuner.chart")
        return useless

    def system_commands(self) -> Iterable[SystemCommand]:
        """What the palette has while this screen is shown."""
        yield SystemCommand("Start tuning", "Ask for lengths and limits, and begin", self.action_start)
        yield SystemCommand("Pause or go on", "No other probe begins until you go on", self.action_pause)
        yield SystemCommand("Cancel tuning", "At once, in the middle of a probe too", self.action_cancel)
        yield SystemCommand("Apply", "Write the answer into your config.toml", self.action_apply)
        yield SystemCommand("Earlier tunings", "Those that were kept, and whether they hold", self.action_earlier)
        yield SystemCommand("Delete tuning", "Forget the marked one of those that were kept", self.action_delete)
        yield SystemCommand(
            "Other chart", "Throughput or what bounds it, where there is room for one", self.action_chart
        )
        yield SystemCommand("Back", "To the chat; the tuning goes on", self.action_back)

    def action_back(self) -> None:
        self.dismiss()

    def action_start(self) -> None:
        """Ask what to tune for, and begin."""
        if not self._try(self._ready):
            return
        model, window = self._about_model()
        warning = "An answer is being made: starting stops it; the text so far stays." if self._answering() else ""
        questions, server = self.desk.questions, self.desk.on_server
        texts = self._texts.get(server) or questions.defaults(self.desk.config, window)
        form = TuningForm(questions, one_line(model, 50), texts, window, warning, self._vary)

        def decided(wish: Wish | LoadWish | None) -> None:
            if wish is not None:
                self._texts[server] = wish.texts
                if isinstance(wish, Wish):
                    self._vary = wish.vary_compute_type
                self._try(self._begin, wish)

        self.app.push_screen(form, decided)

    def _begin(self, wish: Wish | LoadWish) -> None:
        self._ready()
        self.picture.pane = "probes"
        self.desk.start(wish, self._about_model()[0])

    def action_pause(self) -> None:
        self._try(self.desk.toggle_pause)

    def action_cancel(self) -> None:
        self._try(self.desk.cancel)

    def action_earlier(self) -> None:
        """The kept tunings in the place of the probes, or back."""
        self.picture.pane = "probes" if self.picture.pane == "earlier" else "earlier"
        self.desk.refresh()
        self.show()

    def action_pane(self) -> None:
        self.picture.next_pane()
        self.show()

    def action_chart(self) -> None:
        self.picture.chart = 1 - self.picture.chart
        self.show()

    def action_move(self, by: int) -> None:
        self.picture.move(by)
        self.show()

    def action_apply(self) -> None:
        """Write the answer, or the marked one of the kept tunings, into the configuration, after a question."""
        self._try(self._ask_to_apply)

    def _ask_to_apply(self) -> None:
        self.desk.check_start()
        what = self._chosen()
        self._check_apply(what[0])
        self._apply(what)

    def _check_apply(self, chosen: Settings) -> None:
        """Raise UsageError where it cannot be applied now: what starts the engine anew must find it free."""
        self.desk.check_start()
        if self.desk.restarts(chosen):
            self._ready()

    @work(exclusive=True)
    async def _apply(self, what: tuple[Settings, str]) -> None:
        chosen, warning = what
        try:
            await self.desk.check_apply(chosen)
        except PhituiError as error:
            self.say(str(error), bad=True)
            return
        question = f"{warning}Write to {shown_path(user_config_file())}: {in_words(chosen)}."
        if self.desk.restarts(chosen):
            question += " The engine starts anew with it; the chat stays."
            if self._answering():
                question += " The answer that is being made is stopped."
        if await self.app.push_screen_wait(Confirm(question, "write it")) and self._try(self._check_apply, chosen):
            who = "Prompts and batches" if "engine.batch" in chosen else "Batches"
            await self._do(self.desk.apply(chosen), f"Written. {who} use it from here on.")

    def _chosen(self) -> tuple[Settings, str]:
        """What would be applied, and what there is to say against it. Raises UsageError where there is nothing."""
        if self.picture.pane == "earlier":
            marked = self.picture.kept.marked
            if marked is None:
                raise UsageError("no earlier tuning is there to apply")
            against = f"It is stale: {marked.problem}. " if marked.problem else ""
            return settings(marked.tuning), against
        if self.desk.course is None or self.desk.course.result is None:
            raise UsageError("there is no answer to apply yet", "s starts a tuning, e shows earlier ones.")
        return settings(self.desk.course.result), ""

    @work(exclusive=True)
    async def action_delete(self) -> None:
        """Forget the marked one of the kept tunings, after a question."""
        marked = self.picture.kept.marked if self.picture.pane == "earlier" else None
        if marked is None:
            self.say("e shows the earlier tunings: there one can be deleted.", bad=True)
            return
        tuning = marked.tuning
        of = tuning.model if isinstance(tuning, LoadTuning) else tuning.model_name
        question = f"The tuning of {one_line(of, 60)}, made {one_line(tuning.made, 40)}, is forgotten."
        if await self.app.push_screen_wait(Confirm(question, "forget it")):
            await self._do(self.desk.delete(marked), "Forgotten.")

    async def _do(self, work: Coroutine[Any, Any, None], done: str) -> None:
        try:
            await work
        except PhituiError as error:
            self.say(str(error), bad=True)
        else:
            self.say(done)

    def _try(self, deed: Callable[..., None], *args: Any) -> bool:
        """Do it, or say why it cannot be done."""
        try:
            deed(*args)
        except PhituiError as error:
            self.say(str(error), bad=True)
            return False
        return True
