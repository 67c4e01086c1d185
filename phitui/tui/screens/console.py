"""The console screen: transcript, prompt and gauges."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from phitui.config.layers import Config
from phitui.config.schema import EngineSettings
from phitui.engine.protocol.api import Delta, Event, Finished, Loaded, Timings
from phitui.hardware.snapshot import Snapshot
from phitui.tui.console.branching import Branching
from phitui.tui.console.copying import COPY_DEEDS, Copying
from phitui.tui.console.engine_status import EngineStatus
from phitui.tui.console.prompting import Prompting
from phitui.tui.keys.remap import keys_for, told
from phitui.tui.terminal.compositor import FaithfulCompositor
from phitui.tui.terminal.display import displayable, pace_of
from phitui.tui.terminal.notices import Notices
from phitui.tui.widgets.attachment_line import AttachmentLine
from phitui.tui.widgets.completion import Completion
from phitui.tui.widgets.find_bar import FindBar
from phitui.tui.widgets.gauges import GaugeColumn, GaugeLine
from phitui.tui.widgets.key_footer import KeyFooter
from phitui.tui.widgets.progress import ProgressLine
from phitui.tui.widgets.prompt import Prompt
from phitui.tui.widgets.readings import groups
from phitui.tui.widgets.server_readings import server_groups
from phitui.tui.widgets.status import StatusLine
from phitui.tui.widgets.transcript import Deed, Transcript
from phitui.tui.widgets.welcome import Welcome
from phitui.workbench.chat.chat import Exchange, State
from phitui.workbench.telemetry.performance import DeviceView
from phitui.workbench.workbench import Workbench

if TYPE_CHECKING:
    from phitui.tui.screens.several import SeveralScreen
    from phitui.tui.terminal.external_editor import TerminalOwner


def _nobody(text: str) -> None:
    del text


def _key(keys: str, action: str, word: str, name: str, about: str) -> Binding:
    return Binding(keys, action, word, id=f"console.{name}", priority=True, tooltip=about)


def _quiet(keys: str, action: str, name: str, about: str) -> Binding:
    """One that the footer has no room for."""
    return Binding(keys, action, about, show=False, id=f"console.{name}", priority=True)


class ConsoleScreen(Screen[None]):
    """Where a person prompts the model and sees the machine work."""

    AUTO_FOCUS = "#prompt"
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (40, "-narrow"), (100, "-wide"), (160, "-broad")]  # noqa: RUF012 - Textual reads it so
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (12, "-low"), (34, "-tall")]  # noqa: RUF012

    BINDINGS: ClassVar[list[BindingType]] = [
        _key("escape", "stop", "Stop", "stop", "Stop the answer"),
        _key("f2", "app.open('models')", "Models", "models", "Models: switch, download, check, remove"),
        _key("f3", "app.open('tuner')", "Tuner", "tuner", "Tuner: find the fastest batch and configuration"),
        _key("f4,alt+m", "app.monitor", "Monitor", "monitor", "Monitor: all GPUs, their history and their processes"),
        _key("f5", "app.open('batches')", "Batches", "batches", "Batches: run files of prompts while the chat goes on"),
        _key("f6", "app.open('sessions')", "Sessions", "sessions", "Sessions: search, resume and export earlier chats"),
        _key(
            "f7", "app.open('parameters')", "Params", "parameters", "Parameters: system prompt, temperature, length, …"
        ),
        _key("ctrl+n", "app.new_chat", "New chat", "new", "New chat; this one stays as a session"),
        _quiet("f8", "park", "park", "Park: give the model's memory back until the next prompt"),
        _quiet("ctrl+o", "editor", "editor", "Write the prompt in $VISUAL or $EDITOR"),
        _quiet("ctrl+r", "remove_file", "remove_file", "Remove the attached file"),
        _quiet("f9", "next_pane", "next_pane", "Between prompt and chat"),
        _quiet("pageup", "page(-1)", "page_up", "The chat a page up"),
        _quiet("pagedown", "page(1)", "page_down", "The chat a page down"),
    ]

    DEFAULT_CSS = """
    ConsoleScreen {
        #too-small { display: none; }
        #main { min-width: 20; }  /* Textual lays out once before it knows how narrow the terminal is */
        #side { width: 34; max-width: 50%; }
        &.-broad #side { width: 52; }
        GaugeLine { display: none; }
        &.-narrow, &.-tiny { #side { display: none; } GaugeLine { display: block; } }
        &.-low { Transcript { padding: 0; } Prompt { max-height: 6; } GaugeColumn Gauge { margin: 0; } }
        &.-tiny, &.-flat {
            #body, Prompt, KeyFooter, StatusLine, GaugeLine, ProgressLine { display: none; }
            #too-small { display: block; padding: 0 1; color: $text-warning; }
        }
    }
    """

    def __init__(self, config: Config, workbench: Workbench, notices: Notices) -> None:
        super().__init__()
        self._compositor = FaithfulCompositor()
        self._config = config
        self.workbench = workbench
        self.chat = workbench.chat
        self._pace = pace_of(config.console)
        self._transcript = Transcript(self._pace, config.console.markdown, self.chat.siblings)
        self.branching = Branching(self, self.chat)
        self.branching.side_by_side = self._side_by_side
        self._comparison: SeveralScreen | None = None  # answers side by side, while they are shown
        self.copying = Copying(self)
        self.notices = notices
        self.engine_status = EngineStatus(self, workbench, notices)
        self.prompting = Prompting(self, workbench, self.branching)
        self.on_draft: Callable[[str], None] = _nobody  # whoever keeps them
        self.on_kept: Callable[[str], None] = _nobody
        self._last_timings: Timings | None = None

    def compose(self) -> ComposeResult:
        console = self._config.console
        yield Static("", id="too-small", markup=False)
        yield StatusLine()
        yield GaugeLine()
        with Horizontal(id="body"):
            with Vertical(id="main"):
                yield Welcome()
                yield self._transcript
                yield FindBar()
                yield ProgressLine()
                yield AttachmentLine()
                prompt = Prompt(console.history_size, console.paste_limit_chars)
                prompt.completion = Completion()
                yield prompt
                yield prompt.completion
            yield GaugeColumn(id="side")
        yield KeyFooter(show_command_palette=True)

    def on_mount(self) -> None:
        self.query_one(StatusLine).show_budget(self._config.engine)
        doors = {name: told(keys_for(self, f"console.{name}")) for name in ("models", "tuner", "monitor", "batches")}
        self.query_one(Welcome).show_keys({**doors, "help": told(keys_for(self.app, "app.help"))})

    def on_key(self, event: events.Key) -> None:
        """A key that finds nothing focused is for the prompt: a click beside everything takes the focus away."""
        prompt = self.query_one(Prompt)
        if self.focused is None and prompt.display:
            event.stop()
            prompt.focus()
            prompt.post_message(events.Key(event.key, event.character))

    def on_resize(self) -> None:
        size = self.app.size
        self.query_one("#too-small", Static).update(
            f"{size.width}×{size.height} is too small: phitui needs 40×12 or more. ^q quits."
        )

    def show_snapshot(self, snapshot: Snapshot, views: list[DeviceView]) -> None:
        """New readings of the hardware, and what they mean together with the engine's figures."""
        performance = self.workbench.telemetry.performance
        host = next((view for view in views if view.device.kind == "cpu"), None) or performance.host_view(snapshot)
        wanted = [*server_groups(self.workbench.telemetry.server.figures), *groups(views, snapshot.host, host)]
        # Of the engine's device, or where there is none of the first.
        own = next((view for view in [*views, host] if view.engine), views[0])
        self.query_one(GaugeColumn).show(snapshot, wanted, own.hints[0] if own.hints else None)
        self.query_one(GaugeColumn).show_answer(self._last_timings, performance.answer_energy)
        self.query_one(GaugeLine).show(wanted)
        self._show_context()

    def show_event(self, event: Event) -> None:
        """An event of the engine."""
        self.engine_status.show(event)

    def show_activity(self, event: Event) -> None:
        """The engine may be doing something else since this event, which the chat has by now."""
        self.engine_status.show_activity(event)
        if isinstance(event, Delta):
            self._show_context()
        elif isinstance(event, Loaded):  # each model counts tokens in its own way
            self._show_context()
            self.prompting.recount()
            self.query_one(Welcome).show_model(event)
        elif isinstance(event, Finished):
            for note in event.notes:
                self.say(note[:1].upper() + note[1:] + ".", "warn")

    def say(self, text: str, kind: str = "") -> None:
        """A line of phitui's own in the chat. `kind` is "", "warn" or "bad"."""
        self.query_one(Transcript).note(displayable(text), kind)

    def show_exchange(self, exchange: Exchange) -> None:
        """An exchange of the path that is shown has changed."""
        self.query_one(Welcome).display = False
        self._transcript.show(exchange)
        if exchange.state in (State.LOST, State.BROKEN) and not self.query_one(Prompt).put_back(exchange.prompt):
            self.say("The lost prompt is in the history (arrow up).", "warn")
        if exchange.timings is not None and exchange.state is State.DONE:
            self._last_timings = exchange.timings
            self.query_one(GaugeColumn).show_answer(
                exchange.timings, self.workbench.telemetry.performance.answer_energy
            )
            self.query_one(GaugeLine).show_answer(exchange.timings)
        if exchange.state is not State.ANSWERING:  # meanwhile it is shown with each snapshot
            self._show_context()

    def show_answered(self, together: list[Exchange]) -> None:
        """An answer has ended, or all that were made side by side. Of what was refused, lost or stopped nobody is told
        that it is complete."""
        done = [one for one in together if one.state is State.DONE and one.reason != "cancelled"]
        if done:
            watched = self.app.screen in (self, self._comparison)
            text = "an answer is complete" if len(done) == 1 else f"{len(done)} answers are complete"
            self.notices.answered(text, time.time() - done[0].created, watched)

    def show_budget(self, engine: EngineSettings) -> None:
        """Rows and KV tokens of a batch are set so now."""
        self.query_one(StatusLine).show_budget(engine)

    def show_own(self) -> None:
        """The chat's parameters are others."""
        self.query_one(StatusLine).show_own(list(self.workbench.parameters.own))

    def _show_context(self) -> None:
        if (loaded := self.workbench.engine.loaded) is not None:
            self.query_one(StatusLine).show_context(self.chat.context_tokens, loaded.context_window)

    @on(Prompt.Sent)
    def _send(self, message: Prompt.Sent) -> None:
        self.prompting.send(message.text)

    @on(Welcome.Chosen)
    def _try_sample(self, message: Welcome.Chosen) -> None:
        prompt = self.query_one(Prompt)
        if not prompt.put_back(message.text):
            self.notify("There is a draft in the prompt: send or clear it first.")
        prompt.focus()

    @on(Prompt.Kept)
    def _kept(self, message: Prompt.Kept) -> None:
        self.on_kept(message.text)

    @on(Prompt.Changed)
    def _draft_changed(self) -> None:
        prompt = self.query_one(Prompt)
        self.on_draft(prompt.whole)
        self.prompting.complete(prompt.text)

    def _side_by_side(self, exchanges: list[Exchange]) -> None:
        """Show answers to one prompt beside each other; the chat goes on with the one that is chosen."""
        from phitui.tui.screens.several import SeveralScreen  # most starts never need it

        def chosen(exchange: Exchange | None) -> None:
            self._comparison = None
            if exchange is not None:
                self.branching.go_to(exchange)

        self._comparison = SeveralScreen(exchanges, self._pace, self.chat.stop)
        self.app.push_screen(self._comparison, chosen)

    @on(Transcript.Wanted)
    def _branch(self, message: Transcript.Wanted) -> None:
        self.do(message.deed, message.exchange)

    def do(self, deed: Deed, exchange: Exchange) -> None:
        """What a key or a command wants done with an exchange."""
        (self.copying if deed in COPY_DEEDS else self.branching).do(deed, exchange)

    @on(Prompt.PasteRefused)
    def _refuse_paste(self, message: Prompt.PasteRefused) -> None:
        limit = self._config.console.paste_limit_chars
        self.notify(
            f"Not pasted: {message.characters:,} characters, the limit is {limit:,} (console.paste_limit_chars).",
            severity="warning",
            markup=False,
        )

    def action_stop(self) -> None:
        """Close what is open; leave an edit or a fork; else stop the answer, or take back the prompt queued last."""
        if self.prompting.close() or self.query_one(FindBar).leave():
            return
        if not self.branching.leave():
            self.chat.cancel()

    def action_find(self) -> None:
        self.query_one(FindBar).open()

    def action_find_done(self) -> None:
        """The words are there: n and N go on from the chat."""
        self.set_focus(self.query_one(Transcript))

    def action_find_next(self, by: int) -> None:
        self.query_one(FindBar).step(by)

    def find(self, words: str) -> None:
        """Look for words in this chat."""
        self.query_one(FindBar).open(words)

    def action_remove_file(self) -> None:
        self.prompting.remove_last()

    def action_next_pane(self) -> None:
        """From the prompt to the transcript and back."""
        self.query_one(Transcript if self.query_one(Prompt).has_focus else Prompt).focus()

    def action_editor(self) -> None:
        """Have the prompt in the editor of one's choice."""
        self.prompting.spawn(self._edit())

    async def _edit(self) -> None:
        from phitui.tui.terminal.external_editor import edited  # with the first use

        prompt = self.query_one(Prompt)
        text = await edited(cast("TerminalOwner", self.app), prompt.whole)
        if text != prompt.text:  # else it stays as it was given
            prompt.replace_text(text)
        prompt.focus()

    def action_park(self) -> None:
        """Give the model's memory back until the next prompt."""
        self.prompting.spawn(self.workbench.park())

    def new_chat(self) -> None:
        """Leave the chat, which stays as a session: the model starts from nothing."""
        self.workbench.new_chat()
        self.show_chat()

    def show_chat(self, at: Exchange | None = None) -> None:
        """The chat is another one: show it, its end or the exchange `at`."""
        self.branching.leave()
        self.show_own()
        transcript = self.query_one(Transcript)
        transcript.clear()
        transcript.show_path(self.chat.exchanges)
        self.query_one(Welcome).display = not self.chat.exchanges
        if at is not None:
            transcript.show_item(at)
        self._show_context()

    def to_front(self) -> bool:
        """Close what is on top of the console; False, with a line, where a question has to be answered first."""
        stack = self.app.screen_stack
        above = stack[stack.index(self) + 1 :]
        if any(isinstance(screen, ModalScreen) for screen in above):
            self.notify("Answer what is asked first, or leave it with Esc.", severity="warning", timeout=4)
            return False
        for screen in reversed(above):
            screen.dismiss()
        return True

    def action_page(self, direction: int) -> None:
        self.query_one(Transcript).page(direction)
