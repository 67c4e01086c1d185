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
    size = NOTHING if row.download_bytes is None else size_text(row.download_bytes)
    return name, title, size, "not here" if row.folder is None else "damaged", NOTHING


class ModelFacts(Widget):
    """All that is known of one model, wrapped to the width there is."""

    DEFAULT_CSS = "ModelFacts { height: auto; }"

    def __init__(self, store: str) -> None:
        super().__init__()
        self._store = store
        self.row: ModelRow | None = None

    def show(self, row: ModelRow | None) -> bool:
        """Paint again only where something is different; returns whether it is."""
        if row == self.row:
            return False
        self.row = row
        self.refresh(layout=True)
        return True

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        del container, viewport
        return len(self._lines(width).plain.split("\n"))

    def render(self) -> Content:
        return self._lines(self.content_size.width)

    def _lines(self, width: int) -> Content:
        return lines(self.row, self._store, width) if self.row is not None else Content("")


def lines(row: ModelRow, store: str, width: int) -> Content:
    """All that is known of one model, in lines of `width` characters, each with its name before it."""
    if row.manifest is not None:
        about = _manifest_lines(row.manifest)
    elif row.folder is not None:
        about = [("Damaged", row.error), ("To do", "p pulls it again, d removes it")]
    else:
        about = _absent_lines(row)
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


def _absent_lines(row: ModelRow) -> list[tuple[str, str]]:
    part = f"{row.part_bytes / 1e6:.1f} MB by a pull that was stopped" if row.part_bytes else ""
    entry = row.entry
    if entry is None:
        return [("Not here", "pull it by its whole name, organisation/model"), ("Fetched", part)]
    by_pip = f"{entry.wheel.package} {entry.wheel.version}, by pip" if entry.wheel else ""
    unknown = NOTHING + " the Hub says it when it is asked"
    return [
        ("Not here", "p pulls it"),
        ("Source", by_pip or entry.hub),
        ("Licence", entry.license),
        ("Context", f"{entry.context:,} tokens as its makers state; what phitui allows may be less"),
        ("Download", unknown if row.download_bytes is None else size_text(row.download_bytes)),
        ("Fetched", part and f"{part}; p goes on"),
    ]


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
