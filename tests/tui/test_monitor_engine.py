"""What the engine's clock adds to the monitor that is opened from the console."""

from frozen_monitor import CARD, CPU, HOST

from phitui.engine.api import Loaded, Pulse, Started
from phitui.hardware.copy_rate import MemoryRate
from phitui.hardware.history import History
from phitui.hardware.snapshot import Snapshot
from phitui.jobs.performance import Performance, with_traffic
from phitui.models.footprint import Footprint
from phitui.tui.monitor.picture import Picture

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
    picture = Picture(History(), "here", views=views)
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
    assert "J/token 4.29" in said
    assert "weights 3.56 GiB" in said and "KV 0.37 GiB" in said


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
    picture = Picture(History(), "here")
    picture.snapshot = Snapshot(0.0, HOST, [CARD])
    said = "\n".join("".join(span[0] for span in row) for row in picture.rows(120, 40, []))
    assert "MBU" not in said and "at most" not in said
