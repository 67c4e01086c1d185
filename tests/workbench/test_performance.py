"""Pulses, bytes and sensors brought together, with a clock of the test's own and figures by hand."""

import msgspec
import pytest

from phitui.core.ipc.messages import Progress
from phitui.engine.protocol.api import (
    BatchEnded,
    BatchState,
    Died,
    Finished,
    Loaded,
    Parked,
    Pulse,
    RowsMade,
    Started,
    Timings,
    Usage,
    Woken,
)
from phitui.hardware.host.copy_rate import MemoryRate
from phitui.hardware.snapshot import Bandwidth, Device, Host, Memory, Process, Snapshot
from phitui.models.footprint import Footprint
from phitui.workbench.telemetry.performance import Performance, engine_device, with_traffic

GIB = 1024**3
PID = 4711
PHI3 = Footprint(weights=3_825_598_976, weight_step=3_726_970_112, kv_token=393_216)
SMOL = Footprint(weights=135_000_000, weight_step=135_000_000, kv_token=138_240)
CARD = Device(
    "gpu", 0, "RTX 4090", util_pct=97.0, power_w=300.0, energy_j=1000.0,
    vram=Memory(24 * GIB, 12 * GIB, GIB, 11 * GIB), bandwidth=Bandwidth(900.0, 1008.0, "busy"),
    processes=[Process(PID, "C", 8 * GIB, name="python"), Process(9, "C", 4 * GIB, name="vllm")],
)  # fmt: skip
CPU = Device("cpu", 0, "EPYC", vram=Memory(64 * GIB, 20 * GIB, None, 44 * GIB))
HOST = Host(ram_total_bytes=64 * GIB, ram_available_bytes=44 * GIB, rss_bytes={"engine": GIB})


def loaded(device="cuda", footprint=PHI3):
    return Loaded("m", "M", device, "int8", 0, 4096, 1, 1.0, "", footprint)


def pulse(steps=25, decode_s=0.24, window_s=0.25, context=1000.0, **options):
    tokenize_s, rows = options.pop("tokenize_s", 0.0), options.pop("rows", 1)
    return Pulse(window_s, steps, decode_s, 0.0, tokenize_s, rows, context, 0, **options)


class Bench:
    """A Performance on a clock that the test moves."""

    def __init__(self, device="cuda", footprint=PHI3):
        self.now = 0.0
        self.made = Performance(0.95, lambda: PID, lambda: self.now)
        self.made.note_event(loaded(device, footprint))

    def answer(self, *pulses):
        """A prompt that is being answered, these pulses so far, one each 0.25 s."""
        self.made.note_event(Started(1, 24))
        for one in pulses:
            self.now += 0.25
            self.made.note_event(one)

    def finish(self, tokens=100):
        self.made.note_event(Finished(1, "stop", Usage(24, tokens), Timings(1.0, 1.0, 1.0, 1.0)))

    def view(self, device=CARD, host=HOST):
        return self.made.views(Snapshot(0.0, host, [device]))[0]


def test_modelled_while_it_decodes_and_the_drivers_bound_while_not():
    bench = Bench()
    assert bench.view().traffic.source == "busy"
    bench.answer(pulse(), pulse())
    traffic = bench.view().traffic
    # 50 steps in 0.48 s: 104.17 steps/s; useful 3.727 + 0.393 = 4.120 GB a step, engine 3.727 + 3 · 0.393 = 4.907 GB.
    assert traffic.source == "modelled"
    assert traffic.value_gb_s == traffic.useful_gb_s == pytest.approx(429.19, abs=0.01)
    assert traffic.engine_gb_s == pytest.approx(511.11, abs=0.01)
    assert traffic.mbu == pytest.approx(429.19 / 1008, abs=1e-4)
    assert traffic.ceiling_tokens_per_s == pytest.approx(1008e9 / 4_120_186_112)
    bench.now += 2.0  # no pulse any more
    assert bench.view().traffic.source == "busy"


