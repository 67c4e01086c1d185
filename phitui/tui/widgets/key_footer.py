"""The keys of a screen in its last line, each of them whole."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.widget import Widget
from textual.widgets import Footer
from textual.widgets._footer import FooterKey  # Textual names it nowhere else

# One before the key, one between it and its word, one behind.
_SPACES = 3
_PALETTES_EDGE = 1
# After the function keys.
_OTHERS = 100


class KeyFooter(Footer):
    """Textual's footer without the keys that the end of the line or the palette's would cut off: half a key tells
    nobody anything. All of them are in the palette and on the help screen."""

    _columns = 0

    def compose(self) -> ComposeResult:
        self._columns = self.app.size.width
        yield from self._whole(list(super().compose()))

    def _whole(self, keys: list[Widget]) -> Iterator[Widget]:
        """Those that lead to other screens first, help before all; the palette's where there is room for it beside."""
        keys.sort(key=_order)
        if any(1 < _order(key) < _OTHERS for key in keys):  # what letters do here, before it is left
            keys.sort(key=lambda key: _order(key) > 1 and not _is_letter(key))
        leading = sum(_width(key) for key in keys if _order(key) < _OTHERS)
        palette = next((key for key in keys if key.has_class("-command-palette")), None)
        room = self._columns - (_width(palette) + _PALETTES_EDGE if palette is not None else 0)
        if palette is not None and leading > room + 1:
            keys.remove(palette)
            room = self._columns
        for key in keys:
            if key is palette:
                yield key
            elif room >= 0:  # none that is shorter behind one that has no room: keys keep their order of importance
                room -= _width(key)
                if room >= -1:  # the space behind it may be covered
                    yield key

    def on_resize(self, _event: events.Resize) -> None:
        """Another width has room for other keys."""
        if self._columns and self._columns != self.app.size.width:
            self.call_after_refresh(self.recompose)


def _order(key: Widget) -> int:
    """Help, then other screens by their function key, then the rest as it comes."""
    number = key.key.removeprefix("f") if isinstance(key, FooterKey) and key.key.startswith("f") else ""
    return int(number) if number.isdecimal() else _OTHERS


def _is_letter(key: Widget) -> bool:
    return isinstance(key, FooterKey) and len(key.key_display) == 1


def _width(key: Widget) -> int:
    return cell_len(key.key_display) + cell_len(key.description) + _SPACES if isinstance(key, FooterKey) else 0
