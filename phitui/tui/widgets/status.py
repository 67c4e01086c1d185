"""The top line: which model runs, on what, how full the context is, what the engine does."""

from __future__ import annotations

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from phitui.config.schema import EngineSettings
from phitui.core.text import counted, one_line
from phitui.engine.protocol.api import Loaded, Remote
from phitui.tui.terminal.display import displayable
from phitui.workbench.chat.chat import Chat, State

_BRAND = "φ phitui"
_AROUND = 1 + len(_BRAND) + 2 + 2 + 1  # paddings and margins
_BETWEEN = " · "


class StatusLine(Horizontal):
    """Model and engine to the left, context use to the right. Where it is narrow the last of model, precision, device,
    batch budget, own parameters and state are left out, and the context is said shorter."""

    DEFAULT_CSS = """
    StatusLine {
        height: 1;
        background: $panel;
        padding: 0 1;
        #brand { width: auto; color: $primary; text-style: bold; margin: 0 2 0 0; }
        #model { width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
        #context { width: auto; color: $text-muted; margin: 0 0 0 2; }
        #context.full { color: $text-warning; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._said = "starting…"  # in the place of the model
        self._loaded: Loaded | None = None
        self._contexts = [""]
        self._budget = self._own = self._activity = ""

    def compose(self) -> ComposeResult:
        yield Static(_BRAND, id="brand", markup=False)
        yield Static(self._said, id="model", markup=False)
        yield Static("", id="context", markup=False)

    def on_resize(self) -> None:
        self._show()

    def show_state(self, text: str) -> None:
        """What the engine is doing, where it is not simply ready."""
        self._said = text
        self._show()

    def show_loaded(self, loaded: Loaded) -> None:
        """The model that is ready."""
        self._said, self._loaded = "", loaded
        self._show()

    def show_budget(self, engine: EngineSettings) -> None:
        """How many rows a batch has, and how many tokens of KV cache fit, as they are set."""
        tokens = f", {engine.kv_tokens:,} KV tokens" if engine.kv_tokens else ""
        self._budget = f"batch {engine.batch}{tokens}"
        self._show()

    def show_own(self, names: list[str]) -> None:
        """The parameters in which the chat differs from config.toml."""
        self._own = f"set: {', '.join(names)}" if names else ""
        self._show()

    def show_activity(self, text: str) -> None:
        """What the engine does for the chat or a batch."""
        if text != self._activity:
            self._activity = text
            self._show()

    def show_context(self, used: int | None, window: int | None) -> None:
        """Tokens of the context window in use; `used` None is not known before the first answer."""
        percent = "–" if used is None else f"{used * 100 / window:.0f} %" if window else "–"
        taken = "–" if used is None else f"{used:,} ({percent})"
        # Where it is narrow less is said: a figure that is cut would be a false one.
        full = f"context {taken} of {window:,}" if window else ""
        self._contexts = [f"{full} tokens", full, f"context {percent}"] if window else [""]
        self.query_one("#context").set_class(bool(window and used and used > 0.9 * window), "full")
        self._show()

    def _show(self) -> None:
        if not self.is_mounted:
            return
        pieces = [self._said] if self._said or self._loaded is None else model_pieces(self._loaded)
        least = len(pieces)
        if not self._said and self._loaded is not None:
            local = self._loaded.remote is None
            pieces += [piece for piece in (self._budget if local else "", self._own, self._activity) if piece]
        pieces = [displayable(one_line(piece, 300)) for piece in pieces]
        text, context = fitted(pieces, least, self._contexts, self.size.width - _AROUND)
        self._put("#model", text)
        self._put("#context", context)

    def _put(self, selector: str, text: str) -> None:
        label = self.query_one(selector, Static)
        if str(label.content) != text:
            label.update(Content(text), layout=len(str(label.content)) != len(text))


def model_pieces(loaded: Loaded) -> list[str]:
    """Model, precision and device."""
    if loaded.remote is not None:
        return [loaded.title, loaded.remote.kind, where_of(loaded.remote)]
    where = "CUDA" if loaded.device == "cuda" else f"CPU, {counted(loaded.threads, 'thread')}"
    return [loaded.title, loaded.compute_type, where]


def fitted(pieces: list[str], least: int, contexts: list[str], width: int) -> tuple[str, str]:
    """What of `pieces`, the most important first, stands in a line of `width` cells, and beside it the longest of
    `contexts` that leaves room for the first `least` pieces; where none does, the shortest."""
    first = _BETWEEN.join(pieces[:least])
    context = next((one for one in contexts if cell_len(first) + cell_len(one) <= width), contexts[-1])
    text = ""
    for piece in pieces:
        longer = f"{text}{_BETWEEN}{piece}" if text else piece
        if text and cell_len(longer) + cell_len(context) > width:
            break
        text = longer
    return text, context


def activity(chat: Chat, batch_rows: int) -> str:
    """What the engine does now; "" while it waits."""
    on_way = [one for one in chat.on_its_way if not one.state.over]
    doing = []
    if any(one.state is State.ANSWERING for one in on_way):
        doing.append(f"answering ×{len(on_way)}" if len(on_way) > 1 else "answering")
    elif on_way:
        doing.append("reading" if any(one.state is State.PREFILL for one in on_way) else "sent")
    if batch_rows:
        doing.append(counted(batch_rows, "batch row"))
    return ", ".join(doing)


def where_of(remote: Remote) -> str:
    """The engine's name and host; once where the name is the host."""
    return remote.name if remote.name == remote.host else f"{remote.name} at {remote.host}"


def ready_line(loaded: Loaded) -> str:
    """What is ready, for the chat."""
    if loaded.remote is not None:
        remote = loaded.remote
        return f"{loaded.title} answers through {where_of(remote)}: {loaded.why}."
    return f"{loaded.title} is ready on the {runs_on(loaded)} (F2: why)."


def runs_on(loaded: Loaded) -> str:
    """Device, compute type, and threads where they are chosen here."""
    device = "GPU" if loaded.device == "cuda" else "CPU"
    threads = f", {counted(loaded.threads, 'thread')}" if loaded.threads else ""
    return f"{device}: {loaded.compute_type}{threads}"
