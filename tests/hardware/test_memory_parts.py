"""The parts of a memory always add up to it, and what is not known is said to be unknown."""

import pytest

from phitui.hardware.analysis.memory_parts import EngineMemory, Part, memory_parts, others_of
from phitui.hardware.snapshot import Device, Memory, Process

GIB = 1024**3
CARD = Memory(24 * GIB, 20 * GIB, GIB, 3 * GIB)
PROCESSES = [Process(7, "C", 9 * GIB, name="vllm"), Process(8, "G", GIB, name="Xorg"), Process(9, "C", None, name="x")]


def kinds(made):
    return {part.kind: part.bytes / GIB for part in made.parts}


def test_all_parts_by_hand():
    made = memory_parts(CARD, EngineMemory(10 * GIB, 4 * GIB, 3 * GIB), 0.95, PROCESSES)
    assert made.parts == (
        Part("weights", 4 * GIB),
        Part("kv", 3 * GIB),
        Part("work", 3 * GIB),
        Part("others", 10 * GIB, "vllm +1"),
        Part("reserve", GIB),
        Part("free", 3 * GIB),
    )
    assert made.limit_bytes == int(0.95 * 23 * GIB)
    assert made.usable_bytes == 23 * GIB
    assert made.bytes_of("weights", "kv") == 7 * GIB


def test_an_engine_that_the_driver_does_not_show_leaves_the_rest_unknown():
    made = memory_parts(CARD, EngineMemory(None, 4 * GIB, 3 * GIB), 0.95, PROCESSES)
    assert kinds(made) == {"weights": 4, "unknown": 16, "reserve": 1, "free": 3}
    assert made.parts[1].name == "not told apart"
    assert "work" not in kinds(made) and "others" not in kinds(made)


def test_weights_larger_than_all_that_is_used_are_not_there_yet():
    assert kinds(memory_parts(CARD, EngineMemory(None, 21 * GIB, 0), 0.95))["unknown"] == 20


@pytest.mark.parametrize("engine", [EngineMemory(5 * GIB, 4 * GIB, 3 * GIB), EngineMemory(5 * GIB, None, 0)])
def test_an_engine_that_cannot_be_taken_apart_is_one_part(engine):
    made = memory_parts(CARD, engine, 0.95)
    assert made.parts[0] == Part("unknown", 5 * GIB, "engine")
    assert kinds(made)["others"] == 15


def test_no_engine_here():
    assert kinds(memory_parts(CARD, None, 0.95, PROCESSES)) == {"others": 20, "reserve": 1, "free": 3}


def test_the_others_are_named_after_the_largest_and_how_many_more_there_are():
    one, two = Process(7, "C", 9 * GIB, name="vllm"), Process(8, "G", GIB, name="Xorg")
    unknown = Process(9, "C", None, name="x")
    for others, name in (([one], "vllm"), ([two, unknown, one], "vllm +1"), ([unknown], ""), ([], "")):
        assert memory_parts(CARD, None, 0.95, others).parts[0] == Part("others", 20 * GIB, name)
    assert memory_parts(CARD, None, 0.95, [Process(7, "C", 1)]).parts[0].name == "PID 7"


def test_of_a_machine_more_processes_run_than_are_listed():
    card = Device("gpu", 0, "card", processes=PROCESSES)
    assert others_of(card, pid=7) == PROCESSES[1:]
    assert others_of(Device("cpu", 0, "EPYC", processes=PROCESSES), pid=7) == [PROCESSES[1]]
    assert others_of(Device("cpu", 0, "EPYC")) == []


def test_ram_has_no_reserve():
    made = memory_parts(Memory(64 * GIB, 20 * GIB, None, 44 * GIB), EngineMemory(GIB, GIB // 2, 0), 0.5)
    assert kinds(made) == {"weights": 0.5, "work": 0.5, "others": 19, "free": 44}
    assert made.limit_bytes == 32 * GIB


@pytest.mark.parametrize(
    "memory", [Memory(), Memory(24 * GIB, None, 0, 0), Memory(None, GIB, 0, 0), Memory(0, 0, 0, 0)]
)
def test_what_is_not_known_has_a_reason(memory):
    made = memory_parts(memory, None, 0.95, reason="this card does not report it")
    assert (made.parts, made.total_bytes, made.reason) == ((), None, "this card does not report it")
    assert memory_parts(memory, None, 0.95).reason


@pytest.mark.parametrize("used", [0, 1, 22 * GIB, 23 * GIB, 30 * GIB])
@pytest.mark.parametrize("process", [None, 0, 5 * GIB, 40 * GIB])
def test_the_parts_add_up(used, process):
    made = memory_parts(Memory(24 * GIB, used, GIB, 0), EngineMemory(process, 4 * GIB, GIB), 0.95, PROCESSES)
    assert sum(part.bytes for part in made.parts) == 24 * GIB
    assert all(part.bytes > 0 for part in made.parts)
