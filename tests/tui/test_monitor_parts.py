"""The monitor's parts without a screen: rows, graphs, layout, the process table."""

import re

import msgspec
import pytest
from frozen_monitor import BEGUN, CARD, CPU, GIB, HOST, LOST, PROCESSES, snapshots
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from phitui.hardware.analysis.memory_parts import MemoryParts, memory_parts
from phitui.hardware.history import History
from phitui.hardware.host.cpu import cpu_device
from phitui.hardware.snapshot import Bandwidth, Device, Link, Memory, Process, Snapshot
from phitui.tui.charts.canvas import _plain_ascii, changed
from phitui.tui.charts.cells import KeyHint, bar, fit, length, outside
from phitui.tui.charts.graph import Graph, axis
from phitui.tui.charts.layout import plan
from phitui.tui.monitor.gauges import bar_row, gauges, head, memory_facts
from phitui.tui.monitor.hints_pane import device_hints, hint_rows, hints_in
from phitui.tui.monitor.picture import MonitorPicture
from phitui.tui.monitor.process_table import ProcessPane

PARTS = memory_parts(CARD.vram, None, 0.95)


def text(row):
    return "".join(part for part, _ in row)


def history(values, seconds=1.0):
    kept = History(5000)
    for number, value in enumerate(values):
        kept.add(Snapshot(number * seconds, HOST, [Device("gpu", 0, "card", util_pct=value)]))
    return kept


def test_a_graph_shows_the_means_of_what_is_over():
    values = [0.0] * 4 + [100.0] * 4 + [None] * 4 + [50.0] * 5
    rows = Graph("gpu/0//", "util_pct").rows(history(values), (10, 2), 4.0, 100.0, False)
    # Two columns of dots in a cell, four dots in a row of it: 0 is one dot, 100 all eight, then nothing, then 50.
    assert [part.rstrip() for part, _ in rows] == [" " * 8 + "⢸", " " * 8 + "⣸⢸"]


@pytest.mark.parametrize("ascii_only", [False, True])
def test_a_graph_that_goes_on_is_the_one_that_is_drawn_anew(ascii_only):
    kept, graph = History(500), Graph("gpu/0//", "util_pct")
    for second in range(400):
        kept.add(Snapshot(1000.0 + second, HOST, [Device("gpu", 0, "card", util_pct=second * 37 % 101 * 1.0)]))
        size, seconds = ((20, 3), 2.0) if second < 300 else ((31, 5), 4.0)
        fresh = Graph("gpu/0//", "util_pct").rows(kept, size, seconds, 100.0, ascii_only)
        assert graph.rows(kept, size, seconds, 100.0, ascii_only) == fresh
        assert all(cell_len(part) == size[0] for part, _ in fresh)
        if ascii_only:
            assert all(part.isascii() for part, _ in fresh)


def test_zero_is_seen_and_missing_is_not():
    zero = Graph("gpu/0//", "util_pct").rows(history([0.0] * 9), (4, 1), 4.0, 100.0, False)
    missing = Graph("gpu/0//", "util_pct").rows(history([None] * 9), (4, 1), 4.0, 100.0, False)
    assert text(zero).strip() == "⣀"
    assert text(missing).strip() == ""


@pytest.mark.parametrize(("size", "most"), [((18, 8), 0), ((27, 13), 1), ((49, 23), 2)])
def test_a_graph_ends_at_the_right_edge(size, most):
    """A large one, which costs more to repaint, moves by some columns at a time: it ends short of it in between."""
    kept, graph, short = History(5000), Graph("gpu/0//", "util_pct"), set()
    for second in range(1000):
        kept.add(Snapshot(1000.0 + second, HOST, [Device("gpu", 0, "card", util_pct=50.0)]))
        lowest, _ = graph.rows(kept, size, 2.0, 100.0, False)[-1]
        short |= {len(lowest) - len(lowest.rstrip())} if second > 20 else set()
    assert short == set(range(most + 1))


