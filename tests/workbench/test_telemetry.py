"""Readings of the hardware on their way to whoever shows them."""

from contextvars import ContextVar

from support.benches import Bench
from support.waiting import until

from phitui.workbench.front import Front

WHO: ContextVar[str] = ContextVar("who")


class Seer(Front):
    def __init__(self):
        self.seen = []

    def show_snapshot(self, snapshot, views):
        self.seen.append(WHO.get("nobody"))


async def test_readings_come_in_the_context_of_who_wanted_them(home):
    """A widget that is not mounted yet finds its app by that; without it a busy machine ended the console."""
    bench, seer = Bench(hardware={"interval_s": 0.2}), Seer()
    bench.subscribe(seer)
    WHO.set("the console")
    bench.telemetry.start()
    WHO.set("something else")
    await until(lambda: len(seer.seen) > 1)
    await bench.close()
    assert set(seer.seen) == {"the console"}