def test_measured_comes_before_modelled_and_mbu_stays_the_models():
    bench = Bench()
    bench.answer(pulse())
    card = msgspec.structs.replace(CARD, bandwidth=Bandwidth(600.0, 1008.0, "measured"))
    traffic = bench.view(card).traffic
    assert (traffic.value_gb_s, traffic.source) == (600.0, "measured")
    assert traffic.useful_gb_s == pytest.approx(429.19, abs=0.01)
    assert traffic.mbu == pytest.approx(0.4258, abs=1e-4)


def test_the_ceiling_without_a_decode_is_that_of_one_empty_row():
    traffic = Bench().view().traffic
    assert traffic.ceiling_tokens_per_s == pytest.approx(270.46, abs=0.01)
    assert (traffic.mbu, traffic.useful_gb_s) == (None, None)


def test_the_speed_is_that_of_the_newest_second():
    bench = Bench()
    bench.answer(*[pulse(steps=5)] * 8, *[pulse(steps=20)] * 4)
    assert bench.view().decode.steps_per_s == pytest.approx(80 / 0.96)
    assert bench.view().joules_per_token == pytest.approx(300 / (80 / 0.96))


def test_steps_of_more_than_a_second_are_seen_all_the_time():
    """A model of 15 GB on a CPU: a step ends with every sixth pulse."""
    bench = Bench()
    bench.answer(*[pulse(steps=0, decode_s=0.0, context=None)] * 4)
    assert bench.view().decode is None  # it still reads the prompt
    for _ in range(3):
        bench.answer(pulse(steps=1, decode_s=1.5))
        for _ in range(5):
            bench.answer(pulse(steps=0, decode_s=0.0, context=None))
            assert bench.view().decode.steps_per_s == pytest.approx(1 / 1.5)
    bench.answer(pulse(steps=0, decode_s=0.0, context=None, last=True))
    bench.answer(*[pulse(steps=0, decode_s=0.0, context=None)] * 5)
    assert bench.view().decode is None  # the next prompt is read: the answer before is not its decode


def test_the_rows_are_those_of_the_newest_steps():
    bench = Bench()
    bench.answer(pulse(rows=8), pulse(steps=0, decode_s=0.0, context=None, rows=1))
    assert bench.view().decode.rows == 8


def test_batches_side_by_side_read_the_weights_each_for_itself():
    bench = Bench()
    bench.answer(pulse(rows=8, waves=2.0), pulse(rows=8, waves=2.0))
    view = bench.view()
    assert view.decode.waves == pytest.approx(2.0)
    # 104.17 steps/s of 2 × 3.727 + 8 × 0.393 GB
    useful = 2 * PHI3.weight_step + 8 * 1000 * PHI3.kv_token
    assert view.traffic.useful_gb_s == pytest.approx(50 / 0.48 * useful / 1e9)
    assert view.traffic.ceiling_tokens_per_s == pytest.approx(8 * 1008e9 / useful)


def test_a_batch_is_work():
    bench = Bench("cpu", SMOL)
    assert bench.made.wants_memory_rate
    bench.made.note_event(BatchState(5, 8, 40, 0, 0))
    assert bench.made.working
    assert not bench.made.wants_memory_rate  # it would be measured with the rows
    assert bench.view(CPU).memory.bytes_of("kv") == 0  # not known before the first step:
    assert bench.view(CPU).memory.parts[0].name == "engine"
    bench.made.note_event(pulse(rows=8, context=100.0))
    assert bench.view(CPU).memory.bytes_of("kv") == 8 * 100 * SMOL.kv_token
    bench.made.note_event(BatchState(5, 0, 0, 99, 0))  # it waits for rows
    assert not bench.made.working
    bench.made.note_event(RowsMade(5, [(1, [2])]))
    assert bench.made.working
    bench.made.note_event(BatchEnded(5, "done"))
    assert not bench.made.working
    assert bench.view(CPU).memory.bytes_of("kv") == 0
    bench.made.note_event(BatchState(6, 1, 0, 0, 0))
    bench.made.note_event(Died("killed", [1], True))
    assert not bench.made.working


def test_the_power_of_a_batch_is_not_that_of_idling():
    bench = Bench()
    bench.made.note_event(BatchState(5, 8, 0, 0, 0))
    energy(bench, 1000.0, 300.0)
    bench.made.note_event(BatchEnded(5, "done"))
    bench.answer()
    energy(bench, 1300.0, 300.0)
    bench.finish()
    energy(bench, 1600.0, 60.0)
    assert (bench.made.answer_energy.gross_j, bench.made.answer_energy.net_j) == (
        pytest.approx(3.0),
        pytest.approx(2.4),
    )