def test_readings_that_are_far_apart_make_no_gaps():
    """A reading stands for the time up to the next one, but not where readings are missing."""
    kept = History(500)
    for number in [*range(6), *range(9, 15)]:
        kept.add(Snapshot(1000.0 + 60 * number, HOST, [Device("gpu", 0, "card", util_pct=50.0)]))
    lowest, _ = Graph("gpu/0//", "util_pct").rows(kept, (49, 1), 10.0, 100.0, False)[-1]
    assert lowest == " " * 7 + "⣤" * 15 + "⡄" + " " * 11 + "⣤" * 15


def test_the_axis_says_how_long_ago():
    assert axis(18, 20.0) == "   ╵5 min      now"
    assert axis(49, 4.0) == "    ╵3 min         ╵2 min         ╵1 min      now"
    assert axis(18, 2.0) == "        ╵20 s  now"
    for width in range(1, 120):
        for cell in (1.0, 2.0, 10.0, 20.0, 40.0):
            assert len(axis(width, cell)) == width
            for mark in re.finditer(r"╵(\d+) (s|min|h)", shown := axis(width, cell)):
                ago = int(mark[1]) * {"s": 1, "min": 60, "h": 3600}[mark[2]]
                assert abs((width - mark.start()) * cell - ago) <= cell / 2, shown


@given(st.lists(st.floats(0, 1.5), max_size=4), st.integers(0, 60))
def test_a_bar_has_its_width(shares, width):
    assert length(bar([(share, "ok") for share in shares], width)) == width


@given(st.text(max_size=30), st.integers(0, 40))
def test_outside_text_takes_the_cells_it_is_given(raw, width):
    shown = outside(raw, width)
    assert cell_len(shown) == width
    assert not {"\x1b", "\n", "\x9b"} & set(shown)
    assert length(fit([(shown, "plain"), ("x" * 50, "plain")], width)) == width


def test_only_changed_cells_are_found():
    old = [("abcdefghijklmno", "plain"), ("tail", "muted")]
    assert changed(old, old) == []
    assert changed(old, [("abXdefghijklmYo", "plain"), ("tail", "muted")]) == [(2, 3), (13, 14)]
    assert changed(old, [("aXcXefghijklmno", "plain"), ("tail", "ok")]) == [(1, 4), (15, 19)]
    assert changed(old, [("abcdefghij", "plain"), ("klmno", "ok"), ("tail", "muted")]) == [(10, 15)]
    wide = [("漢字", "plain"), ("ab", "plain")]
    assert changed(wide, [("漢字", "plain"), ("aX", "plain")])[0][0] == 0


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("height", [10, 16, 21, 37, 47])
@pytest.mark.parametrize("devices", [1, 2, 3, 8, 40])
def test_a_plan_fits(width, height, devices):
    parts = plan(width, height, devices, 30, 5)
    used = parts.full * (3 + parts.graph_rows + parts.fact_rows) + parts.compact + parts.process_rows + parts.hint_rows
    assert used <= max(height, 7)
    assert parts.full == devices or parts.compact or parts.full == 1
    assert min(parts) >= 0


def test_80x24_shows_a_card_in_full():
    parts = plan(80, 21, 1, 3, 2)
    assert parts.full == 1
    assert parts.graph_rows >= 4


def test_the_graphs_grow_before_rows_stay_empty():
    one, two = plan(200, 47, 1, 3, 2), plan(200, 47, 2, 3, 2)
    assert one.graph_rows == 2 * two.graph_rows == 24
    assert plan(120, 37, 1, 3, 2).graph_rows > 16
    assert plan(200, 47, 1, 30, 2).process_rows >= 24  # a long list has its share before


def test_hints_are_wrapped_not_cut():
    said = device_hints(Snapshot(BEGUN, HOST, [CARD]), 0.95)
    for width in (30, 60, 80, 200):
        rows = [text(row) for row in hint_rows(said, False, width)]
        assert {len(row) for row in rows} == {width}
        words = " ".join(" ".join(rows).split())
        assert all(f"● {hint.text} · {hint.evidence}" in words for _, hint in said)
    assert hints_in(said, False, len(rows), 200) == hint_rows(said, False, 200)


