"""The parts of the tuner's picture, each alone."""

from dataclasses import replace

import pytest
from frozen_tuner import KEPT, NOTES, OTHER, SERVER_KEPT, SETUP, Clock, run_state_of, server_run_state_of, tuning
from rich.cells import cell_len
from simulated_card import GB, Card
from simulated_server import Server

from phitui.tui.charts.cells import KeyHint
from phitui.tui.charts.plot import Grid, Guide, Mark, Plot, draw, ticks
from phitui.tui.charts.table import Scroll
from phitui.tui.tuner import view
from phitui.tui.tuner.earlier_view import EarlierView
from phitui.tui.tuner.local_view import LocalView, error, held, short
from phitui.tui.tuner.picture import TunerPicture
from phitui.tui.tuner.profile_list import ProfileList
from phitui.tui.tuner.server_view import ServerView
from phitui.workbench.tune.events import ProbeBegan
from phitui.workbench.tune.headline import noise
from phitui.workbench.tune.profiles import KeptTuning
from phitui.workbench.tune.records import record

SHORT_OF_MEMORY = Card(5, total_bytes=12 * GB, limit_share=1.05, memory_noise=0.08)


def verdicts(run_state):
    return [one.verdict for one in run_state.probes]


def text(rows):
    return "\n".join("".join(part for part, _ in row).rstrip() for row in rows)


