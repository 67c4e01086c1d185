"""Each rule of the hints, at its threshold and without the figures it needs."""

import pytest
from msgspec.structs import replace

from phitui.hardware.analysis import hints
from phitui.hardware.analysis.hint_figures import Figures, of_device
from phitui.hardware.snapshot import Device, Host, Link, Memory

GIB = 1024**3
# Phi-3 Mini int8 at batch 1 with 1000 tokens of context, on a card that does what it can.
DECODE = Figures(
    on_gpu=True, mbu=0.71, peak_name="peak", rows=1, weight_bytes=3_726_970_112, kv_bytes=393_216_000.0,
    engine_kv_bytes=3 * 393_216_000.0, decode_share=0.95, util_pct=97.0,
)  # fmt: skip


def short(figures):
    """The same with a context of 100 tokens."""
    return replace(figures, kv_bytes=39_321_600.0, engine_kv_bytes=3 * 39_321_600.0)


def test_weight_bound_names_share_and_batch():
    hint = hints.weight_bound(short(DECODE))
    assert hint.text == "decode is weight-bound: 71% of peak at batch 1; a larger batch is nearly free"
    assert hint.evidence == "weights are 99% of what a step reads"


def test_weight_bound_says_what_a_row_costs_where_the_cache_is_large():
    # 3 · 393.2 MB of 3727 MB: 32 %.
    assert "one more row adds 32% of traffic" in hints.weight_bound(DECODE).text


@pytest.mark.parametrize(
    "change",
    [
        {"mbu": 0.49},
        {"mbu": None},
        {"decode_share": 0.4},
        {"decode_share": None},
        {"engine_kv_bytes": 4e9},
        {"rows": None},
    ],
)
def test_not_weight_bound(change):
    assert hints.weight_bound(replace(DECODE, **change)) is None


def test_kv_bound_where_the_engine_moves_more_cache_than_weights():
    figures = replace(DECODE, rows=8, kv_bytes=3_145_728_000.0, engine_kv_bytes=9_437_184_000.0)
    hint = hints.kv_bound(figures)
    assert hint.text.startswith("KV-bound at batch 8")
    assert hint.evidence == "2.9 GiB of cache, 3.5 GiB of weights a step"
    assert hints.kv_bound(DECODE) is None
    # 30 % MBU is 57 % with all that the engine moves (13.16 GB for 6.87 GB), 25 % is 48 %.
    assert hints.kv_bound(replace(figures, mbu=0.30)) is not None
    assert hints.kv_bound(replace(figures, mbu=0.25)) is None
    assert hints.weight_bound(figures) is None


def test_launch_bound_is_a_busy_card_with_idle_memory():
    figures = replace(DECODE, mbu=0.17, util_pct=98.0)
    assert hints.launch_bound(figures).text == "launch-bound: 17% MBU, 98% busy; a larger batch is nearly free"
    for change in ({"rows": 32}, {"util_pct": 60.0}, {"mbu": 0.4}, {"on_gpu": False}, {"decode_share": 0.1}):
        assert hints.launch_bound(replace(figures, **change)) is None
    assert hints.launch_bound(replace(figures, throttle_reasons=("SW_POWER_CAP",))) is None


def test_power_and_heat_come_from_the_driver():
    figures = Figures(
        throttle_reasons=("SW_POWER_CAP",), power_w=448.6, power_limit_w=450.0, sm_clock_mhz=2100, sm_clock_max_mhz=3105
    )
    hint = hints.power_capped(figures)
    assert str(hint) == "power-capped (driver: SW_POWER_CAP) (449 of 450 W, SM clock 2100 of 3105 MHz)"
    hot = Figures(throttle_reasons=("HW_SLOWDOWN", "HW_THERMAL_SLOWDOWN"), temperature_c=91.0)
    assert str(hints.thermal(hot)) == "too hot: clocks lowered (driver: HW_THERMAL_SLOWDOWN) (91 °C)"
    assert hints.hardware_slowdown(hot) is None
    assert hints.hardware_slowdown(Figures(throttle_reasons=("HW_SLOWDOWN",))).level == "bad"
    assert hints.power_capped(Figures(throttle_reasons=("GPU_IDLE",))) is None


def test_memory_that_is_nearly_full_and_who_has_it():
    usable = 24 * GIB
    full = Figures(on_gpu=True, vram_used_bytes=23 * GIB, vram_usable_bytes=usable, limit=0.95)
    assert str(hints.memory_full(full)) == "VRAM is nearly full (23.0 of 24.0 GiB)"
    shared = replace(full, others_bytes=18 * GIB, others_name="python")
    assert hints.memory_full(shared).text == "VRAM is nearly full: others hold 18.0 GiB (python)"
    assert hints.others_memory(shared) is None  # said already
    assert hints.memory_full(replace(full, vram_used_bytes=None)) is None


