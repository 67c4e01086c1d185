"""What the gauges say, for figures by hand."""

import msgspec
import pytest

from phitui.engine.protocol.api import Timings
from phitui.hardware.analysis.energy import PerToken
from phitui.hardware.analysis.memory_parts import memory_parts
from phitui.hardware.snapshot import Device, Host, Memory
from phitui.tui.widgets.readings import answer_readings, groups
from phitui.workbench.telemetry.performance import DeviceView
from phitui.workbench.telemetry.pulses import Decode
from phitui.workbench.telemetry.traffic import Traffic

GIB = 1024**3
CARD = Device("gpu", 0, "card", util_pct=97.0, power_w=300.0, power_limit_w=450.0, temperature_c=60.0)
PARTS = memory_parts(Memory(24 * GIB, 20 * GIB, GIB, 3 * GIB), None, 0.95)
HOST = DeviceView(Device("cpu", 0, "EPYC"), Traffic(), PARTS, ())


def bandwidth(traffic, decode=None, engine=True):
    card = groups([DeviceView(CARD, traffic, PARTS, (), engine, decode)], Host(), HOST)[0]
    return next(reading for reading in card.readings if reading.label == "Bandwidth")


def test_modelled_with_mbu_speed_and_ceiling():
    traffic = Traffic(value_gb_s=718.2, source="modelled", peak_gb_s=1008.0, mbu=0.7125, ceiling_tokens_per_s=270.46)
    reading = bandwidth(traffic, Decode(192.31, 1, 10.0, 1.0))
    assert reading.value == "718 / 1008 GB/s"
    assert reading.fraction == pytest.approx(0.7125)
    assert reading.notes == ("modelled · MBU 71%", "192.3 of at most 270 tok/s")
    assert reading.brief == "modelled 718 GB/s"


def test_every_source_is_named():
    assert bandwidth(Traffic(300.0, "measured", peak_gb_s=3352.0), engine=False).notes == ("measured",)
    busy = bandwidth(Traffic(300.0, "busy", peak_gb_s=1008.0), engine=False)
    assert busy.notes == ("upper bound, by how long it was busy",)


def test_without_a_value_there_is_a_dash_and_a_reason_and_no_place_in_the_line():
    reading = bandwidth(Traffic(reason="not permitted", peak_reason="no clock"))
    assert (reading.value, reading.reason, reading.brief, reading.fraction) == ("–", "not permitted", "", None)
    assert reading.notes[1] == "no peak: no clock"


def test_a_small_rate_keeps_a_decimal_and_needs_no_peak():
    reading = bandwidth(Traffic(4.32, "modelled", peak_reason="the weights fit into the processor's cache"))
    assert (reading.value, reading.fraction) == ("4.3 GB/s", None)


def test_power_has_the_energy_of_a_token_while_it_decodes():
    view = DeviceView(CARD, Traffic(), PARTS, (), True, None, 3.456)
    power = next(reading for reading in groups([view], Host(), HOST)[0].readings if reading.label == "Power")
    assert power.value == "300 / 450 W · ≈3.5 J/tok"


def test_a_memory_that_is_the_machines_is_called_so():
    shared = msgspec.structs.replace(CARD, shares_ram=True)
    card = groups([DeviceView(shared, Traffic(), PARTS, ())], Host(), HOST)[0]
    memory = next(reading for reading in card.readings if reading.memory)
    assert (memory.label, memory.brief) == ("RAM (shared)", "RAM 20.0/24.0 GiB")


TIMINGS = Timings(38.2, 11.1, 1090.0, 88.0)


@pytest.mark.parametrize(
    ("energy", "said"),
    [
        (PerToken(3.456, 2.9, "counter", False), ["3.46 J/token", "2.90 net of idle"]),
        (PerToken(3.456, 2.9, "counter", True), ["≈3.46 J/token", "≈2.90 net of idle"]),
        (PerToken(3.456, None, "sampled", False), ["3.46 J/token, sampled", "net of idle –"]),
        (PerToken(None, None, None, False, "the energy counter went back"), ["–", "the energy counter went back"]),
    ],
)
def test_the_energy_of_the_last_answer(energy, said):
    assert [reading.value for reading in answer_readings(TIMINGS, energy)] == ["90.1 tok/s", "38 ms", *said]


def test_an_answer_without_a_card_says_nothing_of_energy():
    assert [reading.label for reading in answer_readings(TIMINGS)] == ["decode", "TTFT"]