def test_without_bytes_per_step_nothing_is_modelled():
    bench = Bench(footprint=None)
    bench.answer(pulse())
    assert bench.view().traffic.source == "busy"
    traffic = bench.view(msgspec.structs.replace(CARD, bandwidth=Bandwidth())).traffic
    assert (traffic.value_gb_s, traffic.reason) == (None, "this model's bytes per step are not known")


def test_on_a_cpu_the_peak_is_the_measured_memory():
    bench = Bench("cpu", SMOL)
    assert bench.view(CPU).traffic.peak_reason == "measured while the engine is idle"
    assert bench.made.wants_memory_rate
    bench.made.memory_rate = MemoryRate(15.0, 20.0, 32 << 20)
    assert not bench.made.wants_memory_rate
    assert bench.view(CPU).traffic.reason == "modelled while it decodes"
    bench.answer(pulse(steps=8, decode_s=0.25, context=0.0))
    traffic = bench.view(CPU).traffic
    assert (traffic.value_gb_s, traffic.peak_gb_s) == (pytest.approx(4.32), 20.0)
    assert traffic.ceiling_tokens_per_s == pytest.approx(148.15, abs=0.01)


def test_weights_that_fit_into_a_cache_have_no_peak():
    bench = Bench("cpu", SMOL)
    bench.made.memory_rate = MemoryRate(15.0, 20.0, 256 << 20)
    traffic = bench.view(CPU).traffic
    assert (traffic.peak_gb_s, traffic.ceiling_tokens_per_s) == (None, None)
    assert traffic.peak_reason == "the weights fit into the processor's cache"


def test_the_memory_of_a_card_by_parts():
    bench = Bench()
    assert [part.kind for part in bench.view().memory.parts] == ["weights", "work", "others", "reserve", "free"]
    bench.answer(pulse(context=2000.0))
    memory = bench.view().memory
    assert memory.bytes_of("kv") == 2000 * 393_216
    assert memory.bytes_of("work") == 8 * GIB - PHI3.weights - 2000 * 393_216
    assert memory.parts[3].name == "vllm"
    bench.finish()
    assert bench.view().memory.bytes_of("kv") == 0


def test_while_it_reads_the_prompt_the_cache_is_the_prompts():
    bench = Bench()
    bench.answer()
    assert bench.view().memory.bytes_of("kv") == 24 * 393_216


def test_a_parked_model_has_no_weights_there():
    bench = Bench()
    bench.made.note_event(Parked("host memory"))
    assert bench.view().memory.bytes_of("weights") == 0
    bench.made.note_event(Woken(1.0))
    assert bench.view().memory.bytes_of("weights") == PHI3.weights


def test_an_engine_whose_process_is_not_listed_is_not_told_apart():
    memory = Bench().view(msgspec.structs.replace(CARD, processes=None)).memory
    assert [part.kind for part in memory.parts] == ["weights", "unknown", "reserve", "free"]


def test_on_a_cpu_the_process_is_its_resident_memory():
    memory = Bench("cpu", SMOL).view(CPU).memory
    assert memory.bytes_of("work") == GIB - SMOL.weights
    assert memory.bytes_of("others") == 19 * GIB


def test_the_engine_is_on_the_card_that_lists_it():
    other = msgspec.structs.replace(CARD, index=0, processes=[])
    own = msgspec.structs.replace(CARD, index=1)
    views = Bench().made.views(Snapshot(0.0, HOST, [other, own]))
    assert [view.engine for view in views] == [False, True]
    assert views[0].traffic.source == "busy"
    assert views[0].memory.bytes_of("weights") == 0


def devices(*cards):
    return Snapshot(0.0, HOST, [msgspec.structs.replace(CARD, processes=[], **of) for of in cards])


