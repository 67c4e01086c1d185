"""Thrifty repaints show what Textual's own show, in fewer bytes."""

import io

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate
from textual.strip import Strip

from phitui.tui.terminal.screen_diff import DiffUpdate
from phitui.tui.terminal.shown_cells import ShownCells

WIDTH, HEIGHT = 30, 4


def styles():
    """New ones each time: Rich keeps a style's codes, whatever colours the next console has."""
    return [
        Style(),
        Style(color="#112233", bgcolor="#000000"),
        Style(color="#112233", bgcolor="#ffffff", bold=True),
        Style(color="#aabbcc", bgcolor="#ffffff"),
        Style(color="red"),
        Style(underline=True, reverse=True),
    ]


STYLES = styles()
texts = st.text(st.sampled_from("abc  ━⣿│"), min_size=1, max_size=6)
segments = st.tuples(texts, st.sampled_from(STYLES)).map(lambda pair: Segment(*pair))
rows = st.lists(segments, min_size=1, max_size=6).map(lambda row: Strip(row).adjust_cell_length(WIDTH, Style()))
spans = st.sets(st.tuples(st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1), st.integers(1, WIDTH)), min_size=1)


def console(system="truecolor"):
    return Console(file=io.StringIO(), color_system=system, force_terminal=True)


def screen(*outputs):
    shown = pyte.Screen(WIDTH, HEIGHT)
    stream = pyte.Stream(shown)
    for output in outputs:
        stream.feed(output.replace("\n", "\r\n"))
    return shown.buffer, shown.cursor.attrs


def cells(buffer):
    return [[buffer[y][x] for x in range(WIDTH)] for y in range(HEIGHT)]


def seen(cell):
    """The colour of a space is not seen."""
    return cell._replace(fg="default") if cell.data == " " and not cell.reverse and not cell.underscore else cell


def without_overlap(found):
    taken, kept = set(), []
    for y, x1, x2 in sorted(found):
        places = {(y, x) for x in range(x1, x2)}
        if places and not places & taken:
            taken |= places
            kept.append((y, x1, x2))
    return kept


@given(st.lists(rows, min_size=HEIGHT, max_size=HEIGHT), st.lists(rows, min_size=HEIGHT, max_size=HEIGHT), spans)
@settings(max_examples=200, deadline=None)
def test_the_changed_cells_and_no_others_are_painted(before, after, found):
    chosen = without_overlap(found)
    if not chosen:
        return
    whole = [(y, 0, WIDTH) for y in range(HEIGHT)]
    ends = [[WIDTH]] * HEIGHT
    known = ShownCells()
    first = DiffUpdate(ChopsUpdate([{0: row} for row in before], whole, ends), known).render_segments(console())
    update = ChopsUpdate([{0: row} for row in after], chosen, ends)
    thrifty = DiffUpdate(update, known).render_segments(console())
    old, new = cells(screen(first)[0]), cells(screen(DiffUpdate(
        ChopsUpdate([{0: row} for row in after], whole, ends), ShownCells()
    ).render_segments(console()))[0])  # fmt: skip
    shown, attributes = screen(first, thrifty)
    changed = {(y, x) for y, x1, x2 in chosen for x in range(x1, x2)}
    for y in range(HEIGHT):
        for x in range(WIDTH):
            assert seen(shown[y][x]) == seen((new if (y, x) in changed else old)[y][x])
    assert attributes == pyte.screens.Char(" ")  # it ends in the plain style


@pytest.mark.parametrize("system", ["truecolor", "256", "standard"])
def test_whole_rows_look_as_textuals_own(system):
    fresh = styles()
    strips = [Strip([Segment("abc", fresh[i]), Segment("defg", fresh[i + 1])]) for i in range(4)]
    update = ChopsUpdate([{0: strip} for strip in strips], [(y, 0, 7) for y in range(4)], [[7]] * 4)
    own, thrifty = (
        update.render_segments(console(system)),
        DiffUpdate(update, ShownCells()).render_segments(console(system)),
    )
    assert cells(screen(own)[0]) == cells(screen(thrifty)[0])
    assert len(thrifty) < len(own)


def test_a_link_keeps_its_own_sequences():
    strip = Strip(
        [Segment("ab", STYLES[1]), Segment("link", Style(link="https://example.org")), Segment("c", STYLES[1])]
    )
    update = ChopsUpdate([{0: strip}], [(0, 0, 7)], [[7]])
    out = DiffUpdate(update, ShownCells()).render_segments(console())
    assert "\x1b]8;" in out
    assert out.index("https://example.org") < out.index("link\x1b]8;;")


def test_characters_of_two_cells_are_cut_as_rich_cuts_them():
    strip = Strip([Segment("a漢字b", STYLES[1])])
    update = ChopsUpdate([{0: strip}], [(0, 2, 6)], [[6]])
    shown, _ = screen(DiffUpdate(update, ShownCells()).render_segments(console()))
    assert "".join(shown[0][x].data for x in range(2, 6)).strip() == "字b"


def test_what_is_shown_already_is_not_written_again():
    known = ShownCells()

    def paint(*texts):
        strips = [Strip([Segment(text, STYLES[1])]) for text in texts]
        update = ChopsUpdate([{0: one} for one in strips], [(y, 0, 30) for y in range(len(texts))], [[30]] * len(texts))
        return DiffUpdate(update, known).render_segments(console())

    line = "the same words, then a figure "
    assert line in paint(line)
    assert paint(line) == ""
    changed = paint(line.replace("figure", "number"))
    assert "number" in changed and "words" not in changed
    emoji = "🚀 takes one cell or two now. "
    assert emoji.strip() in paint(emoji)
    assert "cell or two" in paint(emoji)  # who knows where it stands
    known.forget()
    assert line in paint(line)
