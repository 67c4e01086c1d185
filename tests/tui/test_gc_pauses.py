"""Garbage is collected while nobody types."""

import gc
import weakref

from test_console_screen import ready, until

from phitui.config.layers import load_config
from phitui.tui.app.app import PhituiApp
from phitui.tui.terminal import gc_pauses
from phitui.tui.terminal.gc_pauses import GcPauses


class Ring:
    """Garbage that only a collection takes away, once it is old."""

    def __init__(self):
        self.self = self


def old_ring(gone):

    ring = Ring()
    watch = weakref.ref(ring, lambda _: gone.append(True))
    gc.collect()  # it survives, and is old now
    return watch


def test_it_waits_until_nobody_types_and_there_is_enough(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(gc_pauses.time, "monotonic", lambda: now[0])
    heap = GcPauses()
    gone = []
    watch = old_ring(gone)
    assert watch
    heap.typed()
    for _ in range(gc_pauses._WORTH):
        gc.collect(1)
    heap.look()
    assert not gone
    now[0] += gc_pauses._REST_S
    heap.look()
    assert gone
    gone.clear()
    watch = old_ring(gone)
    gc.collect(1)
    heap.look()  # too little has been made since
    assert not gone


async def test_full_collections_are_a_last_resort_while_an_application_runs():
    before = gc.get_threshold()
    app = PhituiApp(load_config(overrides={"model": {"name": "not-there"}}))
    async with app.run_test() as pilot:
        await ready(pilot)
        await until(pilot, lambda: gc.get_threshold() == (*before[:2], gc_pauses._LAST_RESORT))
        app._garbage._typed = 0.0
        await pilot.press("x")
        assert app._garbage._typed > 0
    assert gc.get_threshold() == before
