"""What is done with an earlier exchange of the chat: edit, answer again, fork, switch between siblings."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace
from textual.screen import Screen

from phitui.core.errors import PhituiError
from phitui.engine.protocol.api import Sampling, Turn
from phitui.tui.keys.remap import keys_for, told
from phitui.tui.widgets.dialogs import Confirm
from phitui.tui.widgets.prompt import Prompt
from phitui.tui.widgets.transcript import Deed, Transcript
from phitui.workbench.chat.chat import Chat
from phitui.workbench.chat.exchanges import Exchange

SEVERAL = 3
MOST_COMPARED = 8
# For several answers where the chat's own way to draw gives one alone.
FREELY, TOP_K = 0.7, 50


def _nobody(exchanges: list[Exchange]) -> None:
    del exchanges


class Branching:
    """The console's helper. `on_place` is called when the chat stands at another turn than before; `side_by_side` is to
    show answers to one prompt beside each other, and to `go_to` the one that is chosen."""

    def __init__(self, screen: Screen[None], chat: Chat) -> None:
        self._screen = screen
        self._chat = chat
        self._editing: Exchange | None = None
        self._forked: Exchange | None = None  # what followed it is still to be gone back to
        self.on_place: Callable[[], None] = lambda: None
        self.side_by_side: Callable[[list[Exchange]], None] = _nobody

    def do(self, deed: Deed, exchange: Exchange) -> None:
        """What a key or a command of the transcript asks for."""
        if deed == "edit":
            self._edit(exchange)
        elif deed == "fork":
            self._fork(exchange)
        elif deed in ("older", "newer"):
            self._switch(exchange, -1 if deed == "older" else 1)
        elif deed == "several":
            self.several(exchange, SEVERAL)
        elif deed == "compare":
            self._compare(exchange)
        else:
            self._again(exchange, 1)

    def send(self, text: str) -> None:
        """Send a prompt: as the next one, or in the place of the one that is edited. Raises as `Chat.submit`."""
        editing, self._editing = self._editing, None
        try:
            if editing is not None:
                self._chat.instead(editing, text)
            else:
                self._chat.submit(text)
        except PhituiError:
            self._editing = editing
            raise
        self._forked = None
        self._say("")

    def turns(self, text: str) -> list[Turn]:
        """What the model would be given for `text`: below the chat, or in the place of what is edited."""
        if self._editing is not None:
            return self._chat.turns_after(self._editing.parent, text)
        return self._chat.turns(text)

    def leave(self) -> bool:
        """Leave an edit or a fork as if it had not been begun; False where there is none."""
        if self._editing is not None:
            self._editing = None
            self._prompt.clear()
        elif self._forked is not None:
            self._chat.show_path(self._forked)
            self._forked = None
            self._show()
        else:
            return False
        self._say("")
        return True

    def _edit(self, exchange: Exchange) -> None:
        if not self._prompt.put_back(exchange.prompt):
            self._screen.notify("There is a draft in the prompt. Send it or remove it first.", severity="warning")
            return
        self._editing = exchange
        self._say("editing an earlier prompt · Enter has it answered again · Esc cancels")
        self._prompt.focus()

    def _fork(self, exchange: Exchange) -> None:
        if not exchange.children:
            self._screen.notify("This is the end of the chat: the next prompt goes on from here anyway.")
            return
        self._forked = self._chat.exchanges[-1]
        self._chat.fork(exchange)
        self._show()
        self._say("forked: the next prompt goes on from here · Esc cancels")
        self._prompt.focus()

    def several(self, exchange: Exchange, answers: int) -> None:
        """More answers to a prompt, made side by side and shown so. With a way to draw that can only give the same one
        again, another is asked for first."""
        now = self._chat.sampling
        if now.temperature and now.top_k != 1:
            self._again(exchange, answers)
            return
        freely = replace(now, temperature=now.temperature or FREELY, top_k=TOP_K if now.top_k == 1 else now.top_k)
        why = "The temperature is 0" if not now.temperature else "top-k is 1"
        how = f"temperature {freely.temperature:g}" + (f" and top-k {freely.top_k}" if now.top_k == 1 else "")

        def decided(yes: bool | None) -> None:
            if yes:
                self._again(exchange, answers, freely)

        self._screen.app.push_screen(
            Confirm(f"{why}: all {answers} answers would be the same. F7 changes it.", f"answer with {how} this once"),
            decided,
        )

    def _again(self, exchange: Exchange, answers: int, sampling: Sampling | None = None) -> None:
        try:
            queued = self._chat.instead(exchange, exchange.prompt, answers, sampling)
        except PhituiError as error:
            self._screen.notify(str(error), severity="warning", markup=False)
            return
        self._show()
        self._transcript.mark(queued[0])
        if answers > 1:
            self.side_by_side(queued)

    def _compare(self, exchange: Exchange) -> None:
        """The answers to this prompt that are there, side by side."""
        same = [one for one in self._chat.siblings(exchange) if one.prompt == exchange.prompt][-MOST_COMPARED:]
        if len(same) < 2:
            key = told(keys_for(self._transcript, "transcript.several"))
            self._screen.notify(f"There is one answer to this prompt. {key} makes three more.")
        else:
            self.side_by_side(same)

    def _switch(self, exchange: Exchange, step: int) -> None:
        siblings = self._chat.siblings(exchange)
        if len(siblings) < 2:
            return
        place = next(i for i, one in enumerate(siblings) if one is exchange)
        self.go_to(siblings[(place + step) % len(siblings)])

    def go_to(self, chosen: Exchange) -> None:
        """The chat goes on with this one of the siblings."""
        self._chat.show_path(chosen)
        self._forked = None
        self._show()
        self._transcript.mark(chosen)
        self._transcript.show_item(chosen)
        self.on_place()

    @property
    def _prompt(self) -> Prompt:
        return self._screen.query_one(Prompt)

    @property
    def _transcript(self) -> Transcript:
        return self._screen.query_one(Transcript)

    def _show(self) -> None:
        self._transcript.show_path(self._chat.exchanges)

    def _say(self, text: str) -> None:
        self._prompt.border_title = text
