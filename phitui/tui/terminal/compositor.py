"""Textual's compositor, in which no change of the layout is lost."""

from __future__ import annotations

from textual._compositor import Compositor, CompositorMap


class FaithfulCompositor(Compositor):
    """Textual (8.2.8) also lays out where somebody only asks for a widget's place, after a scroll or with a widget that
    was out of view. What moves then, such as a view that follows its end, is not painted: the layout or the scroll that
    was to come finds nothing changed any more."""

    @property
    def full_map(self) -> CompositorMap:
        """As Textual's; what has moved since it was painted is painted with the next update."""
        if not self._full_map_invalidated:
            return super().full_map
        painted = self._full_map if self._visible_map is None else self._visible_map
        stood = {widget: widget.scroll_y for widget in painted if widget.is_anchored}
        found = super().full_map
        changed = [one for one in {*painted, *found} if painted.get(one) != found.get(one)]
        if changed:
            self._cuts = self._layers = self._layers_visible = None  # they were those of the map before
        for geometry in [places[one] for one in changed for places in (painted, found) if one in places]:
            if region := geometry.clip.intersection(geometry.region):
                self._dirty_regions.add(region)
        for widget, y in stood.items():
            if widget.scroll_y != y:
                widget.vertical_scrollbar.refresh()  # has been moved without a word, too
        return found