def test_others_that_hold_memory_while_there_is_room():
    figures = Figures(on_gpu=True, vram_used_bytes=20 * GIB, vram_usable_bytes=24 * GIB, others_bytes=18 * GIB)
    assert hints.memory_full(figures) is None
    assert str(hints.others_memory(figures)) == "others hold VRAM: 18.0 GiB (20.0 of 24.0 GiB)"
    assert hints.others_memory(replace(figures, others_name="Xorg +1")).text.endswith("18.0 GiB (Xorg +1)")
    assert hints.others_memory(replace(figures, others_bytes=GIB)) is None
    assert hints.others_memory(replace(figures, others_bytes=None)) is None
    assert hints.others_memory(replace(figures, on_gpu=False)) is None  # on a CPU others always have some


def test_idle_with_an_empty_queue():
    figures = Figures(on_gpu=True, idle_share=0.8, util_pct=3.0, queued=0)
    assert hints.queue_empty(figures).text == "GPU idle 80%: queue empty"
    for change in (
        {"queued": 2},
        {"idle_share": 0.4},
        {"idle_share": None},
        {"util_pct": 90.0},
        {"decode_share": 0.9},  # an answer is made now
    ):
        assert hints.queue_empty(replace(figures, **change)) is None


def test_tokenizing_that_takes_a_tenth_of_the_time():
    assert hints.cpu_bound(Figures(tokenize_share=0.12)).text == "CPU-bound: tokenizing takes 12% of the time"
    assert hints.cpu_bound(Figures(tokenize_share=0.09)) is None


def test_a_link_is_narrow_always_and_slow_only_under_load():
    assert hints.link_narrow(Figures(link_width=4, link_width_max=16)).text == "PCIe link at x4 of x16"
    resting = Figures(link_width=16, link_width_max=16, link_generation=1, link_generation_max=4, util_pct=0.0)
    assert hints.link_narrow(resting) is None
    assert hints.link_narrow(replace(resting, util_pct=90.0)).text == "PCIe link at generation 1 of 4"


def test_room_for_parking():
    figures = Figures(parking_bytes=4 * GIB, host_available_bytes=4 * GIB)
    assert str(hints.parking_room(figures)) == ("host RAM is short for parking (4.0 GiB available, 4.0 GiB of weights)")
    assert hints.parking_room(replace(figures, host_available_bytes=5 * GIB)) is None
    assert hints.parking_room(replace(figures, parking_bytes=None)) is None


def test_the_most_important_comes_first_and_nothing_known_says_nothing():
    assert hints.hints(Figures()) == []
    hot = replace(short(DECODE), throttle_reasons=("SW_THERMAL_SLOWDOWN",), link_width=8, link_width_max=16)
    assert [hint.rule for hint in hints.hints(hot)] == ["thermal", "link", "weight-bound"]


def test_a_device_without_an_engine_has_hints_too():
    card = Device(
        "gpu", 0, "card", util_pct=99.0, vram=Memory(24 * GIB, 23 * GIB, GIB // 2, GIB // 2),
        throttle_reasons=["SW_POWER_CAP"], link=Link(width=8, width_max=16),
    )  # fmt: skip
    said = hints.hints(of_device(card, Host(), limit=0.95))
    assert [hint.rule for hint in said] == ["memory-full", "power-capped", "link"]
    assert said[0].evidence == "23.0 of 23.5 GiB"  # without the driver's reserve


def test_every_rule_can_be_reached_and_is_documented():
    from pathlib import Path

    rules = [rule.__name__ for rule in hints.RULES]
    defined = [
        name for name, value in vars(hints).items()
        if callable(value) and getattr(value, "__annotations__", {}).get("return") == "Hint | None"
    ]  # fmt: skip
    assert sorted(rules) == sorted(defined)
    text = (Path(hints.__file__).parents[3] / "docs" / "METRICS.md").read_text(encoding="utf-8")
    assert all(f"`{rule}`" in text for rule in rules)


def test_a_crowded_cpu():
    figures = Figures(load1=3.6, cores=2)
    assert str(hints.cores_crowded(figures)) == "more programs want the CPU than it has cores (load 3.6 on 2 CPUs)"
    for change in ({"load1": 2.9}, {"load1": None}, {"cores": None}, {"on_gpu": True}):
        assert hints.cores_crowded(replace(figures, **change)) is None
