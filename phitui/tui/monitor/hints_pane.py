"""The hints, worst first."""

from __future__ import annotations

from phitui.hardware.snapshot import Snapshot
from phitui.tui.monitor.cells import MUTED, Row, fit


def hint_rows(snapshot: Snapshot, most: int, width: int) -> list[Row]:
    """At most `most` rows of `width` cells."""
    del snapshot
    return [fit([("  nothing to say", MUTED)], width)][:most]