def test_where_hints_have_too_few_rows_that_is_said():
    said = device_hints(Snapshot(BEGUN, HOST, [CARD]), 0.95) * 2
    three = [text(row).rstrip() for row in hints_in(said, False, 3, 60)]
    assert [row[-1] for row in three[:2]] == ["…", "…"]
    assert three[2] == "  and 2 more: a larger window shows all"
    (one,) = [text(row) for row in hints_in(said, False, 1, 60)]
    assert "power-capped" in one and one.endswith("… and 3 more ") and len(one) == 60
    for width in range(1, 40):
        assert all(length(row) == width for row in hints_in(said, True, 2, width))


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (40, 12), (80, 24), (200, 50)])
@pytest.mark.parametrize("devices", [[], [CARD], [CARD, LOST], [CPU], [CARD] * 30])
def test_a_picture_is_exactly_as_large_as_it_should_be(size, devices):
    kept = History(200)
    picture = MonitorPicture(kept, "host")
    for snapshot in snapshots(*devices, count=20):
        kept.add(snapshot)
        picture.snapshot = snapshot
    width, height = size
    rows = picture.rows(width, height, [KeyHint("q", "Close")])
    assert len(rows) == height
    assert {length(row) for row in rows} == {width}


def test_the_source_of_the_bandwidth_is_said_at_every_width():
    for source in ("measured", "modelled", "busy"):
        device = Device("gpu", 0, "card", bandwidth=Bandwidth(612.0, 1008.0, source))
        gauge = gauges(device, PARTS)[2]
        for width in (18, 25, 40):
            shown = text(head(gauge, width))
            assert "612" in shown
            assert source[:4] in shown
            assert ("≤" in shown) == (source == "busy")


