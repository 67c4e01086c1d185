"""The memory is measured when the engine has nothing to do, and not before."""

import asyncio

from phitui.engine.protocol.api import Finished, Loaded, Started, Timings, Usage
from phitui.hardware.host.copy_rate import MemoryRate
from phitui.workbench.telemetry import calibrator
from phitui.workbench.telemetry.calibrator import Calibrator
from phitui.workbench.telemetry.performance import Performance

RATE = MemoryRate(10.0, 12.0)


class Desk:
    """A calibrator on a clock of the test's own; what it would measure is told by the test."""

    def __init__(self, monkeypatch, device="cpu"):
        self.now = 0.0
        self.calls = 0
        self.answer: asyncio.Future = asyncio.get_running_loop().create_future()
        self.performance = Performance(0.95, lambda: None, lambda: self.now)
        self.performance.note_event(Loaded("m", "M", device, "int8", 1, 4096, 1, 1.0, ""))
        self.made = Calibrator(self.performance, lambda: self.now)

        async def measured():
            self.calls += 1
            return await self.answer

        async def kept():
            return self.kept

        self.kept = None
        monkeypatch.setattr(calibrator, "_measured", measured)
        monkeypatch.setattr(calibrator, "_kept", kept)

    async def look(self, seconds=0.0):
        self.now += seconds
        self.made.look()
        for _ in range(4):
            await asyncio.sleep(0)


async def test_after_a_while_of_idling_and_once(monkeypatch):
    desk = Desk(monkeypatch)
    await desk.look()
    await desk.look(2.9)
    assert desk.calls == 0
    await desk.look(0.2)
    await desk.look(1.0)
    assert desk.calls == 1
    desk.answer.set_result(RATE)
    await desk.look()
    assert desk.performance.memory_rate is RATE
    await desk.look(60)
    assert desk.calls == 1


async def test_a_rate_that_was_kept_is_there_at_once(monkeypatch):
    desk = Desk(monkeypatch)
    desk.kept = RATE
    await desk.look()
    assert desk.performance.memory_rate is RATE
    await desk.look(60)
    assert desk.calls == 0


async def test_it_gives_way_to_a_prompt_and_tries_again_after_it(monkeypatch):
    desk = Desk(monkeypatch)
    await desk.look()
    await desk.look(4)
    desk.performance.note_event(Started(1, 10))
    await desk.look()
    assert desk.answer.cancelled()
    await desk.look(10)
    assert desk.calls == 1
    desk.performance.note_event(Finished(1, "stop", Usage(1, 1), Timings(1.0, 1.0, 1.0, 1.0)))
    desk.answer = asyncio.get_running_loop().create_future()
    await desk.look()
    await desk.look(2)
    assert desk.calls == 1
    await desk.look(2)
    assert desk.calls == 2
    await desk.made.stop()
    assert desk.answer.cancelled()


async def test_a_machine_that_cannot_be_measured_is_left_alone(monkeypatch):
    desk = Desk(monkeypatch)
    desk.answer.set_result(None)
    for _ in range(40):
        await desk.look(5)
    assert desk.calls == 3
    assert desk.performance.memory_rate is None


async def test_the_memory_of_a_machine_whose_card_computes_is_of_no_use(monkeypatch):
    desk = Desk(monkeypatch, "cuda")
    for _ in range(3):
        await desk.look(10)
    assert desk.calls == 0