def test_the_engine_is_on_the_card_with_the_uuid_that_cuda_told():
    two = devices({"index": 0, "uuid": "GPU-4e1f"}, {"index": 1, "uuid": "GPU-B7C8"})
    assert engine_device(two, "cuda", PID, "b7c8").index == 1
    made = Performance(0.95, lambda: PID)
    made.note_event(msgspec.structs.replace(loaded(), device_uuid="b7c8"))
    assert [view.engine for view in made.views(two)] == [False, True]
    assert engine_device(two, "cuda", PID, "0a1b") is None  # a third card, which is not listed
    unnamed = devices({"index": 0, "uuid": "GPU-4e1f"}, {"index": 1, "uuid": None})
    assert engine_device(unnamed, "cuda", PID, "0a1b").index == 1


def test_of_a_divided_card_the_engine_is_on_a_slice():
    card, first, second = {"uuid": "GPU-0a"}, {"uuid": "MIG-1d", "mig": "1g.10gb"}, {"uuid": "MIG-2d", "mig": "3g.40gb"}
    three = devices(card, first, second)
    assert engine_device(three, "cuda", PID, "2d").uuid == "MIG-2d"
    assert engine_device(three, "cuda", PID).uuid == "MIG-1d"
    listed = [msgspec.structs.replace(one, processes=CARD.processes) for one in (three.devices[0], three.devices[2])]
    beside = msgspec.structs.replace(three, devices=[listed[0], three.devices[1], listed[1]])
    assert engine_device(beside, "cuda", PID).uuid == "MIG-2d"  # the card lists the processes of its slices too


def energy(bench, joules, watts, seconds=1.0, **changes):
    bench.now += seconds
    device = msgspec.structs.replace(CARD, energy_j=joules, power_w=watts, **changes)
    bench.made.note_snapshot(Snapshot(0.0, HOST, [device]))


def test_energy_of_an_answer_is_known_with_the_reading_after_it():
    bench = Bench()
    energy(bench, 1000.0, 50.0)
    energy(bench, 1050.0, 50.0)
    bench.answer()  # begins at 2 s
    for second in range(1, 11):
        energy(bench, 1050.0 + 300.0 * second, 300.0)
    bench.finish(tokens=100)
    assert bench.made.answer_energy.reason == "with the next reading"
    energy(bench, 4400.0, 50.0)
    assert bench.made.answer_energy.gross_j == pytest.approx(30.0)
    assert bench.made.answer_energy.net_j == pytest.approx(25.0)
    assert (bench.made.answer_energy.source, bench.made.answer_energy.rough) == ("counter", False)


def test_an_engine_that_is_ended_for_another_model_leaves_no_answer_behind():
    """It says nothing any more: neither `Finished` nor `Died` comes."""
    bench = Bench("cpu", SMOL)
    bench.answer(pulse())
    bench.made.note_event(Progress("load", "loading the other"))
    assert bench.view(CPU).engine is False  # the old model's bytes are not there any more
    bench.made.note_event(loaded("cpu", SMOL))
    assert not bench.made.working
    assert bench.made.wants_memory_rate
    assert bench.view(CPU).memory.bytes_of("kv") == 0


def test_another_cards_counter_is_not_this_ones():
    """The driver lists an engine's process some seconds after its start: until then the first card is taken."""
    bench = Bench()
    first = msgspec.structs.replace(CARD, uuid="GPU-a", energy_j=5e6, processes=[])
    second = msgspec.structs.replace(CARD, index=1, uuid="GPU-b", energy_j=9e6)
    bench.made.note_snapshot(Snapshot(0.0, HOST, [first]))
    bench.answer()
    for joules in (0.0, 300.0):
        bench.now += 1.0
        card = msgspec.structs.replace(second, energy_j=9e6 + joules)
        bench.made.note_snapshot(Snapshot(0.0, HOST, [first, card]))
    bench.finish(tokens=100)
    bench.now += 1.0
    bench.made.note_snapshot(Snapshot(0.0, HOST, [first, msgspec.structs.replace(second, energy_j=9e6 + 600.0)]))
    assert (bench.made.answer_energy.gross_j, bench.made.answer_energy.reason) == (None, "not read from begin to end")