@pytest.mark.parametrize(
    ("most", "about", "wanted"),
    [
        (26.9, 6, [0, 5, 10, 15, 20, 25]),
        (1.04, 6, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (89.6, 4, [0, 50]),
        (3300, 6, [0, 1000, 2000, 3000]),
        (0.0, 6, [0]),
        (float("inf"), 6, [0]),
    ],
)
def test_ticks_are_round(most, about, wanted):
    assert ticks(most, about) == pytest.approx(wanted)


def test_a_straight_line_is_drawn_dot_by_dot():
    """A braille cell has two columns of four dots: y = x over 2 × 2 cells of a square is a diagonal of one in two."""
    grid = Grid(2, 1, 2.0, 2.0)
    grid.curve(lambda x: x, ascii_only=False)
    assert text(grid.rows()) == chr(0x2800 + 0x40 + 0x20) + chr(0x2800 + 0x02 + 0x08)


def test_steep_curves_have_no_gaps():
    grid = Grid(10, 8, 10.0, 8.0)
    grid.curve(lambda x: 0.0 if x < 5 else 7.9, ascii_only=True)
    assert sum(1 for row in grid.rows() if "." in "".join(part for part, _ in row)) == 8


def test_what_lies_above_the_chart_is_cut():
    grid = Grid(10, 4, 10.0, 1.0)
    grid.curve(lambda x: x, ascii_only=True)
    assert text(grid.rows()).count(".") == 1  # the first column; the nine others lie above


def test_marks_stand_over_curve_and_guides():
    plot = Plot(
        "T",
        10.0,
        10.0,
        lambda v: f"{v:g}",
        lambda x: x,
        (Mark(5, 5, "●", "value"),),
        Guide(5, "limit 5"),
        Guide(5, "B* 5"),
    )
    shown = text(draw(plot, 40, 14, ascii_only=False)).split("\n")
    assert len(shown) == 14
    inside = shown[1:-2]
    place = next(line.index("●") for line in inside if "●" in line)
    assert sum("┊" in line and line[place] == "┊" for line in inside) >= len(inside) - 2
    assert any(" limit 5 " in line for line in inside) and any("B* 5" in line for line in inside)
    assert "●" not in shown[0] and "┬" in shown[-2]


@pytest.mark.parametrize("kind", ["throughput", "memory"])
@pytest.mark.parametrize("events", [0, 1, 2, 3, 5, 6, None])
def test_points_of_a_course_stand_where_they_were_measured(kind, events):
    run_state = run_state_of(events)
    plot = LocalView(run_state).plots()[kind == "memory"]
    measured = [mark for mark in plot.marks if mark.glyph != view.RUNNING]
    assert len(measured) == len(run_state.probes)
    for mark, one in zip(measured, map(record, run_state.probes), strict=True):
        assert mark.x == one.rows
        of = one.rate if kind == "throughput" else held(one) / 1e9
        assert mark.y == pytest.approx(of)
        assert mark.y < plot.y_most
    running = [mark for mark in plot.marks if mark.glyph == view.RUNNING]
    assert len(running) == (run_state.running is not None)
    assert all(mark.x < plot.x_most for mark in plot.marks)


def test_the_curves_go_through_the_fits_points():
    run_state = run_state_of()
    know, answer = run_state.latest.know, run_state.result.answer
    deepest = verdicts(run_state)[0].probe.shape
    speeds, memory = LocalView(run_state).plots()
    for rows in (1, 26, 80):
        assert memory.curve(rows) == pytest.approx(know.memory.peak(deepest._replace(batch=rows)) / 1e9, rel=1e-6)
        rate = know.steps.decode_rate(rows, deepest.total - deepest.new / 2)
        assert speeds.curve(rows) == pytest.approx(rate)
    assert speeds.upright.label == f"B* {answer.b_best}"
    assert memory.upright.at == answer.b_max
    assert memory.level.at == pytest.approx(answer.limit_bytes / 1e9)


def test_of_one_size_there_is_no_curve_of_throughput():
    assert LocalView(run_state_of(2)).plots()[0].curve is None
    assert LocalView(run_state_of(4)).plots()[0].curve is not None


def test_what_failed_and_what_another_setup_brought_look_other_without_colours():
    run_state = run_state_of(card=SHORT_OF_MEMORY)
    judged = [verdict.judged for verdict in verdicts(run_state)]
    assert "oom" in judged
    glyphs = [mark.glyph for mark in LocalView(run_state).plots()[1].marks]
    assert glyphs[judged.index("oom")] == view.REFUSED
    shallow = next(n for n, one in enumerate(verdicts(run_state)) if one.probe.why == "the real prompt")
    assert glyphs[shallow] == view.OTHER
    run_state.result = None
    other = run_state.latest._replace(setup=OTHER)
    run_state.running = ProbeBegan(other, verdicts(run_state)[0].probe, 9, 0)
    assert view.MEASURED not in [mark.glyph for mark in LocalView(run_state).plots()[1].marks]


def test_the_error_is_that_of_what_was_known_before():
    run_state = run_state_of()
    verdict = verdicts(run_state)[1]
    share = verdict.predicted_bytes / verdict.outcome.peak_bytes - 1
    assert error(record(run_state.probes[1])) == f"{100 * share:+.1f}%"


def test_the_table_follows_its_end_until_it_is_scrolled():
    scroll = Scroll()
    assert scroll.window(3, 5) == range(3)
    assert scroll.window(9, 5) == range(4, 9)
    scroll.move(-2)
    assert scroll.window(9, 5) == range(2, 7)
    assert scroll.window(12, 5) == range(2, 7)  # new rows leave it where it is
    scroll.move(-100)
    assert scroll.window(12, 5) == range(5)
    scroll.move(100)
    assert scroll.window(12, 5) == range(7, 12)
    assert scroll.window(14, 5) == range(9, 14)


def test_a_probe_that_ran_out_of_memory_has_dashes():
    run_state = run_state_of(card=SHORT_OF_MEMORY)
    number = [verdict.judged for verdict in verdicts(run_state)].index("oom")
    line = text(LocalView(run_state).probes(Scroll(), 80, 20)).split("\n")[number + 1]
    assert line.split()[-5:] == ["–", "–", "–", "–", "oom"]


def test_setups_are_short():
    assert (short(SETUP), short(SETUP._replace(workers=2, threads=1))) == ("1 int8_float16", "2×1 int8_float16")


@pytest.mark.parametrize("pane", ["probes", "answer", "earlier"])
@pytest.mark.parametrize("events", ["none", 0, 1, 3, None])
def test_every_row_is_as_wide_as_the_screen(events, pane):
    run_state = None if events == "none" else run_state_of(events)
    for ascii_only in (False, True):
        picture = TunerPicture(ascii_only, "Phi-3 Mini", run_state, "tuning", "said", pane=pane)
        picture.kept.take(KEPT, "")
        for width in (40, 57, 80, 99, 100, 120, 200):
            for height in (12, 16, 24, 40, 50):
                rows = picture.rows(width, height, [KeyHint("esc", "Back")])
                assert len(rows) == height
                assert {sum(cell_len(part) for part, _ in row) for row in rows} == {width}


def test_the_answer_has_all_its_parts():
    run_state = run_state_of()
    answer, shown = run_state.result.answer, text(LocalView(run_state).answer(60))
    for part in (
        f"B*     {answer.b_best} rows, the fastest: {answer.tokens_per_s:,.0f} output tok/s",
        f"B_max  {answer.b_max} rows, the most that fit 22.800 GB",
        f"B_slo  {answer.b_slo} rows, the most within 30 ms a token", f"{answer.kv_token_budget:,} tokens",
        answer.why.split(":")[0], f"step time {100 * answer.steps.error:.1f} %", "not even one row fits",
        "1 worker, int8_float16", "workers×threads",
    ):  # fmt: skip
        assert part in shown
    for row in answer.table:
        assert f"{row.total_tokens:,} " in shown and f" {row.b_max} " in shown
    sentence = LocalView(run_state).use(run_state.result)
    assert sentence.startswith(
        f"Use batch {answer.b_best}: about {answer.tokens_per_s:,.0f} tok/s, 1.6 × batch 26, in "
    )
    assert sentence.endswith(" of 22.80 GB.") and sentence.split(" tok/s")[0] in shown


@pytest.mark.parametrize(("spread", "error", "said"), [(0.02, 0.05, ""), (0.31, 0.05, "±31 %"), (None, 0.12, "±12 %")])
def test_measurements_that_differ_are_told_with_what_to_do(spread, error, said):
    result = run_state_of().result
    answer = replace(
        result.answer,
        spread=spread and spread * result.answer.tokens_per_s,
        steps=replace(result.answer.steps, error=error),
    )
    found = noise(replace(result, answer=answer))
    assert (said in found and "run it again" in found) if said else found == ""


def test_the_clock_stands_when_it_is_over():
    clock = Clock()
    run_state = run_state_of(clock=clock)
    before = run_state.seconds
    clock.now += 100
    assert run_state.seconds == before > 0


def test_the_mark_stays_on_its_tuning():
    kept = ProfileList()
    kept.take(KEPT, "")
    kept.move(1)
    kept.take([KeptTuning(tuning("2026-05-01T00:00:00+00:00"), ""), *KEPT], "")
    assert kept.marked == KEPT[1]
    kept.take([], "the file is damaged")
    assert kept.marked is None
    assert "the file is damaged" in text(kept.rows(80, 5))


def test_other_peoples_words_cannot_steer_the_terminal():
    kept = ProfileList()
    kept.take([KeptTuning(tuning("2026\x1b[31m", "evil\x1b]0;owned\x07 name"), "")], "")
    assert "\x1b" not in text(kept.rows(120, 5))
    assert "evil name" in text(kept.rows(120, 5))


@pytest.mark.parametrize("width", [80, 120])
def test_the_sentence_stands_once_and_whole(width):
    run_state = run_state_of()
    for pane in ("probes", "answer"):
        rows = TunerPicture(False, "Phi-3 Mini", run_state, pane=pane).rows(width, 40, [])
        assert text(rows).count("Use batch 80: about 2,708 tok/s, 1.6 × batch 26, in 20.78 of 22.80 GB.") == 1
        assert text(rows).count("Use batch") == 1
    long = LocalView(run_state)
    long.use = lambda result: "Use batch 80 on 2 workers in float32, " + "which is so, " * 5 + "it ends."
    assert long.says_all(width) is (width == 120)
    assert text([long.now(width)]).endswith("it ends." if width == 120 else "…")


def test_an_answer_with_more_rows_than_fit_says_so_until_its_end():
    picture = TunerPicture(False, "Phi-3 Mini", run_state_of(), pane="answer")
    assert "… ↓ shows the rest" in text(picture.rows(80, 24, []))
    picture.move(1000)
    end = text(picture.rows(80, 24, []))
    assert "not even one row fits" in end and "shows the rest" not in end


def test_an_earlier_tuning_is_drawn_as_it_was_and_says_that_it_is_earlier():
    run_state, kept = run_state_of(), KEPT[0]
    shown = EarlierView(kept)
    speeds, memory = shown.plots()
    now_speeds, now_memory = LocalView(run_state).plots()
    assert (speeds.marks, memory.marks) == (now_speeds.marks, now_memory.marks)
    assert speeds.curve(40) == pytest.approx(now_speeds.curve(40))
    assert (speeds.upright.label, memory.upright.label) == ("B* 64", "B_max 88")
    assert text([shown.now(120)]) == " Earlier tuning, made 2026-03-01 12:30: it still holds"
    assert "Use batch 64: about 2,100 tok/s, in 19.00 of 22.80 GB." in text(shown.answer(80))
    assert text(shown.probes(Scroll(), 80, 30)) == text(LocalView(run_state).probes(Scroll(), 80, 30))


def test_an_earlier_tuning_of_a_server_is_drawn_as_it_was():
    run_state = server_run_state_of()
    shown = EarlierView(SERVER_KEPT[0])
    speeds, bounds = shown.plots()
    assert [(mark.x, mark.y) for mark in speeds.marks] == [
        (one.probe.concurrency, one.rate) for one in verdicts(run_state)
    ]
    assert bounds.marks == ServerView(run_state).plots()[1].marks
    assert "Send 32 requests at once: about 812 tok/s." in text(shown.answer(80))
    assert text(shown.probes(Scroll(), 120, 30)) == text(ServerView(run_state).probes(Scroll(), 120, 30))


def test_of_one_that_was_kept_without_its_probes_the_answer_is_there_and_why_no_points_are():
    shown = EarlierView(KEPT[1])
    assert [plot.marks for plot in shown.plots()] == [(), ()] and shown.plots()[0].curve is None
    assert shown.plots()[0].upright.label == "B* 48"
    assert "only the answer was kept" in text(shown.probes(Scroll(), 80, 5))
    assert text([shown.now(120)]).endswith(": stale, the driver changed")
    assert text([shown.now(50)]).endswith("…")


def test_before_any_tuning_the_place_of_the_charts_says_what_it_does():
    for on_server, words in ((False, "how many prompts (rows) run fastest"), (True, "how many requests at once")):
        picture = TunerPicture(False, "Phi-3 Mini", on_server=on_server)
        picture.kept.take([], "")
        for width, height in ((80, 24), (120, 40)):
            shown = " ".join(text(picture.rows(width, height, [])).split())
            assert words in shown and "one to a few minutes" in shown and "s starts it" in shown


def test_what_is_drawn_is_the_newest_of_this_model_until_another_is_chosen():
    other = KeptTuning(tuning("2026-04-01T00:00:00+00:00", model="another"), "")
    picture = TunerPicture()
    picture.kept.take([other, *KEPT], "", model="phi-3-mini")
    assert picture.earlier == KEPT[0]
    picture.kept.take([other], "", model="phi-3-mini")
    assert picture.earlier is None and picture.kept.marked == other
    picture.kept.take([other, *KEPT], "", model="phi-3-mini")
    picture.move(-1)
    assert picture.earlier == other
    picture.run_state = run_state_of()
    assert picture.earlier == other  # looked at in its pane, where nothing runs
    picture.pane = "probes"
    assert picture.earlier is None
    picture.pane, picture.run_state = "earlier", run_state_of(5)
    assert picture.earlier is None


@pytest.mark.parametrize("events", [0, 1, 2, 3, 4, 7, 12, None])
def test_points_of_a_servers_course_stand_where_they_were_measured(events):
    run_state = server_run_state_of(events)
    speeds, bounds = ServerView(run_state).plots()
    measured = [mark for mark in speeds.marks if mark.glyph != view.RUNNING]
    assert [(mark.x, mark.y) for mark in measured] == [
        (one.probe.concurrency, one.outcome.rate) for one in verdicts(run_state)
    ]
    assert [mark.glyph == view.REFUSED for mark in measured] == [one.judged != "ok" for one in verdicts(run_state)]
    of = {glyph: [mark for mark in bounds.marks if mark.glyph == glyph] for glyph in (view.MEASURED, "▲")}
    assert [mark.y for mark in of[view.MEASURED]] == [100 * one.outcome.kv_use for one in verdicts(run_state)]
    waiting = [100 * one.outcome.waiting / one.probe.concurrency for one in verdicts(run_state)]
    assert [mark.y for mark in of["▲"]] == waiting
    for plot in (speeds, bounds):
        assert sum(mark.glyph == view.RUNNING for mark in plot.marks) == (run_state.running is not None)
        assert all(mark.x < plot.x_most and mark.y < plot.y_most for mark in plot.marks)


def test_fit_limit_and_knee_of_a_server():
    run_state, early = server_run_state_of(), server_run_state_of(7)
    answer = run_state.result.answer
    speeds, bounds = ServerView(run_state).plots()
    early_speeds, early_bounds = ServerView(early).plots()
    curve = speeds.curve
    assert curve(10) == pytest.approx(10 * 100 / (answer.fixed_s + 10 * answer.request_s))  # 100 tokens each
    assert speeds.upright.label == f"C* {answer.c_best}"
    assert early_speeds.upright.label == f"knee {early.latest.knee}"
    assert ServerView(server_run_state_of(2)).plots()[0].curve is None  # of one size
    assert (bounds.level.at, bounds.level.label) == (95, "KV limit 95 %")
    assert bounds.upright.label == f"C_max {answer.c_max}" and early_bounds.upright is None


def test_what_a_server_does_not_tell_has_no_point_and_a_dash():
    server = Server(8)
    outcomes = lambda size: replace(server(size), waiting=None, kv_use=None)  # noqa: E731
    run_state = server_run_state_of(server=outcomes)
    assert ServerView(run_state).plots()[1].marks == ()
    line = text(ServerView(run_state).probes(Scroll(), 80, 20)).split("\n")[1]
    assert line.split()[7:10] == ["–", "–", "ok"]


def test_a_server_that_refuses_says_so_in_the_table_and_on_the_way():
    run_state = server_run_state_of(6, server=Server(refuses_from=9))
    line = text(ServerView(run_state).probes(Scroll(), 120, 20)).split("\n")[3]
    assert line.split()[:4] == ["3", "16", line.split()[2], "–"] and line.endswith("failed  answers 429")
    assert "At 16  answers 429" in text(ServerView(run_state).answer(60))
    run_state.end("failed", error="box cannot be reached")
    assert "Failed box cannot be reached" in text(ServerView(run_state).answer(60))


@pytest.mark.parametrize("pane", ["probes", "answer", "earlier"])
@pytest.mark.parametrize("events", ["none", 0, 1, 3, None])
def test_every_row_of_a_servers_tuning_is_as_wide_as_the_screen(events, pane):
    run_state = None if events == "none" else server_run_state_of(events)
    picture = TunerPicture(False, "Phi-3 Mini", run_state, "tuning", "said", pane=pane, on_server=True)
    picture.kept.take(SERVER_KEPT, "", of_server=True)
    for width in (40, 80, 99, 100, 120):
        for height in (12, 24, 40):
            rows = picture.rows(width, height, [KeyHint("esc", "Back")])
            assert len(rows) == height
            assert {sum(cell_len(part) for part, _ in row) for row in rows} == {width}


def test_the_answer_of_a_server_has_all_its_parts():
    run_state = server_run_state_of()
    answer, shown = run_state.result.answer, text(ServerView(run_state).answer(90))
    for part in (
        f"C*     {answer.c_best} requests at once, the fastest: {answer.tokens_per_s:,.1f} ± ",
        f"(N = {answer.measurements})", f"C_max  {answer.c_max} requests at once, the most that find room",
        f"C_slo  {answer.c_slo} requests at once, the most within 60 ms",
        "box: vLLM at 10.0.0.7:8000", answer.why[:40], NOTES[0][:40],
    ):  # fmt: skip
        assert part in shown
    sentence = f"Send {answer.c_best} requests at once: about {answer.tokens_per_s:,.0f} tok/s."
    assert ServerView(run_state).use(run_state.result).startswith(sentence)
    assert run_state.found.startswith(sentence) and run_state.found.endswith(f"Up to {answer.c_max} find room.")


def test_a_label_hides_no_mark_where_there_is_room():
    marks = tuple(Mark(x, 1.0, "●", "value") for x in range(4, 12))
    plot = Plot("T", 20.0, 10.0, lambda v: f"{v:g}", None, marks, None, Guide(3, "C_max 3"))
    shown = text(draw(plot, 60, 14, ascii_only=False))
    assert "C_max 3" in shown and shown.count("●") == len(marks)
