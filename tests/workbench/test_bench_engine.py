"""A bench whose real engine runs out of memory, and a card's sensors by the real pynvml on the stand-in driver."""

import asyncio
import contextlib
import time

import pytest
import standin

from phitui.engine.protocol.api import Load
from phitui.workbench.bench import watch
from phitui.workbench.bench.bench import BenchPlan, BenchRuns, EngineSource, run_to_the_end
from phitui.workbench.bench.figures import Hardware
from phitui.workbench.bench.watch import Watch
from phitui.workbench.measure.probing import ProbingEngine

MIB = 1024**2


async def test_a_size_that_runs_out_of_memory_is_a_line_and_the_others_have_figures(tmp_path, demo_folder):
    """A real failure to allocate: the process is held to 40 MiB more than it has."""
    engine = ProbingEngine(tmp_path / "engine.log", lambda progress: None)
    try:
        await engine.load(Load(str(demo_folder), "cpu", "int8", 1, str(tmp_path / "profiles.json")))
        room = await engine.warm_up(16)
        book = BenchRuns(BenchPlan((1, 24), 120, 8, 2))
        await run_to_the_end(book, Held(engine, room.rest_bytes + 40 * MIB), None, lambda progress: None)
    finally:
        await engine.stop()
    fits, fails = book.results(lambda batch: Hardware(None, 1, None))
    assert (fits.outcome, len(fits.runs)) == ("ok", 2)
    assert (fails.outcome, fails.runs) == ("oom", [])
    assert "the engine goes on" in fails.detail


class Held(EngineSource):
    """The engine with a bound of our own, whatever else is free."""

    def __init__(self, engine, bound_bytes):
        super().__init__(engine, bound_bytes)
        self._bound = bound_bytes

    async def run(self, batch, prompt_tokens, max_tokens):
        self._usable_bytes = self._bound
        return await super().run(batch, prompt_tokens, max_tokens)


@pytest.fixture
def card(tmp_path, monkeypatch):
    """watched("rtx4090") is a Watch on that card; of several, that with the UUID."""
    if standin.compiler() is None:
        pytest.skip(standin.NO_COMPILER)
    monkeypatch.setattr(watch, "_IDLE_S", 1.2)
    library = standin.build(tmp_path)

    @contextlib.asynccontextmanager
    async def watched(profile, uuid=""):
        driver = standin.Driver(library, tmp_path / "state", standin.profile(profile))
        with driver.installed():
            watch = Watch(lambda: None, uuid)
            try:
                await watch.start()
                yield driver, watch
            finally:
                watch.stop()
                await asyncio.sleep(0.3)

    return watched


async def test_a_run_on_a_card_has_its_energy_and_the_drivers_reasons(card):
    """The stand-in's counter goes at 291.04 W and its idle power is 100 W."""
    async with card("rtx4090") as (driver, watch):
        driver.change({"0.field.186": 100_000})
        await asyncio.sleep(1.0)
        driver.change({"0.field.186": 291_040})
        begun, at = watch.begin_run(), time.monotonic()
        await asyncio.sleep(1.5)
        energy = await watch.end_run(begun, tokens=100)
        seconds = time.monotonic() - at
    assert watch.device.name == "NVIDIA GeForce RTX 4090"
    assert energy.source == "counter"
    assert energy.rough
    assert energy.gross_j == pytest.approx(2.9104 * seconds, rel=0.15)
    assert energy.net_j is not None and 0 < energy.net_j < energy.gross_j
    assert watch.throttle_reasons == ["SW_POWER_CAP"]


async def test_of_two_cards_it_looks_at_the_one_that_cuda_named(card):
    """In a container the driver's processes have other ids: none is the engine's."""
    second = standin.profile("2x4090")["1.uuid"].removeprefix("GPU-")
    for uuid, index in ((second, 1), (second.upper(), 1), ("", 0)):
        async with card("2x4090", uuid) as (_, watch):
            assert watch.device.index == index


async def test_a_card_without_figures_of_energy_says_why(card):
    async with card("rtx4090") as (driver, watch):
        driver.change({key: None for key in driver.state if key.startswith(("0.power", "0.energy", "0.field.186"))})
        await asyncio.sleep(1.0)
        begun = watch.begin_run()
        await asyncio.sleep(0.7)
        energy = await watch.end_run(begun, tokens=100)
    assert energy.gross_j is None
    assert energy.reason
