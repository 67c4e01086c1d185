"""A model in words: the cells of its row and the lines about it."""

from __future__ import annotations

import textwrap

from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from phitui.config.layers import shown_path
from phitui.core.text import one_line
from phitui.models.manifest import Manifest
from phitui.tui.terminal.display import displayable
from phitui.tui.widgets.readings import NOTHING
from phitui.workbench.models.fit import CHAT_TOKENS, Fit, Room, fit
from phitui.workbench.models.inventory import ModelRow

COLUMNS = ("Model", "Title", "Size", "Precision", "Context")
_LABEL = 12  # the width of the names in `lines`
_LOADED, _OTHER = "● ", "  "


def cells(row: ModelRow) -> tuple[str, ...]:
    """The row's text in the order of `COLUMNS`: what is not known is a dash."""
    manifest = row.manifest
    name = (_LOADED if row.loaded else _OTHER) + shown(row.name, 40)
    title = shown(row.title, 22) or NOTHING
    if manifest is not None:
        return name, title, size_text(manifest.total_bytes), shown(manifest.quantization, 13), _tokens(manifest)
    size = NOTHING if row.download_bytes is None else f"~{size_text(row.download_bytes)}"
    return name, title, size, "not downloaded" if row.folder is None else "damaged", NOTHING


class ModelFacts(Widget):
    """All that is known of one model, wrapped to the width there is."""

    DEFAULT_CSS = "ModelFacts { height: auto; }"

    def __init__(self, store: str) -> None:
        super().__init__()
        self._store = store
        self.row: ModelRow | None = None
        self._room: Room | None = None

    def show(self, row: ModelRow | None, room: Room | None = None) -> bool:
        """Paint again only where something is different; returns whether it is another model. `room` is where it would
        run."""
        if (row, room) == (self.row, self._room):
            return False
        other = row != self.row
        self.row, self._room = row, room
        self.refresh(layout=True)
        return other

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        del container, viewport
        return len(self._lines(width).plain.split("\n"))

    def render(self) -> Content:
        return self._lines(self.content_size.width)

    def _lines(self, width: int) -> Content:
        return lines(self.row, self._store, width, self._room) if self.row is not None else Content("")


def lines(row: ModelRow, store: str, width: int, room: Room | None = None) -> Content:
    """All that is known of one model, in lines of `width` characters, each with its name before it."""
    if row.manifest is not None:
        about = [("Runs", row.runs), *_manifest_lines(row.manifest)]
    elif row.folder is not None:
        about = [("Damaged", row.error), ("To do", "p pulls it again, d removes it")]
    else:
        about = _absent_lines(row, room)
    about.append(("Would go to", store) if row.folder is None else ("Folder", shown_path(row.folder)))
    heading = Content.styled(shown(row.title, 200) or shown(row.name, 200), "bold $primary")
    return Content("\n").join([heading, *(_line(label, text, width) for label, text in about if text)])


def _manifest_lines(manifest: Manifest) -> list[tuple[str, str]]:
    sizes = manifest.sizes
    revision = f" at {manifest.revision[:12]}" if manifest.revision else ""
    return [
        ("Source", f"{manifest.source}{revision}" if manifest.source else "not said"),
        ("Licence", manifest.license or "not said"),
        ("Context", f"{_tokens(manifest)} tokens{f': {manifest.context_note}' if manifest.context_note else ''}"),
        ("Weights", f"{size_text(manifest.weight_bytes)}, {manifest.quantization}"),
        ("Kind", f"{manifest.architecture}, {sizes.layers} layers"),
        ("Width", f"{sizes.model_dim:,}, feed-forward {sizes.ff_dim:,}"),
        ("Heads", f"{sizes.heads} of {sizes.head_dim}, {sizes.kv_heads} for KV"),
        ("Vocabulary", f"{sizes.vocabulary:,} tokens"),
        ("End tokens", " ".join(manifest.end_tokens)),
        ("Converter", manifest.converter),
    ]


def _absent_lines(row: ModelRow, room: Room | None) -> list[tuple[str, str]]:
    part = f"{row.part_bytes / 1e6:.1f} MB downloaded before the pull was stopped" if row.part_bytes else ""
    entry = row.entry
    if entry is None:
        return [("Not here", "pull it by its whole name, organisation/model"), ("Fetched", part)]
    by_pip = f"{entry.wheel.package} {entry.wheel.version}, by pip" if entry.wheel else ""
    return [
        ("To do", "Enter pulls it"),
        *fit_lines(row, room),
        ("Source", by_pip or entry.hub),
        ("Licence", entry.license),
        ("Context", f"{entry.context:,} tokens as its makers state; what phitui allows may be less"),
        ("Fetched", part and f"{part}; a pull goes on from there"),
    ]


def fit_lines(row: ModelRow, room: Room | None) -> list[tuple[str, str]]:
    """What a pull fetches, what the model needs in memory, whether `room` has that, and how fast it can be there."""
    download = NOTHING if row.download_bytes is None else f"about {size_text(row.download_bytes)}"
    if row.known is None or room is None:
        return [("Download", download)]
    found = fit(row.known, room)
    memory = f"{_gib(found.weights)} as int8 (as float16 {_gib(found.half_weights)})"
    memory += f", and {_gib(found.kv_bytes)} of KV cache for a chat of {CHAT_TOKENS:,} tokens"
    return [("Download", download), ("Memory", memory), ("Fits", _fits(found, room)), ("Speed", _speed(found, room))]


def _fits(found: Fit, room: Room) -> str:
    where = f"{_gib(found.needs)} of {room.name}'s {_gib(room.total_bytes)}"
    if found.needs > room.total_bytes:
        return f"no, not even as int8: {where}"
    if room.others_bytes is not None and found.needs > room.total_bytes - room.others_bytes:
        return f"not now: {where}, of which other programs use {_gib(room.others_bytes)}"
    return f"yes: {where}"


def _gib(size: int) -> str:
    """A part of a memory, in GiB (2³⁰ bytes) as the gauges have it."""
    return f"{size / 2**30:.1f} GiB"


def _speed(found: Fit, room: Room) -> str:
    if found.tokens_per_s is None:
        return f"{NOTHING} this memory's rate is not known yet"
    read = f"each reads {size_text(found.weight_step)} at {room.peak_gb_s:,.0f} GB/s"
    return f"at most {found.tokens_per_s:,.0f} tokens/s for one chat: {read}"


def _line(label: str, text: str, width: int) -> Content:
    wrapped = textwrap.wrap(shown(text, 500), max(width - _LABEL, 10))
    return Content.assemble((f"{label:<{_LABEL}}", "$text-muted"), ("\n" + " " * _LABEL).join(wrapped))


def _tokens(manifest: Manifest) -> str:
    return f"{manifest.context_window:,}"


def size_text(size: int) -> str:
    """A size in GB (10⁹ bytes), as `phitui model list` has it; small ones in MB, which would else be next to 0."""
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def shown(text: str, limit: int) -> str:
    """Other people's text as one safe line."""
    return displayable(one_line(text, limit))
