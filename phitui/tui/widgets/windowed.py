"""A scrolling column of thousands of items of which only those near the view are widgets.

What is above and below stands in the layout as a height: as it was when the item was last shown at this width, else as
estimated. Heights that turn out different move what is above the view, never what is in it: each layout puts the first
item in view back to where it stood (`process_layout`, which Textual calls before it reads the scroll position).
"""

from __future__ import annotations

from textual.containers import VerticalScroll
from textual.geometry import Offset
from textual.layout import WidgetPlacement
from textual.scrollbar import ScrollBar
from textual.widget import Widget

from phitui.tui.widgets.heights import Heights

# Of items mounted in one go: each is a frame's work.
_STEP = 2
# In heights of the view: how far around it items are widgets, and from where on they are taken away.
_NEAR, _FAR = 1.0, 3.0


class WindowedScroll(VerticalScroll):
    """Subclasses say how an item looks (`make_view`) and how high it may be (`estimate`)."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._items: list[object] = []
        self._heights = Heights()  # of each item with the margin below it
        self._views: dict[object, Widget] = {}
        self._index: dict[Widget, int] = {}
        self._tops: dict[Widget, int] = {}
        self._width = 0
        self._pin: tuple[int, int] | None = None  # an item, and how far below the top of the view it is to stand
        self._tending = False

    def make_view(self, item: object) -> Widget:
        """The widget of an item."""
        raise NotImplementedError

    def estimate(self, item: object, width: int) -> int:
        """About how many lines an item takes, with the margin below it. Cheap: it is asked for thousands."""
        raise NotImplementedError

    def set_items(self, items: list[object]) -> None:
        """Show these; what is the same from the beginning on keeps its widgets."""
        same = next((i for i, pair in enumerate(zip(items, self._items, strict=False)) if pair[0] is not pair[1]), None)
        same = min(len(items), len(self._items)) if same is None else same
        self._items = items
        self._heights.replace_from(same, self._estimates(same))
        self._tend_soon()

    def add_item(self, item: object) -> None:
        """One more at the end."""
        self._items.append(item)
        self._heights.replace_from(len(self._items) - 1, self._estimates(len(self._items) - 1))
        self._tend_soon()

    def show_item(self, item: object, line: int = 0) -> None:
        """Scroll to an item: its beginning, or a line further down in it, comes to the top of the view."""
        index = next(i for i, one in enumerate(self._items) if one is item)
        self.release_anchor()
        view = self._views.get(item)
        if view is not None and view in self._tops and self._index.get(view) == index:
            self.scroll_to(y=self._tops[view] + line, animate=False)
        else:
            self._pin = (index, -line)
            self._tend_soon()

    def view_of(self, item: object) -> Widget | None:
        """The widget of an item, None where it is far from the view."""
        return self._views.get(item)

    def items_in_view(self) -> list[object]:
        """Those of which more than the margin is in view, from the top."""
        top, bottom = self.scroll_y, self.scroll_y + self.container_size.height
        return [item for item, start, end in self._places() if end - 1 > top and start < bottom]

    def _places(self) -> list[tuple[object, int, int]]:
        """Items that are widgets, each with where it begins and ends."""
        found = [(self._items[i], self._tops[view], i) for view, i in self._index.items() if view in self._tops]
        return [(item, top, top + self._heights[i]) for item, top, i in sorted(found, key=lambda one: one[2])]

    def item_changed(self, item: object) -> None:
        """An item that is no widget now has become higher or lower."""
        if item not in self._views and self._items and self._items[-1] is item:
            self._heights[len(self._items) - 1] = self._estimates(len(self._items) - 1)[0]

    def _estimates(self, start: int) -> list[int]:
        width = self._width or 80
        return [self.estimate(item, width) for item in self._items[start:]]

    @property
    def follows_end(self) -> bool:
        """Whether the view stays at the end when something is added there."""
        return self._anchored and not self._anchor_released

    def process_layout(self, placements: list[WidgetPlacement]) -> list[WidgetPlacement]:
        known = [one for one in placements if one.widget in self._index]
        if not known:
            return placements
        self._note_width(known[0])
        first, last = self._index[known[0].widget], self._index[known[-1].widget]
        if last >= len(self._items):  # of a chat that was left; they are about to go
            return placements
        above = self._heights.above(first)
        at, offset = self._reference()
        moved = WidgetPlacement.translate(placements, Offset(0, above))
        flow = [one for one in moved if one.widget in self._index]
        for one, after in zip(flow, [*flow[1:], None], strict=True):
            end = after.region.y if after is not None else one.region.bottom + one.margin.bottom
            self._heights[self._index[one.widget]] = end - one.region.y
        self._tops = {one.widget: one.region.y for one in flow}
        below = self._heights.between(last + 1, len(self._heights))
        margin = moved[-1].margin
        moved[-1] = moved[-1]._replace(margin=margin._replace(bottom=margin.bottom + below))
        self._stand(at, offset, self._heights.total + self.gutter.height)
        self._tend_soon()
        return moved

    def _note_width(self, placement: WidgetPlacement) -> None:
        width = placement.region.width + placement.margin.width
        if width and width != self._width:
            self._width = width
            self._heights.replace_from(0, self._estimates(0))

    def _reference(self) -> tuple[int | None, float]:
        """The item that keeps its place, and how far below the top of the view that is."""
        if self._pin is not None:
            return self._pin
        first: tuple[int | None, float] = (None, 0)
        for view, index in sorted(self._index.items(), key=lambda one: one[1]):
            top = self._tops.get(view)
            if top is None or index >= len(self._heights) or top + self._heights[index] <= self.scroll_y:
                continue
            if self.scroll_y <= top < self.scroll_y + self.container_size.height / 2:
                return index, top - self.scroll_y  # its beginning is seen: what is above it may change
            if first[0] is None:
                first = index, top - self.scroll_y
        return first

    def _stand(self, at: int | None, offset: float, total: int) -> None:
        if at is None or self.follows_end:
            return
        top = next((self._tops.get(view) for view, index in self._index.items() if index == at), None)
        if top is None:
            return
        if self._pin is not None and at == self._pin[0]:
            self._pin = None
        y = max(0, min(round(top - offset), total - self.container_size.height))
        if y != round(self.scroll_y):
            self.set_reactive(Widget.scroll_y, y)
            self.set_reactive(Widget.scroll_target_y, y)
            self.vertical_scrollbar.set_reactive(ScrollBar.position, y)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._tend_soon()

    def _tend_soon(self) -> None:
        if not self._tending and self.is_mounted:
            self._tending = True
            self.call_later(self._tend)

    def on_mount(self) -> None:
        self._tend_soon()

    async def _tend(self) -> None:
        """Make widgets of the items that are near the view, and take away those that are far from it."""
        self._tending = False
        kept = self._kept()
        first, end = self._wanted(kept)
        if kept != list(range(first, end)) or len(kept) < len(self._views):
            await self._apply(first, end)

    def _kept(self) -> list[int]:
        """The indices of items that are widgets and still in their places."""
        places = ((item, self._index[view]) for item, view in self._views.items())
        return sorted(i for item, i in places if i < len(self._items) and self._items[i] is item)

    def _wanted(self, kept: list[int]) -> tuple[int, int]:
        """The window, as indices: a few steps from the present one towards where it should be."""
        count = len(self._items)
        height = max(self.container_size.height, 1)
        if self._pin is not None:
            if self._pin[0] in kept:
                return self._grown(min(kept), max(kept) + 1, height)
            return self._seat(self._pin[0], height)
        if self.follows_end and (not kept or max(kept) < count - _STEP):
            return self._seat(count - 1, height)
        if not kept:
            return self._seat(self._heights.index_at(self.scroll_y), height) if count else (0, 0)
        first, end = min(kept), max(kept) + 1
        start, stop = self._heights.above(first), self._heights.above(end)
        if stop < self.scroll_y - height or start > self.scroll_y + 2 * height:
            at = self._heights.index_at(self.scroll_y)
            self._pin = (at, round(self._heights.above(at) - self.scroll_y))
            return self._seat(at, height)
        return self._grown(first, end, height)

    def _seat(self, at: int, height: int) -> tuple[int, int]:
        """A window that fills the view from an item on; it grows in the next frames."""
        first, end = at, min(at + 1, len(self._items))
        while end < len(self._items) and self._heights.between(at, end) < 1.2 * height:
            end += 1
        while first > 0 and self._heights.between(first, end) < 1.2 * height:
            first -= 1
        return first, end

    def _grown(self, first: int, end: int, height: int) -> tuple[int, int]:
        count = len(self._items)
        top, bottom = self.scroll_y, self.scroll_y + height
        if self.follows_end:
            bottom = self._heights.total
            top = bottom - height
        start, stop = self._heights.above(first), self._heights.above(end)
        for _ in range(_STEP):
            if first > 0 and start > top - _NEAR * height:
                first -= 1
                start -= self._heights[first]
            if end < count and stop < bottom + _NEAR * height:
                stop += self._heights[end]
                end += 1
        while end - first > 1 and start + self._heights[first] < top - _FAR * height:
            start += self._heights[first]
            first += 1
        while end - first > 1 and stop - self._heights[end - 1] > bottom + _FAR * height:
            end -= 1
            stop -= self._heights[end]
        return first, end

    async def _apply(self, first: int, end: int) -> None:
        items = self._items[first:end]
        wanted = set(map(id, items))
        with self.app.batch_update():
            gone = [view for item, view in self._views.items() if id(item) not in wanted]
            if gone:
                self._views = {item: view for item, view in self._views.items() if id(item) in wanted}
                for view in gone:
                    self._index.pop(view, None)
                    self._tops.pop(view, None)
                await self.remove_children(gone)
                for view in gone:
                    _forget_lines(view)
            kept = [n for n, item in enumerate(items) if item in self._views]
            low, high = (kept[0], kept[-1] + 1) if kept else (0, 0)
            before = [self._make(item) for item in items[:low]]
            after = [self._make(item) for item in items[high:]]
            self._index = {self._views[item]: first + n for n, item in enumerate(items)}
            if before:
                await self.mount_all(before, before=self._views[items[low]])
            if after:
                await self.mount_all(after)
        self.refresh(layout=True)

    def _make(self, item: object) -> Widget:
        view = self._views[item] = self.make_view(item)
        return view


def _forget_lines(view: Widget) -> None:
    """Drop the painted lines of a widget that was removed. Textual's `StylesCache.get_inner_outer` is an lru_cache that
    keeps the last thousand widgets' lines alive, and each full garbage collection looks through all of them: up to a
    quarter of a second after some minutes of scrolling."""
    for widget in view.walk_children(Widget, with_self=True):
        widget._styles_cache.clear()
