"""The tuner screen: charts and table of a tuning while it runs, its answer, and the tunings that were kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType

from phitui.config.layers import shown_path, user_config_file
from phitui.core.errors import PhituiError, UsageError
from phitui.core.text import one_line
from phitui.storage.tunings import ServerTuning
from phitui.tui.charts.canvas import Canvas
from phitui.tui.charts.cells import KeyHint, Row
from phitui.tui.tuner.picture import TunerPicture
from phitui.tui.tuner.view import WIDE
from phitui.tui.widgets.dialogs import Ask, Confirm
from phitui.tui.widgets.single_dismiss import LeftOnce
from phitui.tui.widgets.tuning_form import TuningForm
from phitui.workbench.lease import Use
from phitui.workbench.tune.apply import Settings, in_words, settings
from phitui.workbench.tune.export import export_name, taken, write_export
from phitui.workbench.tune.form import TuneForm
from phitui.workbench.tune.records import table_csv
from phitui.workbench.tune.tuner import Tuner

_PAGE = 8
_PATH_CHARS = 400
_WHERE = "Files to write: NAME.svg has the picture, NAME.csv the table of probes"
# How the keys stand in the last row.
_IN_ORDER = [
    *("app.help", "tuner.back", "tuner.start", "tuner.pause", "tuner.cancel", "tuner.apply", "tuner.earlier"),
    *("tuner.delete", "tuner.pane", "tuner.chart", "tuner.export", "app.quit", "app.theme"),
]


class TunerScreen(LeftOnce[None]):
    """Shows a tuning and those that were kept; leaving it leaves the tuning alone."""

    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f3", "back", "Back", key_display="esc", id="tuner.back"),
        Binding("s", "start", "Start", id="tuner.start"),
        Binding("space", "pause", "Pause", id="tuner.pause"),
        Binding("c", "cancel", "Cancel", id="tuner.cancel"),
        Binding("a", "apply", "Apply", id="tuner.apply"),
        Binding("e", "earlier", "Earlier", id="tuner.earlier"),
        Binding("x", "export", "Export", id="tuner.export"),
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
        tuner: Tuner,
        ascii_only: bool,
    ) -> None:
        super().__init__()
        self.tuner = tuner
        self.picture = TunerPicture(ascii_only)
        self.canvas = Canvas(self._rows, ascii_only)
        self._texts: dict[bool, Mapping[str, str]] = {}  # of the form, by whether it was a server's
        self._vary = True
        self._seen: tuple[str, str] | None = None

    def compose(self) -> ComposeResult:
        yield self.canvas

    def on_mount(self) -> None:
        self.picture.pane = "earlier" if self.tuner.run_state is None else "probes"

    def on_screen_resume(self) -> None:
        self.tuner.refresh()  # another engine may answer than before
        self.show()

    def show(self) -> None:
        """Something of the tuning is different, or a second has gone by: paint what has changed."""
        picture, tuner = self.picture, self.tuner
        picture.run_state, picture.model, picture.on_server = tuner.run_state, self.tuner.model[0], tuner.on_server
        picture.status = self._status()
        picture.kept.take(tuner.profiles, tuner.profiles_problem, tuner.on_server, tuner.model_name)
        self._follow()
        if self.is_attached and self.is_current and self.canvas.size.height:
            self.canvas.show()

    def say(self, text: str, bad: bool = False) -> None:
        """One line above the keys."""
        self.picture.said, self.picture.bad = text, bad
        self.show()

    def _follow(self) -> None:
        """Say what else goes on when a tuning begins, and how it has ended, once each."""
        run_state = self.tuner.run_state
        state = (run_state.state, run_state.before) if run_state is not None else None
        if state != self._seen and run_state is not None:
            said = {
                "running": (run_state.before, False),
                "done": ("Done. a writes the answer into your config.toml, x exports picture and probes.", False),
                "cancelled": ("The tuning was cancelled.", False),
                "failed": (run_state.error, True),
            }
            self.picture.said, self.picture.bad = said[run_state.state]
            self._seen = state

    def _status(self) -> str:
        tuner, run_state = self.tuner, self.tuner.run_state
        if tuner.coming_back:
            return "the engine comes back"
        if tuner.cancelling:
            return "cancelling"
        if tuner.paused:
            return "pausing after this probe" if run_state is not None and run_state.running is not None else "paused"
        return "tuning" if tuner.busy else run_state.state if run_state is not None else ""

    def _rows(self, width: int, height: int) -> list[Row]:
        return self.picture.rows(width, height, self._keys(width))

    def _keys(self, width: int) -> list[KeyHint]:
        """The keys that do something now, with what they do."""
        active = {bound.binding.id: bound.binding for bound in self.active_bindings.values() if bound.enabled}
        names = {"tuner.pause": "Go on"} if self.tuner.paused else {}
        if self.picture.pane == "earlier":
            names["tuner.earlier"] = "Probes"
        useless = self._useless(width)
        shown = [active[each] for each in _IN_ORDER if each in active and each not in useless]
        hints = [
            KeyHint(self.app.get_key_display(each), names.get(each.id or "", each.description), each.key)
            for each in shown
        ]
        return [*hints[:5], KeyHint("^p", "Palette", "ctrl+p"), *hints[5:]]  # whatever finds no room behind it is there

    def _useless(self, width: int) -> set[str]:
        tuning, earlier = self.tuner.busy, self.picture.pane == "earlier"
        useless = {"tuner.start", "tuner.apply"} if tuning else {"tuner.pause", "tuner.cancel"}
        if not earlier:
            useless.add("tuner.delete")
        if not earlier and (self.tuner.run_state is None or self.tuner.run_state.result is None):
            useless.add("tuner.apply")
        if not self.picture.drawn:
            useless.add("tuner.export")
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
        yield SystemCommand("Export tuning", "The picture as SVG, the probes as CSV", self.action_export)
        yield SystemCommand("Delete tuning", "Forget the marked one of those that were kept", self.action_delete)
        yield SystemCommand(
            "Other chart", "Throughput or what bounds it, where there is room for one", self.action_chart
        )
        yield SystemCommand("Back", "To the chat; the tuning goes on", self.action_back)

    def action_back(self) -> None:
        self.dismiss()

    def action_start(self) -> None:
        """Ask what to tune for, and begin."""
        if not self._try(self.tuner.check_start):
            return
        model, window = self.tuner.model
        warning = " ".join(self.tuner.losses())
        questions, server = self.tuner.questions, self.tuner.on_server
        texts = self._texts.get(server) or questions.defaults(self.tuner.config, window)
        form = TuningForm(questions, one_line(model, 50), texts, window, warning, self._vary)

        def decided(form: TuneForm | None) -> None:
            if form is not None:
                self._texts[server] = form.texts
                self._vary = self._vary if server else form.vary_compute_type
                self._try(self._begin, form)

        self.app.push_screen(form, decided)

    def _begin(self, form: TuneForm) -> None:
        self.picture.pane = "probes"
        self.tuner.start(form, self.tuner.model[0])

    def action_pause(self) -> None:
        self._try(self.tuner.toggle_pause)

    def action_cancel(self) -> None:
        self._try(self.tuner.cancel)

    def action_earlier(self) -> None:
        """The kept tunings in the place of the probes, or back."""
        self.picture.pane = "probes" if self.picture.pane == "earlier" else "earlier"
        self.tuner.refresh()
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
        self._apply(self._chosen())

    @work(exclusive=True)
    async def _apply(self, what: tuple[Settings, str]) -> None:
        chosen, warning = what
        try:
            await self.tuner.check_apply(chosen)
        except PhituiError as error:
            self.say(str(error), bad=True)
            return
        if await self._agreed(chosen, f"{warning}Write to {shown_path(user_config_file())}: {in_words(chosen)}."):
            who = "Prompts and batches" if "engine.batch" in chosen else "Batches"
            await self._do(self.tuner.apply(chosen), f"Written. {who} use it from here on.")

    async def _agreed(self, chosen: Settings, question: str) -> bool:
        """Ask, and where it stops something say what; once more where that is more by the time of the answer."""
        while True:
            losses = self.tuner.losses(Use.SWITCH) if self.tuner.restarts(chosen) else []
            restarts = ["The engine starts anew with it; the chat stays."] if self.tuner.restarts(chosen) else []
            asked = Confirm(" ".join([question, *restarts, *losses]), "write it")
            if not await self.app.push_screen_wait(asked):
                return False
            if set(self.tuner.losses(Use.SWITCH)) <= set(losses) or not self.tuner.restarts(chosen):
                return True

    def _chosen(self) -> tuple[Settings, str]:
        """The configuration that would be applied, and a warning or "". Raises UsageError where there is none."""
        if self.picture.pane == "earlier":
            marked = self.picture.kept.marked
            if marked is None:
                raise UsageError("no earlier tuning is there to apply")
            against = f"It is stale: {marked.problem}. " if marked.problem else ""
            return settings(marked.tuning), against
        if self.tuner.run_state is None or self.tuner.run_state.result is None:
            raise UsageError("there is no answer to apply yet", "s starts a tuning, e shows earlier ones.")
        return settings(self.tuner.run_state.result), ""

    @work(exclusive=True)
    async def action_delete(self) -> None:
        """Forget the marked one of the kept tunings, after a question."""
        marked = self.picture.kept.marked if self.picture.pane == "earlier" else None
        if marked is None:
            self.say("e shows the earlier tunings: there one can be deleted.", bad=True)
            return
        tuning = marked.tuning
        of = tuning.model if isinstance(tuning, ServerTuning) else tuning.model_name
        question = f"The tuning of {one_line(of, 60)}, made {one_line(tuning.made, 40)}, is forgotten."
        if await self.app.push_screen_wait(Confirm(question, "forget it")):
            await self._do(self.tuner.delete(marked), "Forgotten.")

    @work(exclusive=True)
    async def action_export(self) -> None:
        """The picture and the probes of the tuning that is shown as files, after the question where."""
        picture = self.picture
        if not picture.drawn:
            self.say("There is nothing to export yet: s starts a tuning.", bad=True)
            return
        svg, table = self.canvas.svg(picture.whole(), picture.name), table_csv(picture.view.records)
        place = shown_path(Path.cwd() / export_name(picture.name))
        wanted = await self.app.push_screen_wait(Ask(_WHERE, place, _PATH_CHARS))
        if wanted is None:
            return
        try:
            path, there = await asyncio.to_thread(taken, wanted)
            question = f"There already: {' and '.join(map(shown_path, there))}."
            if there and not await self.app.push_screen_wait(Confirm(question, "overwrite")):
                return
            self.say(f"Written: {await asyncio.to_thread(write_export, path, svg, table, bool(there))}")
        except PhituiError as error:
            self.say(str(error), bad=True)

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
