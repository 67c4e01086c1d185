"""The top line: which model runs, on what, how full the context is."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from phitui.engine.api import Loaded, Remote
from phitui.text import one_line
from phitui.tui.display import displayable


class StatusLine(Horizontal):
    """Model and engine state to the left, context use to the right."""

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

    def compose(self) -> ComposeResult:
        yield Static("φ phitui", id="brand", markup=False)
        yield Static("starting the engine…", id="model", markup=False)
        yield Static("", id="context", markup=False)

    def show_state(self, text: str) -> None:
        """What the engine is doing, where it is not simply ready."""
        self._put("#model", text)

    def show_loaded(self, loaded: Loaded) -> None:
        """The model that is ready."""
        if loaded.remote is not None:
            remote = loaded.remote
            self._put("#model", f"{loaded.title} · {remote.kind} · {where_of(remote)}")
            return
        where = "CUDA" if loaded.device == "cuda" else f"CPU, {loaded.threads} thread{'s' * (loaded.threads != 1)}"
        self._put("#model", f"{loaded.title} · {loaded.compute_type} · {where}")

    def show_context(self, used: int | None, window: int | None) -> None:
        """Tokens of the context window in use; `used` None is not known before the first answer."""
        if window is None:
            self._put("#context", "")
            return
        percent = "–" if used is None else f"{used * 100 / window:.0f} %"
        taken = "–" if used is None else f"{used:,} ({percent})"
        unit = " tokens" if self.size.width >= 100 else ""
        # Where it is narrow less is said: a figure that is cut would be a false one.
        self._put("#context", f"context {taken} of {window:,}{unit}" if self.size.width >= 60 else f"context {percent}")
        self.query_one("#context").set_class(used is not None and used > 0.9 * window, "full")

    def _put(self, selector: str, text: str) -> None:
        text = displayable(one_line(text, 300))
        label = self.query_one(selector, Static)
        if str(label.content) != text:
            label.update(Content(text), layout=len(str(label.content)) != len(text))


def where_of(remote: Remote) -> str:
    """The engine's name and host; once where the name is the host."""
    return remote.name if remote.name == remote.host else f"{remote.name} at {remote.host}"


def ready_line(loaded: Loaded) -> str:
    """What is ready, for the chat."""
    if loaded.remote is not None:
        remote = loaded.remote
        return f"{loaded.title} answers through {where_of(remote)}: {loaded.why}."
    where = "GPU" if loaded.device == "cuda" else "CPU"
    return f"{loaded.title} is ready on the {where} after {loaded.load_s:.1f} s: {loaded.why}."
