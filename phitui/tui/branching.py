"""What is done with an earlier exchange of the chat: edit, answer again, fork, switch between siblings."""

from __future__ import annotations

from collections.abc import Callable

from textual.screen import Screen

from phitui.engine.api import Turn
from phitui.errors import PhituiError
from phitui.jobs.chat import Chat
from phitui.jobs.exchanges import Exchange
from phitui.tui.widgets.prompt import Prompt
from phitui.tui.widgets.transcript import Deed, Transcript

SEVERAL = 3


class Branching:
    """The console's helper. `on_place` is called when the chat stands at another turn than before."""

    def __init__(self, screen: Screen[None], chat: Chat) -> None:
        self._screen = screen
        self._chat = chat
        self._editing: Exchange | None = None
        self._forked: Exchange | None = None  # what followed it is still to be gone back to
        self.on_place: Callable[[], None] = lambda: None

    def do(self, deed: Deed, exchange: Exchange) -> None:
        """What a key or a command of the transcript asks for."""
        if deed == "edit":
            self._edit(exchange)
        elif deed == "fork":
            self._fork(exchange)
        elif deed in ("older", "newer"):
            self._switch(exchange, -1 if deed == "older" else 1)
        else:
            self._again(exchange, SEVERAL if deed == "several" else 1)

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
        self._say("edits an earlier prompt · Enter answers it anew · Esc leaves it")
        self._prompt.focus()

    def _fork(self, exchange: Exchange) -> None:
        if not exchange.children:
            self._screen.notify("This is the end of the chat: the next prompt goes on from here anyhow.")
            return
        self._forked = self._chat.exchanges[-1]
        self._chat.fork(exchange)
        self._show()
        self._say("goes on from here · what followed stays beside it · Esc goes back")
        self._prompt.focus()

    def _again(self, exchange: Exchange, answers: int) -> None:
        if answers > 1 and not self._chat.sampling.temperature:
            self._screen.notify("generation.temperature is 0: all answers to a prompt are the same.")
        try:
            queued = self._chat.instead(exchange, exchange.prompt, answers)
        except PhituiError as error:
            self._screen.notify(str(error), severity="warning", markup=False)
            return
        self._show()
        self._transcript.mark(queued[0])

    def _switch(self, exchange: Exchange, step: int) -> None:
        siblings = self._chat.siblings(exchange)
        if len(siblings) < 2:
            return
        place = next(i for i, one in enumerate(siblings) if one is exchange)
        chosen = siblings[(place + step) % len(siblings)]
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
