"""What an empty chat shows: what this is, where to begin, and something to ask."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from phitui.engine.protocol.api import Loaded
from phitui.models.catalog import DEMO

SAMPLES = (
    "What is a KV cache? Answer in three sentences.",
    "Write a haiku about a graphics card.",
    "Why is a language model's decode bound by memory bandwidth?",
)


class Welcome(Vertical):
    """There while the chat has no exchange. A click on a sample puts it into the prompt."""

    DEFAULT_CSS = """
    Welcome {
        height: auto;
        padding: 1 2 0 2;
        Static { height: auto; }
        #doors { margin: 1 0; }
        .muted { color: $text-muted; }
        Sample { padding: 0 0 0 2; &:hover { background: $panel; } }
    }
    """

    @dataclass
    class Chosen(Message):
        """A sample was clicked on."""

        text: str

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[str, str] = {}
        self._demo = False

    def compose(self) -> ComposeResult:
        yield Static("Ask the model anything in the box below. Enter sends, Esc stops.", markup=False)
        yield Static(id="doors", markup=False)
        yield Static("Something to try (click, or press ↑):", classes="muted")
        for text in SAMPLES:
            yield Sample(text)

    def on_mount(self) -> None:
        self._show()

    def show_keys(self, keys: dict[str, str]) -> None:
        """The keys in force of "models", "tuner", "monitor", "batches", "help"."""
        self._keys = keys
        self._show()

    def show_model(self, loaded: Loaded) -> None:
        """This model answers."""
        self._demo = loaded.name == DEMO.name
        self._show()

    def _show(self) -> None:
        if not self.is_mounted:
            return
        models = f"get Phi-3 Mini ({DEMO.title} is a small demo model)" if self._demo else "get or change the model"
        doors = {
            "models": models,
            "tuner": "find the fastest batch size for this machine",
            "monitor": "watch the hardware: load, memory, bandwidth, power",
            "batches": "run a file of prompts",
            "help": "help: every key and command",
        }
        lines = [
            Content.assemble((f"{self._keys.get(name, ''):>4}", "bold $accent"), f"  {text}")
            for name, text in doors.items()
        ]
        self.query_one("#doors", Static).update(Content("\n").join(lines))


class Sample(Static):
    """A prompt to begin with."""

    def __init__(self, text: str) -> None:
        super().__init__(Content(text), markup=False)
        self._text = text

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(Welcome.Chosen(self._text))
