"""The stacked bar: its cells add up, its segments differ without colour, its legend says what they are."""

import pytest

from phitui.hardware.analysis.memory_parts import EngineMemory, MemoryParts, memory_parts
from phitui.hardware.snapshot import Memory, Process
from phitui.tui.charts.memory_cells import LOOKS, cells, shortened
from phitui.tui.widgets.gauges import bar
from phitui.tui.widgets.memory_bar import legend, memory_bar

GIB = 1024**3
CARD = Memory(24 * GIB, 20 * GIB, GIB, 3 * GIB)
FULL = memory_parts(CARD, EngineMemory(8 * GIB, 4 * GIB, 2 * GIB), 0.95, [Process(1, "C", 12 * GIB, name="vllm")])


def plain(rows):
    return [row.plain for row in rows]


def test_the_bar_by_hand():
    # 24 cells, 1 GiB each: 4 weights, 2 KV, 2 work, 12 others, 1 driver, 3 free; the limit at 21.85.
    assert memory_bar(FULL, 24, ascii_only=True).plain == "WWWWKK++" + "o" * 12 + "x" + "|" + ".."
    assert memory_bar(FULL, 24, ascii_only=False).plain == "████▓▓▒▒" + "░" * 12 + "×" + "┃" + "──"


def test_the_legend_names_all_in_two_columns():
    assert plain(legend(FULL, 30, ascii_only=True)) == [
        "W weights 4.00 K KV      2.00",
        "+ work    2.00 o others  12.0",
        "x driver  1.00 . free    3.00",
        "| limit   21.8",
    ]


def test_a_cache_that_is_empty_keeps_its_place_in_the_legend():
    idle = memory_parts(CARD, EngineMemory(8 * GIB, 4 * GIB, 0), 0.95)
    rows = plain(legend(idle, 30, ascii_only=True))
    assert rows[0] == "W weights 4.00 K KV      0.00"
    assert len(rows) == 4


def test_what_cannot_be_told_apart_is_hatched_and_said():
    made = memory_parts(CARD, EngineMemory(None, 4 * GIB, 0), 0.95)
    assert memory_bar(made, 24, ascii_only=True, mark=False).plain == "WWWW" + "?" * 16 + "x..."
    rows = plain(legend(made, 30, ascii_only=True))
    assert any("? not told apart 16.0" in row for row in rows)
    assert not any("KV" in row or "work" in row for row in rows)


def test_ram_has_free_instead_of_the_driver():
    made = memory_parts(Memory(64 * GIB, 20 * GIB, None, 44 * GIB), EngineMemory(GIB, GIB // 2, 0), 0.95)
    rows = plain(legend(made, 30, ascii_only=True))
    assert rows[-1] == ". free    44.0 | limit   60.8"


@pytest.mark.parametrize("position", [1, 2])
def test_every_kind_has_a_character_of_its_own(position):
    symbols = [look[position - 1] for look in LOOKS.values()]
    assert len(set(symbols)) == len(symbols)
    assert position == 1 or all(symbol.isascii() for symbol in symbols)


@pytest.mark.parametrize("width", [1, 2, 6, 13, 30, 61])
def test_the_cells_add_up(width):
    made = cells(FULL, width)
    assert sum(count for _, count in made) == width
    assert len(memory_bar(FULL, width, ascii_only=False).plain) == width


def test_a_sliver_is_seen_in_a_long_bar_and_does_not_distort_a_short_one():
    sliver = memory_parts(CARD, EngineMemory(GIB + 3, GIB, 1), 0.95)
    assert dict(cells(sliver, 30))["kv"] == 1
    short = dict(cells(sliver, 6))
    assert (short["kv"], short["others"]) == (0, 5)


def test_the_mark_of_the_limit_hides_no_part():
    made = memory_parts(Memory(24 * GIB, 22 * GIB, GIB // 2, 0), None, 0.95)
    assert memory_bar(made, 26, ascii_only=True).plain == "o" * 23 + "|x."
    assert memory_bar(made, 3, ascii_only=True).plain == "oo|"


def test_of_a_name_that_is_cut_the_number_of_the_others_stays():
    assert shortened("vllm +2", 7) == "vllm +2"
    assert shortened("a long name +12", 9) == "a lo… +12"
    assert shortened("C++ builder", 7) == "C++ bu…"
    assert shortened("", 7) == ""


def test_what_others_hold_has_no_single_name():
    made = memory_parts(CARD, None, 0.95, [Process(1, "C", GIB, name="\x1b[31mpython3.12"), Process(2, "C", 1)])
    assert plain(legend(made, 30, ascii_only=True))[0].startswith("o others  20.0")


def test_the_other_bars_have_an_ascii_form_too():
    assert bar(0.55, 10, "$gauge-ok", ascii_only=True).plain == "=====-...."
    assert bar(0.55, 10, "$gauge-ok").plain == "━━━━━╸━━━━"


def test_nothing_known_draws_nothing():
    assert not cells(MemoryParts(reason="not known"), 10)
    assert memory_bar(MemoryParts(reason="not known"), 10, ascii_only=False).plain == ""
