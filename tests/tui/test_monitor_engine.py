"""What the engine's clock adds to the monitor that is opened from the console."""

import gc
import sys

import msgspec
from frozen_monitor import CARD, CPU, GIB, HOST, LOST

from phitui.engine.protocol.api import BatchEnded, BatchState, Finished, Loaded, Pulse, Started, Timings, Usage
from phitui.hardware.history import History
from phitui.hardware.host.copy_rate import MemoryRate
from phitui.hardware.snapshot import Snapshot
from phitui.models.footprint import Footprint
from phitui.tui.monitor.picture import MonitorPicture
from phitui.workbench.telemetry.performance import Performance, with_traffic

PHI3 = Footprint(weights=3_825_598_976, weight_step=3_726_970_112, kv_token=393_216)


def text(device, *, pid=4242, kind="cuda", decoding=True, rate=None):
    """The picture's rows as text."""
    performance = Performance(0.95, lambda: pid, lambda: 0.0)
    performance.memory_rate = rate
    performance.note_event(Loaded("m", "M", kind, "int8", 0, 4096, 1, 1.0, "", PHI3))
    if decoding:
        performance.note_event(Started(1, 24))
        performance.note_event(Pulse(0.25, 25, 0.24, 0.0, 0.0, 1, 1000.0, 0))
    snapshot = Snapshot(0.0, HOST, [device])
    views = performance.views(snapshot)
    picture = MonitorPicture(History(), "here", views=views)
    picture.snapshot = with_traffic(snapshot, views)
    return "\n".join("".join(span[0] for span in row) for row in picture.rows(120, 40, []))


def test_modelled_bandwidth_speed_and_memory_by_parts():
    said = text(CARD)
    assert "429 / 1008 GB/s modelled" in said
    # 25 steps in 0.24 s of one row; 1008 GB/s over 4.12 GB a step; power 447 W over 104 tokens/s.
    assert "decode 104 tok/s" in said
    assert "at most 245 tok/s" in said
    assert "MBU 43 %" in said
    assert "with KV copies 511 GB/s" in said
    assert "J/token ≈4.29" in said
    assert "█ weights 3.56 GiB" in said and "▓ KV 0.37 GiB" in said and "░ others 17.0 GiB PID 3… +1" in said
    assert "████▓▒░░░" in said


def test_an_engine_on_the_cpu_has_its_figures_beside_a_gpu():
    said = text(CARD, kind="cpu", rate=MemoryRate(380.0, 500.0, 1))
    assert "GPU 0 NVIDIA" in said and "CPU: decode is weight-bound" in said
    assert "429 / 500 GB/s modelled" in said and "decode 104 tok/s" in said
    assert "GPU 0: power-capped" in said


def test_hints_of_the_engine_are_there():
    said = text(CARD)
    assert "power" in said[said.index("Hints") :]
    rate = MemoryRate(380.0, 500.0, 1)
    assert "decode is weight-bound" in text(CPU, kind="cpu", rate=rate)


def test_while_nothing_is_decoded_the_figures_are_dashes():
    said = text(CARD, decoding=False)
    assert "decode – " in said and "MBU – " in said
    assert "at most 270 tok/s" in said
    assert "busy" in said


def test_without_an_engine_there_is_nothing_to_add():
    picture = MonitorPicture(History(), "here")
    picture.snapshot = Snapshot(0.0, HOST, [CARD])
    said = "\n".join("".join(span[0] for span in row) for row in picture.rows(120, 40, []))
    assert "MBU" not in said and "at most" not in said


def test_three_hours_of_gauges_keep_memory_flat():
    """Answers, batches, energy, hints, history and picture, on a clock of the test's own."""
    now = 0.0
    performance = Performance(0.95, lambda: 4242, lambda: now)
    performance.note_event(Loaded("m", "M", "cuda", "int8", 0, 4096, 1, 1.0, "", PHI3))
    history, blocks = History(), []
    picture = MonitorPicture(history, "here")
    for second in range(3 * 3600):
        for event in _events(second):
            performance.note_event(event)
        for quarter in range(4 if second % 60 < 40 else 0):
            now = second + quarter / 4
            performance.note_event(Pulse(0.25, 25, 0.24, 0.0, 0.0, 1 + second % 8, 500.0 + second % 60, 0))
        now = second + 0.9
        snapshot = Snapshot(1e9 + second, HOST, _devices(second))
        performance.note_snapshot(snapshot)
        views = performance.views(snapshot)
        snapshot = with_traffic(snapshot, views)
        history.add(snapshot)
        picture.snapshot, picture.views = snapshot, views
        picture.rows(120, 40, [])
        if second % 300 == 299:
            gc.collect()
            blocks.append(sys.getallocatedblocks())
    assert performance.answer_energy.gross_j
    hour = len(blocks) // 3
    # The history is full after the first; a page of a graph that fills has some hundred numbers more than a new one.
    assert max(blocks[2 * hour :]) - max(blocks[hour : 2 * hour]) < 500, blocks


def _events(second):
    """A minute: an answer of 20 s, a batch of 20 s, and a pause."""
    step, number = second % 60, second // 60
    return {
        0: [Started(number, 24)],
        20: [Finished(number, "stop", Usage(24, 2000), Timings(1.0, 1.0, 1.0, 1.0))],
        21: [BatchState(1_000_000 + number, 8, 40, 0, 0)],
        39: [BatchEnded(1_000_000 + number, "done")],
    }.get(step, [])


def _devices(second):
    """A card whose figures move and whose processes come and go; it is lost for a moment now and then."""
    if second % 1000 == 999:
        return [msgspec.structs.replace(LOST, index=0, uuid=CARD.uuid)]
    memory = msgspec.structs.replace(CARD.vram, used_bytes=CARD.vram.used_bytes - second % 600 * GIB // 100)
    processes = [msgspec.structs.replace(CARD.processes[1], pid=1000 + second // 10), *CARD.processes]
    return [msgspec.structs.replace(CARD, energy_j=1e6 + 300.0 * second, vram=memory, processes=processes)]
