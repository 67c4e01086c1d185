"""The real engine and the real machine's readings, brought together while an answer is made."""

import asyncio
import queue

import pytest

from phitui.engine.local.client import EngineClient
from phitui.engine.protocol.api import Finished, Load, Pulse, Sampling, Turn
from phitui.hardware.host.copy_rate import MemoryRate
from phitui.hardware.sampler import Sampler
from phitui.models.footprint import footprint
from phitui.models.manifest import read_manifest
from phitui.workbench.telemetry.performance import ENGINE, Performance

STORY = [Turn("user", "Tell me a very long story about a lighthouse.")]


async def test_an_answer_on_the_cpu_has_modelled_bandwidth_and_memory_by_parts(tmp_path, demo_folder):
    events: list = []
    client = EngineClient(tmp_path / "engine.log", events.append)
    performance = Performance(0.95, lambda: client.pid)
    performance.memory_rate = MemoryRate(1000.0, 1000.0)  # a bound that no test machine comes near
    snapshots: queue.Queue = queue.Queue()
    sampler = Sampler(0.2, snapshots.put, lambda: {} if client.pid is None else {ENGINE: client.pid})
    seen = []
    try:
        await client.load(Load(str(demo_folder), "cpu", "int8", 1, str(tmp_path / "profiles.json")))
        for _ in range(6000):
            if client.loaded is not None:
                break
            await asyncio.sleep(0.02)
        sampler.start()
        await client.generate(STORY, Sampling(80, 0.0, 0, 1.0, 1.0))
        finished = None
        while finished is None:
            await asyncio.sleep(0.02)
            for event in events:
                performance.note_event(event)
                finished = event if isinstance(event, Finished) else finished
            pulsed = any(isinstance(event, Pulse) for event in events)
            events.clear()
            if pulsed and not snapshots.empty():
                snapshot = snapshots.get_nowait()
                performance.note_snapshot(snapshot)
                view = next((v for v in performance.views(snapshot) if v.engine), None)
                seen.append(view or performance.host_view(snapshot))
    finally:
        sampler.stop()
        await client.stop()
    modelled = [view for view in seen if view.decode is not None]
    assert modelled, "no decode was seen"
    made = footprint(read_manifest(demo_folder), "int8")
    weights, kv = made.weights, made.kv_token
    for view in modelled:
        load = weights + kv * view.decode.context_tokens
        assert view.traffic.source == "modelled"
        assert view.traffic.value_gb_s == pytest.approx(load * view.decode.steps_per_s / 1e9)
        assert 0 < view.traffic.mbu < 1
        assert view.memory.bytes_of("weights") == weights
        assert view.memory.bytes_of("kv") > kv * finished.usage.prompt_tokens
        assert view.memory.bytes_of("work") > 0
        assert sum(part.bytes for part in view.memory.parts) == view.memory.total_bytes
    # The newest second's speed is near the whole answer's: both are the same clock's, over other windows.
    speeds = [view.decode.tokens_per_s for view in modelled]
    assert min(speeds) * 0.5 < finished.timings.decode_tokens_per_s < max(speeds) * 2