def test_an_answer_on_the_cpu_has_not_the_energy_of_one_before_on_a_card():
    bench = Bench()
    bench.answer()
    bench.finish()
    for second in range(3):
        energy(bench, 1000.0 + second, 1.0)
    assert bench.made.answer_energy is not None
    bench.made.note_event(loaded("cpu", SMOL))
    bench.answer()
    bench.finish()
    assert bench.made.answer_energy is None


def test_without_a_card_an_answer_has_no_energy():
    bench = Bench("cpu", SMOL)
    bench.answer()
    bench.finish()
    bench.now += 1.0
    bench.made.note_snapshot(Snapshot(0.0, HOST, [CPU]))
    assert bench.made.answer_energy is None


def test_a_card_that_is_lost_in_an_answer_leaves_the_reason():
    bench = Bench()
    energy(bench, 1000.0, 50.0)
    bench.answer()
    energy(bench, None, None, unavailable={"power_w": "the GPU is lost"})
    bench.finish()
    energy(bench, 1500.0, 50.0)
    assert bench.made.answer_energy.gross_j is None
    assert bench.made.answer_energy.reason == "the GPU is lost"


def test_hints_from_what_the_engine_does():
    bench = Bench()
    bench.answer(*[pulse(steps=45, context=100.0)] * 4)
    (hint,) = [hint for hint in bench.view().hints if hint.rule == "weight-bound"]
    assert hint.text.startswith("decode is weight-bound: 70% of peak at batch 1; a larger batch is nearly free")


def test_idle_with_an_empty_queue_after_some_work():
    bench = Bench()
    bench.now = 50.0
    bench.answer(*[pulse()] * 40, pulse(last=True))  # 10.25 s of work
    bench.finish()
    bench.now += 2
    idle = msgspec.structs.replace(CARD, util_pct=2.0)
    assert "GPU idle 83%: queue empty" in [hint.text for hint in bench.view(idle).hints]
    bench.now += 120
    assert "queue-empty" not in [hint.rule for hint in bench.view(idle).hints]


def test_tokenizing_that_takes_its_time():
    bench = Bench()
    bench.answer(*[pulse(tokenize_s=0.05)] * 8)
    assert "CPU-bound: tokenizing takes 20% of the time" in [hint.text for hint in bench.view().hints]


def test_a_dead_engine_is_nowhere():
    bench = Bench()
    bench.answer(pulse())
    bench.made.note_event(Died("killed", [1], True))
    view = bench.view()
    assert (view.engine, view.decode, bench.made.working) == (False, None, False)
    assert view.memory.bytes_of("others") == 12 * GIB


def test_a_snapshot_takes_the_modelled_bandwidth_and_its_reasons():
    bench = Bench("cpu", SMOL)
    snapshot = Snapshot(0.0, HOST, [msgspec.structs.replace(CPU, unavailable={"bandwidth.peak_gb_s": "not measured"})])
    device = with_traffic(snapshot, bench.made.views(snapshot)).devices[0]
    assert device.bandwidth == Bandwidth()
    assert device.unavailable == {
        "bandwidth.value_gb_s": "modelled while it decodes",
        "bandwidth.source": "modelled while it decodes",
        "bandwidth.peak_gb_s": "measured while the engine is idle",
    }
    bench.made.memory_rate = MemoryRate(15.0, 20.0, 32 << 20)
    bench.answer(pulse(steps=8, decode_s=0.25, context=0.0))
    device = with_traffic(snapshot, bench.made.views(snapshot)).devices[0]
    assert device.bandwidth == Bandwidth(pytest.approx(4.32), 20.0, "modelled")
    assert device.unavailable == {}


def test_while_the_tuner_probes_its_memory_is_the_engines_and_nothing_else_is_measured():
    bench = Bench("cpu", SMOL)
    assert bench.made.wants_memory_rate
    bench.made.probing = True
    assert not bench.made.wants_memory_rate  # it would be measured with the probes
    host = msgspec.structs.replace(HOST, rss_bytes={"engine": 3 * GIB})
    parts = {part.name: part.bytes for part in bench.view(CPU, host).memory.parts if part.kind == "unknown"}
    assert parts == {"engine": 3 * GIB}  # weights, cache and work are not told apart
    bench.made.probing = False
    assert bench.view(CPU, host).memory.bytes_of("unknown") == 0