def test_the_level_of_memory_is_that_of_what_is_usable():
    card = msgspec.structs.replace(CARD, vram=Memory(24 * GIB, 226 * GIB // 10, GIB // 2, 0))
    (gauge,) = [gauge for gauge in gauges(card, PARTS) if gauge.label == "VRAM"]
    assert (gauge.role, head(gauge, 30)[-1][1]) == ("bad", "bad")  # 94 %, of usable 96 %


def pictured(device, width=120, **options):
    picture = MonitorPicture(History(), "here", **options)
    picture.snapshot = Snapshot(0.0, HOST, [device])
    return [text(row) for row in picture.rows(width, 40, [])]


def test_the_memory_of_a_card_is_drawn_part_by_part_and_its_largest_process_named():
    card = msgspec.structs.replace(CARD, vram=Memory(24 * GIB, 12 * GIB, GIB, 11 * GIB))
    rows = pictured(card)
    assert "│ " + "░" * 14 + "×" + "─" * 9 + "┃──" + " │" in rows[4]  # 27 cells; the limit at 21.85 of 24 GiB
    said = "\n".join(rows)
    assert "░ others PID 31337 +2" in said and "× driver 1.00 GiB" in said
    _, rest = memory_facts(memory_parts(card.vram, None, 0.95), engine=False)
    assert [(fact.label, fact.value) for fact in rest] == [
        ("░ others", "–"), ("× driver", "1.00 GiB"), ("┃ limit", "21.8 GiB"),
    ]  # fmt: skip
    assert "┃" in pictured(card, limit=0.5)[4]
    assert pictured(card, limit=0.5)[4].index("┃") < rows[4].index("┃")


def test_a_memory_that_is_the_machines_is_called_so():
    card = msgspec.structs.replace(CARD, shares_ram=True)
    assert "RAM (shared) " in pictured(card, 160)[3]
    assert "RAM   22.0/24 GiB" in pictured(card, 80)[3]  # beside the machine's own, in the row above
    assert "VRAM" not in "\n".join(pictured(card))


def test_of_a_machine_the_largest_process_is_named_alone():
    assert "░ others PID 31337 " in "\n".join(pictured(CPU))


def test_the_bar_of_a_memory_that_stands_still_is_not_painted_again():
    """Some bytes more or less are no cell, not even where half a one would be."""
    kept, before = History(), []
    picture = MonitorPicture(kept, "here")
    for second in range(20):
        used = 12 * GIB + (second % 3) * 8 * 2**20
        picture.snapshot = Snapshot(0.0, HOST, [msgspec.structs.replace(CARD, vram=Memory(24 * GIB, used, GIB, 0))])
        rows = picture.rows(200, 50, [])
        assert not before or changed(before[4], rows[4]) == []
        before = rows
    picture.snapshot = Snapshot(0.0, HOST, [msgspec.structs.replace(CARD, vram=Memory(24 * GIB, 13 * GIB, GIB, 0))])
    assert changed(before[4], picture.rows(200, 50, [])[4]) != []


def test_ascii_takes_the_cells_of_what_it_stands_for():
    for drawn in ("e\u0301t\u00e9", "日本", "a…b"):
        assert len(_plain_ascii(drawn)) == cell_len(drawn)
        assert _plain_ascii(drawn).isascii()


def test_a_bar_warms_with_the_load_and_limits_are_apart():
    def roles(util, watts):
        card = msgspec.structs.replace(CARD, util_pct=util, power_w=watts, power_limit_w=100.0)
        found = gauges(card, PARTS)
        return [[(len(part), role) for part, role in bar_row(found[at], 20)] for at in (0, 3)]

    assert roles(40.0, 79.0) == [[(8, "light"), (12, "track")], [(10, "light"), (6, "ok"), (4, "track")]]
    assert roles(100.0, 94.0) == [
        [(10, "light"), (6, "ok"), (4, "heavy")],
        [(10, "light"), (6, "ok"), (3, "heavy"), (1, "track")],
    ]
    assert roles(0.0, 96.0)[1][0] == (19, "warn")
    assert roles(0.0, 103.0) == [[(20, "track")], [(20, "bad")]]


def test_unknown_figures_are_dashes_never_zero():
    shown = [text(head(gauge, 25)).split() for gauge in gauges(LOST, MemoryParts())]
    assert [words[-1] for words in shown] == ["–"] * 4
    assert gauges(Device("gpu", 0, "x", vram=Memory(24 * GIB)), MemoryParts())[1].values == ("–",)


def test_processes_are_sorted_filtered_and_kept_marked():
    table = ProcessPane()
    table.take([CARD], BEGUN)
    assert [line.process.pid for line in table._lines] == [31337, 4242, 77]  # by memory
    table.move(1)
    assert table.marked.process.pid == 4242
    table.sort_by("p")
    table.take([CARD], BEGUN)
    assert [line.process.pid for line in table._lines] == [77, 4242, 31337]
    assert table.marked.process.pid == 4242
    table.sort_by("t")  # what is not known comes last, either way
    for descending in (True, False):
        table.descending = descending
        table.take([CARD], BEGUN)
        assert table._lines[-1].process.pid == 31337
    table.pattern = "XORG"
    table.take([CARD], BEGUN)
    assert [line.process.pid for line in table._lines] == [77]
    table.pattern = "nothing like it"
    assert table.take([CARD], BEGUN) is None
    assert table.marked is None
    assert "no process with" in text(table.rows([CARD], (80, 5), True)[2])


def test_why_no_process_is_listed():
    """In one wording, whether or not the engine's CPU stands beside the card."""
    card, beside = msgspec.structs.replace(CARD, processes=[]), cpu_device(HOST)
    refused = msgspec.structs.replace(CARD, processes=None, unavailable={"processes": "no permission"})

    def said(*devices):
        table = ProcessPane()
        table.take(list(devices), BEGUN)
        return text(table.rows(list(devices), (80, 5), True)[2]).strip()

    assert said(card) == said(card, beside) == "no process on a device"
    assert said(refused) == said(refused, beside) == "– no permission"


def test_a_long_path_leaves_room_for_what_runs():
    table, path = ProcessPane(), "/home/ada/projects/phi/.venv/bin/python3 train.py"
    card = msgspec.structs.replace(CARD, processes=[Process(7, "C", GIB, command=path)])
    table.take([card], BEGUN)
    assert "python3 train.py" in text(table.rows([card], (80, 5), True)[2])
    assert "…" not in text(table.rows([card], (80, 5), True)[2])
    assert path in text(table.rows([card], (160, 5), True)[2])


def test_names_of_processes_cannot_reach_the_terminal():
    evil = Process(5, "C", name="x", command="\x1b]0;owned\x07\x1b[31mred‮[bold]漢字\n", user="\x1b[2J")
    table = ProcessPane()
    table.take([Device("gpu", 0, "\x1b[31m", processes=[evil, *PROCESSES])], BEGUN)
    shown = "\n".join(text(row) for row in table.rows([], (120, 8), True))
    assert "\x1b" not in shown
    assert "‮" not in shown
    assert "red[bold]漢字" in shown


SLICES = [
    Device("gpu", 0, "NVIDIA H100", "MIG-a", mig="1g.10gb", processes=[Process(7, "C", GIB)]).without_figures("apart"),
    Device("gpu", 0, "NVIDIA H100", "MIG-b", mig="3g.40gb", processes=[Process(7, "C", GIB)]),
]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
@pytest.mark.parametrize("devices", [SLICES, [CARD, *SLICES, LOST, LOST, LOST]], ids=["in full", "compact"])
def test_slices_of_a_card_are_told_apart(size, devices):
    picture = MonitorPicture(History(10), "host", snapshot=Snapshot(BEGUN, HOST, devices), show_reasons=True)
    picture.selected = next(i for i, device in enumerate(devices) if device.mig == "1g.10gb")
    rows = [text(row) for row in picture.rows(*size, [KeyHint("q", "Close")])]
    above = [row for row in rows[: next(i for i, row in enumerate(rows) if "Processes" in row)] if "GPU 0 " in row]
    assert any("1g.1" in row for row in above)
    assert any("3g.4" in row for row in above)
    assert any("Not available on GPU 0 1g.10gb" in row for row in rows)
    picture.table.pattern = "3g.40gb"
    listed = "\n".join(text(row) for row in picture.rows(*size, [KeyHint("q", "Close")])).partition("Processes")[2]
    assert "▶ GPU 0 3g.40gb" in listed
    assert "1g.10gb   " not in listed.partition("Not available")[0]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
def test_all_reasons_can_be_read(size):
    missing = {f"figure_{number}_of_the_card": f"reason {number // 9}" for number in range(36)}
    device = msgspec.structs.replace(CARD, unavailable=missing)
    picture = MonitorPicture(History(10), "host", snapshot=Snapshot(BEGUN, HOST, [device]), show_reasons=True)
    rows = [text(row) for row in picture.rows(*size, [KeyHint("q", "Close")])]
    shown = " ".join("\n".join(rows).partition("Not available")[2].split())
    if size == (80, 24):
        assert "more lines" in shown  # there is no room for more: that is said
        assert len([row for row in rows if "figure" in row]) >= 5
    else:
        assert all(metric.replace("_", " ") in shown for metric in missing)


def test_what_comes_and_goes_moves_nothing_for_half_a_minute():
    """Hints and processes: the rows that they have had stay theirs."""
    picture = MonitorPicture(History(), "here")
    calm = msgspec.structs.replace(CARD, throttle_reasons=[], link=Link(4, 4, 16, 16), vram=Memory(24 * GIB, GIB))

    def rule_at(device, seconds):
        picture.snapshot = Snapshot(BEGUN + seconds, HOST, [device])
        rows = [text(row) for row in picture.rows(120, 40, [])]
        return next(number for number, row in enumerate(rows) if row.startswith("─ Hints"))

    without = rule_at(calm, 0.0)
    hinted = rule_at(CARD, 1.0)
    assert hinted < without
    assert rule_at(calm, 2.0) == rule_at(calm, 30.0) == hinted
    assert rule_at(calm, 40.0) == without
    rule_at(CARD, 41.0)
    assert rule_at(calm, 5.0) == without, "a replay that goes back begins anew"
